"""The tear sheet: its figures against plain loops, its page against what a browser needs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sigmaflow import report, report_stats, report_svg
from tests.records import make_record

VOID = {"meta"}


@pytest.fixture(scope="module")
def frames() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A record of 3,000 marks."""
    equity, fills, decisions = map(pd.DataFrame, make_record(3_000))
    return equity, fills, decisions


class Balanced(HTMLParser):
    """Notes elements that are not closed, and every address the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(html: str) -> Balanced:
    """Return the page's structure."""
    parser = Balanced()
    parser.feed(html)
    return parser


def test_page_is_whole_and_loads_nothing(frames):
    page = report.build(*frames, source="Kafka")
    parsed = parse(page)
    assert parsed.open == [] and parsed.loaded == []
    assert "@import" not in page and "url(" not in page
    parts = ("Equity", "Drawdown", "Exposure", "Profit by alpha", "Profit by symbol", "Latency", "Trades", "Summary",
             "Implementation shortfall", "Markouts of fills", "Cost and profit by alpha")
    for part in parts:
        assert part in page
    assert "1f0c9a7e5b2d4486" in page and "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)


def test_empty_record_says_so():
    nothing = pd.DataFrame()
    page = report.build(nothing, nothing, nothing, "Kafka")
    assert "No data yet" in page and parse(page).open == []


def test_marks_without_a_fill(frames):
    equity, fills, decisions = frames
    page = report.build(equity.head(5), fills.head(0), decisions.head(0))
    assert "No fill yet" in page and "No decision yet" in page and parse(page).open == []


def test_one_mark_is_enough(frames):
    equity, fills, decisions = frames
    assert parse(report.build(equity.head(1), fills.head(0), decisions.head(0))).open == []


def test_account_that_starts_from_zero_has_no_return(frames):
    equity, fills, decisions = (frame.copy() for frame in frames)
    equity[["equity", "cash"]] -= 100_000.0
    assert "n/a" in report.build(equity, fills, decisions)


def test_names_from_the_record_are_escaped(frames):
    equity, fills, decisions = (frame.copy() for frame in frames)
    equity["symbol"] = fills["symbol"] = "<img src=x>"
    fills["top_alpha"] = "</script><b>"
    parsed = parse(report.build(equity, fills, decisions))
    assert parsed.loaded == [] and parsed.open == []


def test_profit_by_alpha_and_by_symbol_add_up_to_the_account(frames):
    equity, fills, _ = frames
    profit = equity["equity"].iloc[-1] - report_stats.start_equity(equity)
    assert report_stats.start_equity(equity) == pytest.approx(100_000.0)
    assert report_stats.pnl_by_symbol(equity).sum() == pytest.approx(profit, abs=1e-6)
    assert report_stats.pnl_by_alpha(fills, equity).sum() == pytest.approx(profit, abs=1e-6)


def test_drawdown_is_at_least_that_of_the_marks_after_every_prefix(frames):
    equity = frames[0]
    for rows in (1, 10, 500, 3_000):
        part = equity.head(rows)
        marks = np.maximum(np.maximum.accumulate(part["equity"]), 100_000.0)
        assert report_stats.max_drawdown(part) == pytest.approx((1 - part["equity"] / marks).max(), abs=1e-12)
    assert np.isnan(report_stats.max_drawdown(equity.assign(equity=equity["equity"] - 100_000.0)))


def test_bar_changes_agree_with_pandas(frames):
    equity = frames[0]
    stamps = pd.to_datetime(equity["ts_order"] - equity["ts_order"].iloc[0])
    bars = pd.Series(equity["equity"].to_numpy(), stamps).resample("5s").last().ffill().diff().dropna()
    own = report_stats.bar_changes(equity["ts_order"].to_numpy(), equity["equity"].to_numpy(), 5 * report_stats.SECOND)
    np.testing.assert_allclose(own, bars.to_numpy(), atol=1e-9)


def test_cvar_is_the_mean_of_the_worst_tail():
    changes = np.random.default_rng(1).normal(size=1_000)
    assert report_stats.cvar(changes) == pytest.approx(-np.sort(changes)[:25].mean())
    assert np.isnan(report_stats.cvar(np.empty(0)))


def test_only_the_newest_run_is_shown(frames):
    equity = frames[0]
    later = [pd.DataFrame(rows) for rows in make_record(200, seed=3, start_ns=int(equity["ts_order"].max()) + 10**9)]
    both = [pd.concat(pair, ignore_index=True) for pair in zip(frames, later, strict=True)]
    page = report.build(*both)
    assert "holds 2 runs" in page and f"{len(later[1]):,} fills" in page and f"{len(later[2]):,} decisions" in page


def test_big_record_is_drawn_small_and_counted_whole():
    rows = 200_000
    equity = pd.concat([pd.DataFrame(make_record(2_000)[0])] * (rows // 2_000), ignore_index=True)
    equity["account_seq"] = np.arange(1, rows + 1)
    equity["ts_order"] = 1_723_161_600_000_000_000 + np.arange(rows) * 1_000_000
    equity.loc[77_777, "equity"] = 5e6
    page = report.build(equity, pd.DataFrame(), pd.DataFrame())
    assert len(page) < 1_000_000
    assert "200,000" in page and "5,000,000" in page  # a spike of one row is drawn


def test_downsampling_keeps_ends_and_extremes():
    values = np.random.default_rng(5).normal(size=50_000)
    values[31_234], values[123] = 50.0, -50.0
    keep = report_svg.downsample(values)
    assert {0, 123, 31_234, 49_999} <= set(keep.tolist()) and len(keep) <= 2 * report_svg.BUCKETS + 2


def test_replayed_fills_have_no_live_latency(frames):
    fills = frames[1].copy()
    fills["kafka_ms"] = fills["ts_event"] // 1_000_000 + 10**12
    assert len(report_stats.live_latency(fills)) == 0
    fills["kafka_ms"] = fills["ts_event"] // 1_000_000 + 15
    live = report_stats.live_latency(fills)
    assert len(live) == len(fills) and np.median(live) == pytest.approx(0.0145, abs=1e-3)
