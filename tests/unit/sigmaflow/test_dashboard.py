"""The live view: fits the terminal, says what is missing."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from connectors.metrics import Totals
from connectors.snapshot import Recent, snapshot
from sigmaflow.dashboard import chart, plain, render
from sigmaflow.live import Chain, View
from tests.records import make_record


@pytest.fixture
def view() -> View:
    """A running chain after a record of 1,000 marks."""
    totals, recent = Totals(), Recent()
    equity, fills, decisions = make_record(1_000)
    for row in equity:
        totals.equity(row)
        recent.curve.add(row["equity"])
    for row in fills:
        recent.intent({"intent_id": row["intent_id"], "binding_constraint": "kelly", "reasons": "p_up=0.61"})
        recent.fill(row)
    for row in decisions:
        totals.decision(row["account"], row["order_id"] is not None, row["failed_gate"])
    account = snapshot(totals, "paper", recent, {"market.ticks.v1": 5_000.0})
    for name in ("positions", "last_fills", "curve", "verdicts", "rejected"):
        account[name] = json.loads(str(account[name]))
    chain = Chain(("pipeline (default)",), "RUNNING", 3_723.0, 3_700, 0, 41, 250_000)
    topics = {"market.ticks.v1": 12_345_678, "signals.v1": 12_345_600}
    rates = {"market.ticks.v1": 5_012.3, "signals.v1": 5_011.0, "intents": 12.0, "account_seq": 5_010.0}
    return View(account, topics, rates, chain, lag=4_012, at=account["updated_ms"] / 1e3)


def lines(view: View, width: int, height: int = 0) -> list[str]:
    """Return what a terminal of this size shows."""
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(view, "paper", width, height))
    return console.export_text().rstrip("\n").split("\n")


def test_fits_80_columns_with_every_figure_whole(view):
    shown = lines(view, 80)
    assert max(map(len, shown)) <= 80
    text = "\n".join(shown)
    assert "…" not in "\n".join(shown[:12])
    for part in ("5,012/s", "12,345,678", "4,012", "0.8 s", "RUNNING 1:02:03", "3,700", "41 ms", "ACTIVE", "kelly"):
        assert part in text


@pytest.mark.parametrize("height", [24, 30, 40])
def test_fits_a_short_terminal(view, height):
    assert len(lines(view, 80, height)) <= height


def test_one_plain_line_says_it_all(view):
    line = plain(view)
    for part in ("ticks 5,012/s", "lag 4,012", "orders", "fills", "equity", "drawdown", "ACTIVE", "checkpoints 3,700"):
        assert part in line


def test_nothing_answers():
    nothing = View(missing=("Flink", "Kafka", "Redis"))
    assert "no answer from Flink, Kafka, Redis" in "\n".join(lines(nothing, 80))
    assert "no account yet" in plain(nothing)


def test_chart_of_a_flat_curve_is_drawn():
    assert chart([5.0, 5.0, 5.0], 10, 2) == ["   ", "▁▁▁"]
    assert all(len(row) == 10 for row in chart([float(i) for i in range(1_000)], 10, 3))
