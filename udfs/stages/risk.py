"""Risk of one symbol: historical value at risk and conditional value at risk at 95, 97.5 and 99 %.

CVaR is the mean of the tail (Rockafellar and Uryasev 2000, 2002). With n returns and tail a the tail holds n*a of
them: `ceil` takes the next whole number of smallest returns; `rockafellar_uryasev` gives the last one the weight that
is left, which is the exact CVaR of the empirical distribution. Losses are positive. The window is kept sorted beside
its ring.
"""
from __future__ import annotations

import math
from functools import partial

import numba
import numpy as np

from udfs.profiles import Profile
from udfs.risk.tail import tail_mean
from udfs.stage import Columns, Stage, StageState

TAILS = np.array([0.05, 0.025, 0.01])
OUT = ("var_95", "cvar_95", "var_975", "cvar_975", "var_99", "cvar_99")


def _symbol(window: int) -> np.dtype:
    return np.dtype([("ticks", np.int64), ("mid", np.float64), ("held", np.int64), ("ring", np.float64, window),
                     ("order", np.float64, window)])


@numba.njit(cache=True)
def _replace(order, held, old, new, full):
    """Keep `order[:held]` sorted while `old` leaves (when full) and `new` enters."""
    at = held
    if full:
        at = np.searchsorted(order[:held], old)
    else:
        order[held] = np.inf
        held += 1
    while at > 0 and order[at - 1] > new:
        order[at] = order[at - 1]
        at -= 1
    while at < held - 1 and order[at + 1] < new:
        order[at] = order[at + 1]
        at += 1
    order[at] = new
    return held


@numba.njit(cache=True)
def _kernel(symbols, slot, mid, tails, whole, floor, out, warm):
    for row in range(slot.shape[0]):
        s = symbols[slot[row]]
        window = s.ring.shape[0]
        if s.ticks > 0:
            change = math.log(mid[row] / s.mid)
            at = (s.ticks - 1) % window
            s.held = _replace(s.order, s.held, s.ring[at], change, s.held == window)
            s.ring[at] = change
        s.mid = mid[row]
        s.ticks += 1
        warm[row] = s.held == window
        for k in range(3):
            var = cvar = 0.0
            if s.held > 0:
                var, cvar = tail_mean(s.order, s.held, tails[k], whole)
            out[2 * k, row], out[2 * k + 1, row] = var, max(cvar, floor)


def step(state: StageState, columns: Columns, whole: bool, floor: float) -> Columns:
    """Add the risk columns of `risk.v1` to those of opportunities."""
    rows = len(columns["slot"])
    out, warm = np.empty((len(OUT), rows)), np.empty(rows, np.int64)
    _kernel(state.symbols, columns["slot"], columns["mid"], TAILS, whole, floor, out, warm)
    return columns | dict(zip(OUT, out, strict=True)) | {"warm": warm}


def stage(profile: Profile) -> Stage:
    """The risk stage of a profile."""
    run = partial(step, whole=profile.risk.tail == "ceil", floor=profile.risk.floor)
    return Stage("risk", run, _symbol(profile.risk.window))
