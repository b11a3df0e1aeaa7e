"""Costs out of the record of a real chain: parts add up, benchmarks are named, whatever is missing is said."""
from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jobs.chain.inprocess import Chain
from sigmaflow import record, report_costs
from sigmaflow.report_costs import _trades, analyse, latency_ns, sections
from tests import reference_strategy
from tests.frames import frame
from tests.histories import eager
from tests.unit.jobs.test_chain import log
from udfs.costs import HORIZONS_S, PARTS

MS = 1_000_000


@pytest.fixture(scope="module")
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decisions and fills of a run in which orders wait 3 ms."""
    made = Chain(eager(), 3, 300, seed=1).run(["pipeline"], log(reference_strategy.ticks(6_000)))
    return frame(made, "decisions.v1", record.DECISIONS), frame(made, "fills.v1", record.FILLS)


def ticks_with_trades(decisions: pd.DataFrame) -> pd.DataFrame:
    """Every other tick with a new trade at its mid."""
    some = decisions.iloc[::2]
    return pd.DataFrame({"venue": some["venue"], "symbol": some["symbol"], "ts_event": some["ts_order"],
                         "last_price": some["mid"], "last_size": 1.0 + np.arange(len(some)), "last_side": "BUY"})


def test_parts_of_a_run_add_up(frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    decisions, fills = frames
    found = analyse(decisions, fills, pd.DataFrame(), 3 * MS)
    orders = found.orders
    assert found.left_out == 0 and len(fills) > 20 and found.error <= 1e-9
    assert orders["fees"].sum() == pytest.approx(fills["fee"].sum(), rel=1e-12)
    assert orders["sent"].sum() == decisions["order_id"].notna().sum() and (~orders["sent"]).any()
    assert (orders["filled"] <= orders["quantity"] * (1 + 1e-9)).all()
    held = orders[~orders["sent"]]
    assert (held[["spread", "impact", "timing", "fees", "filled"]] == 0).all(axis=None)
    whole = orders["filled"] == orders["quantity"]
    slip = (fills["price"] - fills["decision_mid"]) * fills["quantity"] * np.where(fills["side"] == "BUY", 1, -1)
    assert orders.loc[whole, [*PARTS[:4]]].sum(axis=1).sum() == pytest.approx(slip.sum(), rel=1e-6)


def test_markouts_are_those_of_a_loop(frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    decisions, fills = frames
    found = analyse(decisions, fills, pd.DataFrame(), 0).fills
    for _, fill in found.iloc[::9].iterrows():
        own = decisions[decisions["symbol"] == fill["symbol"]]
        for horizon in HORIZONS_S:
            at = fill["ts_order"] + horizon * 10**9
            mid = own["mid"][own["ts_order"] <= at].iloc[-1] if at <= own["ts_order"].iloc[-1] else np.nan
            wanted = (1 if fill["side"] > 0 else -1) * (mid / fill["price"] - 1)
            assert fill[str(horizon)] == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_benchmark_is_of_trades_where_there_are_any(frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    decisions, fills = frames
    without = analyse(decisions, fills, pd.DataFrame(), 0).orders
    assert not without["traded"].any() and without["benchmark"].notna().all()
    orders = analyse(decisions, fills, ticks_with_trades(decisions), 0).orders
    assert orders["traded"].any() and not orders["traded"].all()
    page = sections(decisions, fills, ticks_with_trades(decisions), pd.Series(dtype=float))
    assert f"of trades for {int(orders['traded'][orders['filled'] > 0].sum())} orders" in page
    assert "without a trade in their interval" in page and "nan" not in page


def test_a_trade_counts_once() -> None:
    ticks = pd.DataFrame({"venue": "V", "symbol": list("AABAAA"), "ts_event": range(6), "last_side": "BUY",
                          "last_price": [1.0, 1.0, 5.0, 2.0, 2.0, np.nan], "last_size": [1.0, 1.0, 1.0, 1.0, 3.0, 1.0]})
    assert _trades(ticks)["ts_event"].tolist() == [3, 4]  # the first of each may be older than the record


def test_what_is_not_there(frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    decisions, fills = frames
    no_trades, profit = pd.DataFrame(), pd.Series(dtype=float)
    assert sections(decisions, fills.head(0), no_trades, profit) == ""
    assert sections(decisions.drop(columns="mid"), fills, no_trades, profit) == ""
    late = analyse(decisions.iloc[len(decisions) // 2:].reset_index(drop=True), fills, no_trades, 0)
    assert 0 < late.left_out < len(fills)
    assert analyse(decisions, fills.head(0), no_trades, 0).orders["missed"].notna().all()
    one = sections(decisions, fills.head(1), no_trades, profit)
    assert "n/a" in one and "nan" not in one


def test_latency_is_the_profiles_where_its_digest_is(frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    decisions = frames[0]
    assert latency_ns(decisions) == 0 and latency_ns(decisions.head(0)) == 0  # an eager profile is not the default
    own = report_costs.profiles.DEFAULT
    assert latency_ns(decisions.assign(config_digest=own.digest)) == own.fills.latency_ns
