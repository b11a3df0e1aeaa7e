"""Metrics of the results process: names, values, and what a message read twice does to them."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from connectors.host_metrics import HostExporter, leave
from connectors.market_watch import Market, MarketExporter
from connectors.metrics import BUCKETS_S, Exporter, Histogram, Totals
from sigmaflow import metrics_view
from tests.records import make_record


def exposed(totals: Totals) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample as Prometheus would read it."""
    families = text_string_to_metric_families(text(totals))
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def text(totals: Totals) -> str:
    """Return the exposition text."""
    registry = CollectorRegistry()
    registry.register(Exporter(totals))
    return generate_latest(registry).decode()


@pytest.fixture
def totals() -> Totals:
    """Totals after a record of 500 marks, one dead letter and one intent."""
    totals = Totals()
    equity, fills, decisions = make_record(500)
    for row in equity:
        totals.equity(row)
    for row in fills:
        totals.arrivals.note(row["partition"], row["offset"], 1_000)
        totals.fill(row, kafka_ms=1_012)
    for row in decisions:
        totals.decision(row["account"], row["order_id"] is not None, row["failed_gate"])
    totals.reject({"reason": "crossed"})
    totals.intent({"account": "paper", "intent_seq": 40})
    return totals


def test_account_is_that_of_the_last_mark(totals):
    seen, last = exposed(totals), make_record(500)[0][-1]
    account = (("account", "paper"),)
    assert seen["sigmaflow_equity_quote", account] == last["equity"]
    assert seen["sigmaflow_drawdown_ratio", account] == last["drawdown"]
    assert seen["sigmaflow_fills_total", account] == last["fills"]
    assert seen["sigmaflow_orders_total", account] == last["orders"]
    assert seen["sigmaflow_intents_total", account] == 40
    assert seen["sigmaflow_position_base", (("account", "paper"), ("symbol", last["symbol"]))] == last["position"]
    assert seen["sigmaflow_trading_state", (("account", "paper"), ("state", "ACTIVE"))] == 1
    assert seen["sigmaflow_rejected_ticks_total", (("reason", "crossed"),)] == 1


def test_decisions_are_counted_by_verdict(totals):
    decisions = make_record(500)[2]
    seen = exposed(totals)
    for gate in {row["failed_gate"] for row in decisions}:
        labels = (("account", "paper"), ("verdict", gate or "sent"))
        assert seen["sigmaflow_decisions_total", labels] == sum(row["failed_gate"] == gate for row in decisions)


def test_messages_read_again_change_neither_account_nor_counts_of_the_ledger(totals):
    before = exposed(totals)
    for row in make_record(500)[0][-100:]:
        totals.equity(row)
    totals.intent({"account": "paper", "intent_seq": 39})
    assert exposed(totals) == before


def test_latency_is_measured_from_kafka_to_kafka_and_only_where_the_tick_is_known_and_live():
    totals, fill = Totals(), make_record(500)[1][0]
    totals.fill(fill, 1_700_000_000_000)  # its tick was not seen
    totals.arrivals.note(fill["partition"], fill["offset"], 1_700_000_000_000)
    for kafka_ms in (1_699_999_999_990, 1_700_000_120_000, 0):  # a clock set back, a replay, no timestamp
        totals.fill(fill, kafka_ms)
    assert sum(totals.tick_to_fill.counts) == 0
    totals.fill(fill, 1_700_000_000_015)
    totals.decided(fill["partition"], fill["offset"], 1_700_000_000_009)
    assert (totals.tick_to_fill.sum, totals.tick_to_decision.sum) == (0.015, 0.009)
    assert sum(totals.order_to_fill.counts) == 5


def test_caps_show_how_much_of_them_is_used():
    totals = Totals()
    for name, value, limit in (("gross", 300.0, 600.0), ("account_cvar", 40.0, 50.0), ("position", 7.0, float("inf")),
                               ("warm", 1.0, 1.0), ("quantity", 0.3, 0.1)):
        totals.gate("paper", name, value, limit)
    seen = exposed(totals)
    used = {dict(labels)["limit"]: value for (name, labels), value in seen.items() if name.endswith("limit_use_ratio")}
    assert used == {"gross": 0.5, "account_cvar": 0.8}
    assert seen["sigmaflow_account_cvar_limit_quote", (("account", "paper"),)] == 50.0


def test_histogram_counts_as_numpy_does():
    durations = np.random.default_rng(2).exponential(0.05, 2_000)
    histogram = Histogram()
    for value in durations:
        histogram.observe(float(value))
    together = Histogram()
    together.observe_all(np.concatenate([durations, [-1.0, 61.0, *BUCKETS_S]]))
    for bound in BUCKETS_S:
        histogram.observe(bound)
    assert together.counts == histogram.counts and together.sum == pytest.approx(histogram.sum)
    durations = np.concatenate([durations, BUCKETS_S])
    for bound, count in histogram.buckets()[:-1]:
        assert count == (durations <= float(bound)).sum()
    assert histogram.buckets()[-1] == ("+Inf", len(durations)) and len(histogram.buckets()) == len(BUCKETS_S) + 1


def test_every_metric_is_named_by_convention_and_explained(totals, tmp_path):
    units = ("_quote", "_base", "_ratio", "_seconds", "_records", "_rows", "_state", "_bytes", "_files")
    market, folder = Market(), tmp_path
    leave(folder, "audit", {"sigmaflow_audit_found_records": ("Wrong records.", 0.0)})
    families = [*Exporter(totals).collect(), *MarketExporter(market).collect(), *HostExporter(folder).collect()]
    for family in families:
        assert family.name.startswith("sigmaflow_") and family.documentation
        assert family.type == "counter" or family.name.endswith(units), family.name


def test_before_the_first_message_there_is_nothing_to_divide_by():
    assert "sigmaflow_equity_quote{" not in text(Totals())
    assert metrics_view.table(text(Totals())).row_count > 0
