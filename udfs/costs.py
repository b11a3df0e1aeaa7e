"""Transaction cost analysis: what orders cost against the price at which they were decided, in parts that add up.

Implementation shortfall (Perold 1988) is the profit of a paper portfolio that trades the whole order at the decision's
mid, for nothing, less the profit of what was really done, both marked at the order's end:

    side * Q * (end - decision)  -  [ side * sum q * (end - price) - fees ]

Its parts, in the expanded form of Kissell (2013, section 3) with trading split further at each fill's quote:

    delay     side * Q * (arrival - decision)              the market moved before the order was in it; all of Q
    timing    side * q * (mid at fill - arrival)           it moved while the order waited
    spread    side * q * (price - mid), within half the spread; negative where a resting order earned it
    impact    the rest of side * q * (price - mid)         beyond the touch
    fees      as charged
    missed    side * (Q - sum q) * (end - arrival)         what was not filled

Everything is in quote currency, costs positive. Functions take plain arrays; sigmaflow/report_costs.py makes them from
the record.
"""
from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PARTS = ("delay", "timing", "spread", "impact", "fees", "missed")

HORIZONS_S = (1, 5, 30, 60, 300)
"""Event time after a fill at which it is marked, seconds."""

ROUNDING = 1e-9
"""Part of an order's quantity that fills may be above it: sums of decimals in binary."""


@dataclass(frozen=True)
class Orders:
    """One element an order: side +1 or -1, quantity in base units, and the mids at its decision, arrival and end."""

    side: Floats
    quantity: Floats
    decision: Floats
    arrival: Floats
    end: Floats

    def __post_init__(self) -> None:
        _finite(self)
        if not (np.abs(self.side) == 1).all() or (self.quantity < 0).any():
            raise ValueError("costs: an order's side must be 1 or -1 and its quantity not below 0; give side the sign")


@dataclass(frozen=True)
class Executions:
    """One element a fill: the order's place, quantity, price, fee, and the mid and half the spread when it was made."""

    order: Ints
    quantity: Floats
    price: Floats
    fee: Floats
    mid: Floats
    half_spread: Floats

    def __post_init__(self) -> None:
        _finite(self)
        if (self.quantity < 0).any() or (self.half_spread < 0).any():
            raise ValueError("costs: a fill's quantity and half spread must not be negative; the order has the side")


def _finite(columns: Orders | Executions) -> None:
    for field in fields(columns):
        bad = ~np.isfinite(getattr(columns, field.name))
        if bad.any():
            raise ValueError(f"costs: {field.name} must be finite, row {int(bad.argmax())} is not; leave such rows out")


def shortfall(orders: Orders, fills: Executions) -> dict[str, Floats]:
    """Cost of each order by PARTS, and `total`, which is computed from the two portfolios and not from the parts.

    Raises ValueError for a fill without an order, or an order filled above its quantity.

    Buy 10 at a mid of 100 that is 101 on arrival; 8 are filled at 102.5 in a quote of 101.5 to 102.5, fee 1; end 103:

    >>> one = Orders(*(np.array([x]) for x in (1.0, 10.0, 100.0, 101.0, 103.0)))
    >>> fill = Executions(np.array([0]), *(np.array([x]) for x in (8.0, 102.5, 1.0, 102.0, 0.5)))
    >>> {name: float(cost[0]) for name, cost in shortfall(one, fill).items()}
    {'delay': 10.0, 'timing': 8.0, 'spread': 4.0, 'impact': 0.0, 'fees': 1.0, 'missed': 4.0, 'total': 27.0}
    """
    count = len(orders.side)
    if len(fills.order) and (fills.order.min() < 0 or fills.order.max() >= count):
        raise ValueError(f"costs: every fill must point at one of {count} orders; leave fills of other runs out")
    side, arrival = orders.side[fills.order], orders.arrival[fills.order]
    crossed = side * (fills.price - fills.mid)
    spread = np.clip(crossed, -fills.half_spread, fills.half_spread)

    def summed(cost: Floats) -> Floats:
        return np.bincount(fills.order, cost, count).astype(np.float64)

    filled = summed(fills.quantity)
    if (filled > orders.quantity * (1 + ROUNDING)).any():
        row = int((filled > orders.quantity * (1 + ROUNDING)).argmax())
        raise ValueError(f"costs: order {row} must not be filled above {orders.quantity[row]}, but is {filled[row]}; "
                         "check that each fill is given once")
    fees = summed(fills.fee)
    paper = orders.side * orders.quantity * (orders.end - orders.decision)
    real = summed(side * fills.quantity * (orders.end[fills.order] - fills.price)) - fees
    return {"delay": orders.side * orders.quantity * (orders.arrival - orders.decision),
            "timing": summed(fills.quantity * side * (fills.mid - arrival)), "spread": summed(fills.quantity * spread),
            "impact": summed(fills.quantity * (crossed - spread)), "fees": fees,
            "missed": orders.side * (orders.quantity - filled) * (orders.end - orders.arrival), "total": paper - real}


