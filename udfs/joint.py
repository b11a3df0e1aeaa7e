"""Joint returns of an account's symbols on common event-time bars, and the risk of any positions under them.

A bar is a stretch of event time of `bar_ns`; bars in which no symbol had a tick do not count, so that a night adds no
window of zeros. A symbol's return over a bar is simple, last mid of the bar over last mid before it less 1, because
positions times simple returns are profit exactly; a symbol without a tick in a bar has return 0, and what its price did
meanwhile falls into the bar of its next tick. Each symbol keeps its last N returns in a ring at place `bar % N`, so
equal places of all rings are the same moment and one scenario of the market.

A symbol's record changes at its own ticks only (others are read as they must be by now), which is what packed state by
symbol needs: 8 N + 40 bytes a symbol, 4 kB at N = 500.

    symbol dtype: joint.symbol(N); shared dtype: joint.SHARED
    joint.update(symbols[slot], shared[0], ts_ns // bar_ns, mid)          # at each tick, in the account's order
    var, cvar, bars = joint.joint_cvar(symbols, shared[0], values, 0.025)    # values by slot, quote currency
    rho = joint.correlation(symbols, shared[0], i, j)

As a part of a bigger record, `("joint", joint.symbol(N))`, hand over `symbols["joint"]`.
"""
from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from udfs.risk.tail import tail_mean
from udfs.stage import StageState

LEAST_BARS = 30
"""Common bars below which a correlation or covariance is not spoken of: its standard error would pass 0.18."""

SHARED = np.dtype([("time", np.int64), ("bar", np.int64)])
"""`time`: number of the open bar in event time; `bar`: its number among bars that had a tick."""


def symbol(bars: int) -> np.dtype[Any]:
    """One symbol's record: open bar, first bar, mid now and before the open bar, simple returns of `bars` bars."""
    return np.dtype([("bar", np.int64), ("first", np.int64), ("base", np.float64), ("mid", np.float64),
                     ("seen", np.int64), ("ring", np.float64, bars)])


def state(bars: int, symbols: int) -> StageState:
    """Fresh state with room for some symbols."""
    return StageState(np.zeros(symbols, symbol(bars)), np.zeros(1, SHARED))


@numba.njit(cache=True)
def update(s, a, time, mid):
    """Take one tick: `s` the symbol's record, `a` the shared one, `time` its bar number in event time.

    A `time` before the newest counts to the newest.
    """
    bars = s.ring.shape[0]
    if time > a.time:
        a.time = time
        a.bar += 1
    if s.seen == 0:
        s.seen, s.first, s.bar, s.base = 1, a.bar, a.bar, mid
    elif a.bar > s.bar:
        s.ring[s.bar % bars] = s.mid / s.base - 1
        for bar in range(max(s.bar + 1, a.bar - bars), a.bar):
            s.ring[bar % bars] = 0.0
        s.bar, s.base = a.bar, s.mid
    s.mid = mid


@numba.njit(cache=True)
def _window(s, start, end):
    """Returns of a symbol over the closed bars from `start` to before `end`."""
    bars, at = s.ring.shape[0], start % s.ring.shape[0]
    out = np.zeros(end - start)
    for k in range(min(end, s.bar) - start):
        out[k] = s.ring[at]
        at += 1
        if at == bars:
            at = 0
    if start <= s.bar < end:
        out[s.bar - start] = s.mid / s.base - 1
    return out


@numba.njit(cache=True, inline="always")
def _start(s, a, start):
    """First bar of the window from which this symbol and those before it have returns."""
    known = min(s.first + 1, a.bar) if s.seen else a.bar
    return max(start, a.bar - s.ring.shape[0], known)


@numba.njit(cache=True)
def past(s, a, out):
    """Write a symbol's returns over the closed bars of its window into `out`, the newest last; how many there are.

    `out` is as long as the ring; what lies before the symbol's first return is left alone.
    """
    start = _start(s, a, 0)
    held = a.bar - start
    out[out.shape[0] - held:] = _window(s, start, a.bar)
    return held


