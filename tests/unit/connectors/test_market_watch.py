"""The watch of the market: quotes, gaps, delays and arrivals from columns of ticks, and metrics of commands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import schemas
from connectors.host_metrics import HostExporter, leave
from connectors.market.simulator import Config, generate
from connectors.market_watch import FIELDS, TICKS, Market, MarketExporter
from connectors.ticks import TickEncoder
from schemas.codec import Columns, Decoder
from schemas.packed import Text

S = 1_000_000_000


def columns(seqs: list[int], **values: Any) -> Columns:
    """Return ticks of one instrument with these sequence numbers."""
    rows = len(seqs)
    plain = {"ts_event": 100 * S, "ts_recv": 100 * S + 5_000_000, "bid": 99.0, "ask": 101.0} | values
    return {"venue": Text.table([b"SIM"] * rows), "symbol": Text.table([b"A"] * rows), "seq": np.array(seqs),
            **{name: np.full(rows, value) for name, value in plain.items()}}


def samples(*collectors: Any) -> dict[str, float]:
    """Return the last value of each sample by name, labels left out."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {s.name: s.value for family in families for s in family.samples}


def places(count: int, kafka_ms: int = 100_006) -> list[tuple[int, int, int]]:
    """Return places of ticks one after another in partition 0."""
    return [(0, offset, kafka_ms) for offset in range(count)]


def test_quote_gaps_and_delays_are_those_of_the_ticks():
    market = Market()
    market.ticks(columns([1, 2, 5, 5, 9]), places(5))
    seen = samples(MarketExporter(market))
    assert (seen["sigmaflow_market_ticks_total"], seen["sigmaflow_market_gaps_total"]) == (5, 2)
    assert (seen["sigmaflow_market_mid_quote"], seen["sigmaflow_market_spread_ratio"]) == (100.0, 0.02)
    assert seen["sigmaflow_market_last_tick_timestamp_seconds"] == 100.006
    assert seen["sigmaflow_venue_delay_seconds_sum"] == pytest.approx(0.025)
    assert seen["sigmaflow_ingest_delay_seconds_sum"] == pytest.approx(0.005)


def test_opportunities_are_measured_from_their_ticks_arrival():
    market = Market()
    market.ticks(columns([1, 2]), places(2))
    market.opportunities({"partition": np.array([0, 0, 3]), "offset": np.array([0, 1, 1])}, [100_010, 100_020, 100_030])
    assert sum(market.tick_to_opportunity.counts) == 2
    assert market.tick_to_opportunity.sum == pytest.approx(0.018)


def test_what_was_skipped_is_no_gap():
    market = Market()
    market.ticks(columns([1]), places(1))
    market.skip(500)
    market.ticks(columns([502]), places(1))
    seen = samples(MarketExporter(market))
    assert (seen["sigmaflow_market_gaps_total"], seen["sigmaflow_watch_skipped_records_total"]) == (0, 500)


@pytest.mark.parametrize("values", [{"bid": float("nan")}, {"bid": 0.0}, {"bid": 102.0}, {"ts_recv": 0},
                                    {"ts_event": 2**62}])
def test_a_bad_tick_breaks_nothing_and_moves_no_quote(values):
    market = Market()
    market.ticks(columns([1]), places(1))
    market.ticks(columns([2], **values), places(1))
    seen = samples(MarketExporter(market))
    assert (seen["sigmaflow_market_mid_quote"], seen["sigmaflow_market_ticks_total"]) == (100.0, 2)


def test_ticks_as_they_are_in_kafka():
    schema = schemas.load("tick")
    wanted = schema | {"fields": [f for f in schema["fields"] if f["name"] in FIELDS[TICKS]]}
    decoder, market = Decoder(wanted, {7: schema}), Market()
    ticks = next(iter(generate(Config(symbols=3, count=300))))
    values = TickEncoder(7).encode(ticks)[1]
    market.ticks(decoder.decode(values).columns, places(len(values)))
    market.ticks(decoder.decode([]).columns, [])
    assert sum(quote.ticks for quote in market.quotes.values()) == len(values) and len(market.quotes) == 3
    assert not any(quote.gaps for quote in market.quotes.values())


def test_metrics_that_a_command_left_are_served_and_a_broken_file_is_counted(tmp_path):
    leave(tmp_path, "audit", {"sigmaflow_audit_found_records": ("Wrong records.", 3.0)})
    (tmp_path / "metrics" / "broken.prom").write_text("{ no metric")
    seen = samples(HostExporter(tmp_path))
    assert (seen["sigmaflow_audit_found_records"], seen["sigmaflow_textfiles_unreadable_files"]) == (3.0, 1.0)
    assert 0 < seen["sigmaflow_disk_free_bytes"] <= seen["sigmaflow_disk_size_bytes"]
