"""Costs add up to the shortfall of two portfolios; benchmarks against plain loops; what is refused."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.costs import PARTS, Executions, Orders, as_of, interval_vwap, markout, shortfall, time_weighted


def day(orders: int, seed: int) -> tuple[Orders, Executions]:
    """Orders at prices up to 60,000 with none, one or many fills each, at, inside and beyond the touch."""
    rng = np.random.default_rng(seed)
    mids = rng.uniform(1, 6e4) * np.exp(np.cumsum(rng.normal(0, 1e-3, (3, orders)), axis=0))
    made = Orders(rng.choice([-1.0, 1.0], orders), rng.uniform(0, 9, orders), *mids)
    rows = rng.integers(0, max(1, orders), 3 * orders)
    share = rng.uniform(0, 1 / (1 + np.bincount(rows, minlength=orders)[rows])) if orders else np.zeros(0)
    mid = made.arrival[rows] * np.exp(rng.normal(0, 1e-3, len(rows)))
    half = rng.uniform(0, 1e-3, len(rows)) * mid
    return made, Executions(rows, share * made.quantity[rows], mid + half * rng.choice([-1, -0.5, 0, 1, 2], len(rows)),
                            rng.uniform(-0.1, 1, len(rows)), mid, half)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 10_000))
def test_parts_add_up_to_the_shortfall(orders: int, seed: int) -> None:
    made, fills = day(orders, seed)
    costs = shortfall(made, fills)
    error = np.abs(sum(costs[name] for name in PARTS) - costs["total"])
    assert (error <= 1e-9).all()


def test_shortfall_is_that_of_a_loop_over_cash() -> None:
    made, fills = day(20, 7)
    total = shortfall(made, fills)["total"]
    for i in range(20):
        cash = position = 0.0
        for k in np.flatnonzero(fills.order == i):
            position += made.side[i] * fills.quantity[k]
            cash -= made.side[i] * fills.quantity[k] * fills.price[k] + fills.fee[k]
        paper = made.side[i] * made.quantity[i] * (made.end[i] - made.decision[i])
        assert total[i] == pytest.approx(paper - (cash + position * made.end[i]), abs=1e-6)


def one(price: float, half: float = 0.5, side: float = 1.0) -> dict[str, float]:
    """Parts of one share filled at a mid of 100 that never moved."""
    order = Orders(np.array([side]), *(np.array([x]) for x in (1.0, 100.0, 100.0, 100.0)))
    fill = Executions(np.array([0]), *(np.array([x]) for x in (1.0, price, 0.0, 100.0, half)))
    return {name: float(cost[0]) for name, cost in shortfall(order, fill).items() if cost[0]}


def test_where_a_fill_stands_to_the_quote() -> None:
    assert one(100.0) == {}
    assert one(100.5) == {"spread": 0.5, "total": 0.5}
    assert one(99.5) == {"spread": -0.5, "total": -0.5}  # rested at the bid
    assert one(100.7) == {"spread": 0.5, "impact": pytest.approx(0.2), "total": pytest.approx(0.7)}
    assert one(99.5, side=-1.0) == {"spread": 0.5, "total": 0.5}
    assert one(100.25, half=0.0) == {"impact": 0.25, "total": 0.25}  # a locked book


def test_a_blocked_order_costs_what_it_missed() -> None:
    none = np.zeros(0)
    order = Orders(*(np.array([x]) for x in (-1.0, 2.0, 100.0, 100.0, 97.0)))
    costs = shortfall(order, Executions(np.zeros(0, np.int64), none, none, none, none, none))
    assert costs["missed"].tolist() == costs["total"].tolist() == [6.0]


@pytest.mark.parametrize(("column", "value", "says"), [
    ("side", 0.5, "side must be 1 or -1"), ("quantity", -1.0, "not below 0"), ("arrival", np.nan, "arrival must be"),
    ("end", np.inf, "end must be finite, row 0")])
def test_orders_that_are_none(column: str, value: float, says: str) -> None:
    good = {"side": 1.0, "quantity": 1.0, "decision": 1.0, "arrival": 1.0, "end": 1.0}
    with pytest.raises(ValueError, match=says):
        Orders(**{name: np.array([x]) for name, x in (good | {column: value}).items()})


@pytest.mark.parametrize(("changed", "says"), [
    ({"order": 1}, "point at one of 1"), ({"quantity": 1.001}, "order 0 must not be filled above"),
    ({"quantity": -1.0}, "not be negative"), ({"price": np.nan}, "price must be finite")])
def test_fills_that_are_none(changed: dict[str, float], says: str) -> None:
    order = Orders(*(np.array([x]) for x in (1.0, 1.0, 100.0, 100.0, 97.0)))
    good = {"order": 0, "quantity": 1.0, "price": 1.0, "fee": 0.0, "mid": 1.0, "half_spread": 0.0}
    with pytest.raises(ValueError, match=says):
        shortfall(order, Executions(**{name: np.array([x]) for name, x in (good | changed).items()}))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10_000))
def test_benchmarks_are_those_of_loops(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ts, price = np.cumsum(rng.integers(0, 5, rows)), rng.uniform(90, 110, rows)
    size = rng.integers(0, 3, rows).astype(float)
    start = rng.integers(-2, 5 * rows, 10)
    end = start + rng.integers(0, 20, 10)
    vwap, twap = interval_vwap(ts, price, size, start, end), time_weighted(ts, price, start, end)
    for i, (a, b) in enumerate(zip(start, end, strict=True)):
        at = (ts >= a) & (ts <= b)
        volume = size[at].sum()
        assert vwap[i] == pytest.approx((price * size)[at].sum() / volume if volume else np.nan, rel=1e-9, nan_ok=True)
        stood = as_of(ts, price, np.arange(a, max(a + 1, b)))
        wanted = np.nan if a < ts[0] else stood.mean()
        assert twap[i] == pytest.approx(wanted, rel=1e-9, nan_ok=True)


def test_nothing_to_mark_with() -> None:
    no, none = np.zeros(0, np.int64), np.zeros(0)
    at, ones = np.array([5]), np.ones(1)
    assert np.isnan(markout(no, none, at, ones, ones, 1)).all() and np.isnan(time_weighted(no, none, at, at)).all()
    assert np.isnan(interval_vwap(no, none, none, at, at)).all() and np.isnan(as_of(no, none, at)).all()
    costs = shortfall(Orders(none, none, none, none, none), Executions(no, none, none, none, none, none))
    assert costs["total"].size == 0
