"""Risk of one symbol: value at risk and conditional value at risk at 95, 97.5 and 99 % over its next tick.

Two choices, independent of each other. A filter divides every return by the volatility that was known before it, and
multiplies the tail with the volatility known now: none, EWMA or GARCH(1,1) (filtered historical simulation,
Barone-Adesi, Giannopoulos and Vosper 1999). A law gives the tail of what is left: the window itself (Rockafellar and
Uryasev 2002), Cornish-Fisher on its moments (Maillard 2012), or a Pareto tail (`extreme`; with the GARCH filter this is
McNeil and Frey 2000). Where a law's guard refuses, the window's own tail is used and a flag says so.

The window is kept sorted beside its ring. The heavier laws are fitted anew every `risk.every` ticks of the symbol,
counted from its first; volatility moves at every tick.
"""
from __future__ import annotations

import math
from functools import partial
from typing import Any

import numba
import numpy as np
from scipy import special

from udfs.profiles import Profile, Risk
from udfs.risk.cornish_fisher import expansion_tail, parameters, sample_moments
from udfs.risk.extreme import pareto_fit
from udfs.risk.laws import pareto_tail
from udfs.risk.tail import tail_mean
from udfs.risk.volatility import FILTERS, FLAT, next_variance, standardised
from udfs.stage import Columns, Stage, StageState

TAILS = np.array([0.05, 0.025, 0.01])
QUANTILES = special.ndtri(TAILS)
OUT = ("var_95", "cvar_95", "var_975", "cvar_975", "var_99", "cvar_99")

METHODS = ("historical", "cornish_fisher", "extreme")
HISTORICAL, CORNISH_FISHER, EXTREME = range(3)

NOT_MONOTONE, NO_MEAN, STILL, AT_LEAST, AT_FLOOR = 1, 2, 4, 8, 16
"""Guards in `risk_flags`: moments at which Cornish-Fisher is no quantile function; a Pareto tail whose mean is (nearly)
infinite, or too few distinct losses for one; no price change in the window; volatility held at its least; CVaR at
97.5 % held at its floor.
"""

LEAST_BEYOND = 10
"""Fewest exceedances that a Pareto tail is fitted to."""

SETTINGS = np.dtype([("method", np.int64), ("filter", np.int64), ("whole", np.int64), ("floor", np.float64),
                     ("least_cvar", np.float64), ("decay", np.float64), ("alpha", np.float64), ("beta", np.float64),
                     ("memory", np.int64), ("least", np.float64), ("every", np.int64), ("threshold", np.float64),
                     ("shape", np.float64)])


def settings(risk: Risk) -> np.ndarray[Any, Any]:
    """The numbers of the profile that the kernel reads, as one record."""
    return np.array([(METHODS.index(risk.method), FILTERS.index(risk.filter), risk.tail == "ceil", risk.floor,
                      risk.least_cvar, risk.decay, risk.garch_alpha, risk.garch_beta, risk.long_memory,
                      risk.least_volatility, risk.every, risk.threshold, risk.shape_limit)], SETTINGS)


def _symbol(window: int) -> np.dtype:
    return np.dtype([("ticks", np.int64), ("mid", np.float64), ("held", np.int64), ("ring", np.float64, window),
                     ("order", np.float64, window), ("variance", np.float64), ("long_run", np.float64),
                     ("deviation", np.float64), ("least", np.int64), ("law", np.int64),
                     ("tails", np.float64, 2 * len(TAILS))])


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
def _take(s, change, c):
    """Enter one return into window and volatility."""
    window = s.ring.shape[0]
    at = (s.ticks - 1) % window
    value = change if c.filter == FLAT else standardised(change, s.deviation)
    s.held = _replace(s.order, s.held, s.ring[at], value, s.held == window)
    s.ring[at] = value
    square = change * change
    s.long_run += max(1 / c.memory, 1 / s.ticks) * (square - s.long_run)
    s.variance = square if s.ticks == 1 else next_variance(
        c.filter, s.variance, s.long_run, change, s.ticks, c.decay, c.alpha, c.beta)
    least = c.least * math.sqrt(s.long_run)
    s.deviation = math.sqrt(s.long_run) if c.filter == FLAT else max(math.sqrt(s.variance), least)
    s.least = c.filter != FLAT and s.deviation == least