def as_of(ts: Ints, values: Floats, at: Ints) -> Floats:
    """Latest value at or before each time; NaN before the first. `ts` does not fall.

    >>> as_of(np.array([10, 20]), np.array([1.0, 2.0]), np.array([5, 10, 19, 20, 99])).tolist()
    [nan, 1.0, 1.0, 2.0, 2.0]
    """
    place = np.searchsorted(ts, at, side="right") - 1
    out = np.full(len(at), np.nan)
    out[place >= 0] = values[place[place >= 0]]
    return out


def markout(ts: Ints, mid: Floats, at: Ints, side: Floats, price: Floats, horizon_ns: int) -> Floats:
    """Return of each fill `horizon_ns` after it, mid against its price, as a fraction; gains positive.

    NaN where the mids end before: a fill near the end has no later to be marked at.

    >>> ts, mid = np.array([0, 10, 20]), np.array([100.0, 101.0, 99.0])
    >>> markout(ts, mid, np.array([0, 0, 15]), np.array([1.0, -1.0, 1.0]), np.array([100.0, 100.0, 99.0]), 10).tolist()
    [0.01, -0.01, nan]
    """
    later = as_of(ts, mid, at + horizon_ns)
    later[at + horizon_ns > (ts[-1] if len(ts) else -1)] = np.nan
    return side * (later - price) / price


def interval_vwap(ts: Ints, price: Floats, size: Floats, start: Ints, end: Ints) -> Floats:
    """Mean price of the trades from `start` to `end`, both included, weighted by size; NaN where there are none.

    >>> ts, price, size = np.array([1, 2, 3]), np.array([10.0, 20.0, 40.0]), np.array([3.0, 1.0, 1.0])
    >>> interval_vwap(ts, price, size, np.array([1, 3, 4]), np.array([2, 3, 9])).tolist()
    [12.5, 40.0, nan]
    """
    value, volume = _cumulative(price * size), _cumulative(size)
    first, last = np.searchsorted(ts, start), np.searchsorted(ts, end, side="right")
    traded = volume[last] - volume[first]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(traded > 0, (value[last] - value[first]) / traded, np.nan)


def time_weighted(ts: Ints, mid: Floats, start: Ints, end: Ints) -> Floats:
    """Mean mid from `start` to `end`, each weighted by how long it stood; at an instant, the mid that stands then.

    NaN where the mids begin after `start`.

    >>> ts, mid = np.array([0, 10, 30]), np.array([100.0, 103.0, 90.0])
    >>> time_weighted(ts, mid, np.array([0, 5, 10, -5]), np.array([30, 5, 20, 9])).tolist()
    [102.0, 100.0, 103.0, nan]
    """
    if not len(ts):
        return np.full(len(start), np.nan)
    base = mid[0]  # integrals of what differs from the first mid: sums of prices over nanoseconds would lose digits
    area = _cumulative((mid[:-1] - base) * np.diff(ts))

    def integral(at: Ints) -> Floats:
        place = np.maximum(np.searchsorted(ts, at, side="right") - 1, 0)
        return area[place] + (mid[place] - base) * (at - ts[place])

    length = end - start
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = base + (integral(end) - integral(start)) / length
    return np.where(start < ts[0], np.nan, np.where(length > 0, mean, as_of(ts, mid, start)))


def _cumulative(values: Floats) -> Floats:
    """Sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])
