"""Features of one symbol from its ticks: mid, spread, return, order-book pressure, rolling moments, regime.

Definitions: bench/SEMANTICS.md of the reference strategy for mid to zscore; order flow after Cont, Kukanov and Stoikov
(2014), "The price impact of order book events"; micro-price as the size-weighted mid (Stoikov 2018, equation 1).
Windows are summed afresh at every tick: the sums then depend on nothing but the window, and cost 0.2 us.
"""
from __future__ import annotations

import math

import numba
import numpy as np

from udfs.formulas import imbalance, micro_price, spread
from udfs.formulas import mid as middle
from udfs.profiles import Profile
from udfs.stage import Columns, Stage, StageState

RETURNS, MIDS, FLOWS = 100, 50, 20
FAST, SLOW = 3, 6
CALM, NORMAL, STRESSED = 0, 1, 2

SYMBOL = np.dtype([
    ("history", np.int64), ("ticks", np.int64), ("ts", np.int64), ("interval", np.float64), ("mid", np.float64),
    ("bid", np.float64), ("ask", np.float64), ("bid_size", np.float64), ("ask_size", np.float64),
    ("slow_variance", np.float64), ("fast_variance", np.float64), ("regime", np.int64),
    ("returns", np.float64, RETURNS), ("mids", np.float64, MIDS), ("flows", np.float64, FLOWS),
    ("sizes", np.float64, FLOWS),
])

FAST_DECAY, SLOW_DECAY = 1 / 32, 1 / 1024
"""Weights of the newest squared return in the fast and the slow variance; their ratio names the regime."""

ENTER_STRESSED, LEAVE_STRESSED, ENTER_CALM, LEAVE_CALM = 3.0, 2.0, 0.4, 0.6
"""Bounds on fast over slow variance. Entering and leaving differ, so that the regime does not flicker (hysteresis)."""

OUT = ("mid", "spread", "log_return", "imbalance", "micro_price", "volatility", "mean_fast", "mean_slow", "zscore",
       "order_flow", "interval_ns")


@numba.njit(cache=True, inline="always")
def _flow(s, bid, ask, bid_size, ask_size):
    """Signed size that one quote change added to the bid side, less what it added to the ask side."""
    flow = 0.0
    if bid >= s.bid:
        flow += bid_size
    if bid <= s.bid:
        flow -= s.bid_size
    if ask <= s.ask:
        flow -= ask_size
    if ask >= s.ask:
        flow += s.ask_size
    return flow


@numba.njit(cache=True, inline="always")
def _regime(now, ratio):
    if now == STRESSED:
        return NORMAL if ratio < LEAVE_STRESSED else STRESSED
    if now == CALM:
        return NORMAL if ratio > LEAVE_CALM else CALM
    if ratio > ENTER_STRESSED:
        return STRESSED
    return CALM if ratio < ENTER_CALM else NORMAL


@numba.njit(cache=True)
def _kernel(symbols, slot, ts, bids, asks, bid_sizes, ask_sizes, out, history, regime):
    for row in range(slot.shape[0]):
        s = symbols[slot[row]]
        bid, ask, bid_size, ask_size = bids[row], asks[row], bid_sizes[row], ask_sizes[row]
        mid = middle(bid, ask)
        change = 0.0
        if s.ticks > 0:
            change = math.log(mid / s.mid)
            s.returns[s.history % RETURNS] = change
            s.history += 1
            at = (s.ticks - 1) % FLOWS
            s.flows[at] = _flow(s, bid, ask, bid_size, ask_size)
            s.sizes[at] = (bid_size + ask_size + s.bid_size + s.ask_size) / 2
            passed = max(0, ts[row] - s.ts)
            s.interval = passed if s.ticks == 1 else s.interval + (passed - s.interval) / 64
            s.fast_variance += FAST_DECAY * (change * change - s.fast_variance)
            s.slow_variance += max(SLOW_DECAY, 1 / s.history) * (change * change - s.slow_variance)
            if s.history >= RETURNS and s.slow_variance > 0:
                s.regime = _regime(s.regime, s.fast_variance / s.slow_variance)
            else:
                s.regime = NORMAL
        else:
            s.regime = NORMAL
        s.mids[s.ticks % MIDS] = mid
        s.ticks += 1
        s.mid, s.bid, s.ask, s.bid_size, s.ask_size, s.ts = mid, bid, ask, bid_size, ask_size, ts[row]

        held = min(s.history, RETURNS)
        volatility = 0.0
        if held > 0:
            total = 0.0
            for k in range(held):
                total += s.returns[k]
            mean = total / held
            total = 0.0
            for k in range(held):
                total += (s.returns[k] - mean) ** 2
            volatility = math.sqrt(total / held)

        held = min(s.ticks, MIDS)
        fast = slow = total = 0.0
        for k in range(held):
            value = s.mids[(s.ticks - 1 - k) % MIDS]
            total += value
            if k == FAST - 1:
                fast = total
            if k == SLOW - 1:
                slow = total
        mean = total / held
        fast = fast / FAST if held >= FAST else mean
        slow = slow / SLOW if held >= SLOW else mean
        total, moved = 0.0, False
        for k in range(held):
            total += (s.mids[k] - mean) ** 2
            moved = moved or s.mids[k] != mid
        deviation = math.sqrt(total / held) if moved else 0.0  # the mean of equal mids may be off by a rounding

        flow = size = 0.0
        for k in range(min(s.ticks - 1, FLOWS)):
            flow += s.flows[k]
            size += s.sizes[k]

        out[0, row], out[1, row], out[2, row] = mid, spread(bid, ask), change
        out[3, row] = imbalance(bid_size, ask_size)
        out[4, row] = micro_price(bid, ask, bid_size, ask_size)
        out[5, row], out[6, row], out[7, row] = volatility, fast, slow
        out[8, row] = (mid - mean) / deviation if deviation > 0 else 0.0
        out[9, row] = max(-1.0, min(1.0, flow / size)) if size > 0 else 0.0
        out[10, row] = s.interval
        history[row], regime[row] = s.history, s.regime


def step(state: StageState, columns: Columns) -> Columns:
    """Add the columns of `features.v1` to those of accepted ticks."""
    rows = len(columns["slot"])
    out = np.empty((len(OUT), rows))
    history, regime = np.empty(rows, np.int64), np.empty(rows, np.int64)
    _kernel(state.symbols, columns["slot"], columns["ts_order"], columns["bid"], columns["ask"], columns["bid_size"],
            columns["ask_size"], out, history, regime)
    return columns | dict(zip(OUT, out, strict=True)) | {"history": history, "regime": regime}


def stage(profile: Profile) -> Stage:
    """The features stage; the same for every profile."""
    return Stage("features", step, SYMBOL)