@numba.njit(cache=True)
def _empirical(s, tails, whole):
    for k in range(tails.shape[0]):
        s.tails[2 * k], s.tails[2 * k + 1] = tail_mean(s.order, s.held, tails[k], whole)


@numba.njit(cache=True)
def _cornish_fisher(s, tails, quantiles):
    """Whether the window's moments allow it; its tails are then in the state."""
    mean, deviation, skewness, kurtosis = sample_moments(s.order[:s.held])
    skew, kurt, found = parameters(skewness, kurtosis)
    if found:
        for k in range(tails.shape[0]):
            s.tails[2 * k], s.tails[2 * k + 1] = expansion_tail(mean, deviation, skew, kurt, quantiles[k], tails[k])
    return found


@numba.njit(cache=True)
def _extreme(s, tails, share, limit):
    """Whether the window's largest losses allow a Pareto tail; its tails are then in the state."""
    count = np.int64(math.ceil(share * s.held))
    if count < LEAST_BEYOND or count >= s.held:
        return False
    threshold = -s.order[count]
    shape, scale = pareto_fit(-s.order[:count][::-1] - threshold)
    if not (math.isfinite(shape) and shape < limit):
        return False
    for k in range(tails.shape[0]):
        s.tails[2 * k], s.tails[2 * k + 1] = pareto_tail(threshold, shape, scale, count / s.held, tails[k])
    return True


@numba.njit(cache=True)
def _fit(s, c, tails, quantiles):
    """Bring the tails of the window up to date; which guard was hit stays in the state until the next fit."""
    if c.method == HISTORICAL:
        _empirical(s, tails, c.whole)
    elif s.ticks % c.every == 0:
        s.law = 0
        if s.order[0] == s.order[s.held - 1]:
            _empirical(s, tails, c.whole)
        elif c.method == CORNISH_FISHER and not _cornish_fisher(s, tails, quantiles):
            s.law = NOT_MONOTONE
            _empirical(s, tails, c.whole)
        elif c.method == EXTREME and not _extreme(s, tails, c.threshold, c.shape):
            s.law = NO_MEAN
            _empirical(s, tails, c.whole)


@numba.njit(cache=True)
def _kernel(symbols, slot, mid, tails, quantiles, settings, out, warm, volatility, flags):
    c = settings[0]
    for row in range(slot.shape[0]):
        s = symbols[slot[row]]
        if s.ticks > 0:
            _take(s, math.log(mid[row] / s.mid), c)
        s.mid = mid[row]
        s.ticks += 1
        if s.held > 0:
            _fit(s, c, tails, quantiles)
        scale = 1.0 if c.filter == FLAT else s.deviation
        floor = max(c.floor, c.least_cvar * math.sqrt(s.long_run))
        held = s.held > 0 and scale * s.tails[3] < floor
        for k in range(tails.shape[0]):
            out[2 * k, row], out[2 * k + 1, row] = scale * s.tails[2 * k], max(scale * s.tails[2 * k + 1], floor)
        warm[row], volatility[row] = s.held == s.ring.shape[0], s.deviation
        still = s.held > 0 and s.order[0] == 0 and s.order[s.held - 1] == 0
        flags[row] = s.law | (STILL if still else 0) | (AT_LEAST if s.least else 0) | (AT_FLOOR if held else 0)


def step(state: StageState, columns: Columns, settings: np.ndarray[Any, Any]) -> Columns:
    """Add the risk columns of `risk.v1` to those of opportunities. ValueError for a mid that is no positive number."""
    mid, rows = columns["mid"], len(columns["slot"])
    if not ((mid > 0) & (mid < np.inf)).all():
        found = mid[~((mid > 0) & (mid < np.inf))][0]
        raise ValueError(f"risk: mid must be a positive number, found {found}; admission lets no other pass")
    out, volatility = np.empty((len(OUT), rows)), np.empty(rows)
    warm, flags = np.empty(rows, np.int64), np.empty(rows, np.int64)
    _kernel(state.symbols, columns["slot"], mid, TAILS, QUANTILES, settings, out, warm, volatility, flags)
    return columns | dict(zip(OUT, out, strict=True)) | {
        "warm": warm, "conditional_volatility": volatility, "risk_flags": flags}


def stage(profile: Profile) -> Stage:
    """The risk stage of a profile."""
    return Stage("risk", partial(step, settings=settings(profile.risk)), _symbol(profile.risk.window))