@numba.njit(cache=True)
def scenarios(symbols, a, values):
    """Profit of `values` (by slot, quote currency) in each closed bar of the window, oldest first, quote currency.

    The window starts where the youngest symbol that has a value starts: a symbol without a past adds no zeros to it.
    Without any value it is empty.
    """
    start, any_value = 0, False
    for k in range(values.shape[0]):
        if values[k] != 0:
            start, any_value = _start(symbols[k], a, start), True
    profit = np.zeros(a.bar - start if any_value else 0)
    for k in range(values.shape[0]):
        if values[k] != 0:
            changes = _window(symbols[k], start, a.bar)
            for bar in range(profit.shape[0]):
                profit[bar] += values[k] * changes[bar]
    return profit


@numba.njit(cache=True)
def joint_cvar(symbols, a, values, tail):
    """(VaR, CVaR, bars) of positions worth `values` by slot over one bar, quote currency, loss positive.

    Historical, with the fractional last observation of Rockafellar and Uryasev (2002). All 0 where there is no bar yet;
    the caller decides how many `bars` it trusts.
    """
    profit = scenarios(symbols, a, values)
    bars = profit.shape[0]
    if bars == 0:
        return 0.0, 0.0, 0
    last = np.int64(math.ceil(tail * bars - 1e-9))
    worst = np.sort(np.partition(profit, last - 1)[:last])
    var, cvar = tail_mean(worst, bars, tail, False)
    return var, cvar, bars


@numba.njit(cache=True)
def _deviations(s, a, start):
    """Returns of a symbol from `start` on, less their mean."""
    out, total = _window(s, start, a.bar), 0.0
    for k in range(out.shape[0]):
        total += out[k]
    return out - total / out.shape[0]


@numba.njit(cache=True)
def _products(one, two):
    """Sums of products and of squares."""
    both = first = second = 0.0
    for k in range(one.shape[0]):
        both += one[k] * two[k]
        first += one[k] * one[k]
        second += two[k] * two[k]
    return both, first, second


@numba.njit(cache=True)
def correlation(symbols, a, i, j):
    """Pearson correlation of two symbols' returns over their common bars, a fraction in [-1, 1].

    0 below LEAST_BARS common bars or where one price did not move; 1 of a symbol with itself.
    """
    if i == j:
        return 1.0
    start = _start(symbols[j], a, _start(symbols[i], a, 0))
    if a.bar - start < LEAST_BARS:
        return 0.0
    both, first, second = _products(_deviations(symbols[i], a, start), _deviations(symbols[j], a, start))
    if not (first > 0 and second > 0):
        return 0.0
    return max(-1.0, min(1.0, both / math.sqrt(first) / math.sqrt(second)))


@numba.njit(cache=True)
def covariance(symbols, a, slots):
    """Sample covariance (divisor n - 1) of these slots' returns over the bars common to all; zeros below LEAST_BARS.

    One window for all pairs: the matrix has no negative eigenvalue.
    """
    count = slots.shape[0]
    out = np.zeros((count, count))
    start = 0
    for k in range(count):
        start = _start(symbols[slots[k]], a, start)
    bars = a.bar - start
    if bars < LEAST_BARS:
        return out
    off = np.empty((count, bars))
    for i in range(count):
        off[i] = _deviations(symbols[slots[i]], a, start)
    for i in range(count):
        for j in range(i + 1):
            out[i, j] = out[j, i] = _products(off[i], off[j])[0] / (bars - 1)
    return out


def returns(held: StageState, slots: NDArray[np.int64]) -> NDArray[np.float64]:
    """Matrix of returns, a row for each closed bar common to these slots, oldest first, a column for each slot."""
    values = np.zeros((len(slots), len(held.symbols)))
    values[np.arange(len(slots)), slots] = 1.0
    columns = [scenarios(held.symbols, held.shared[0], row) for row in values]
    bars = min((len(column) for column in columns), default=0)
    return np.array([column[len(column) - bars:] for column in columns]).T.reshape(bars, len(slots))
