"""Sizing: from the score of one tick to a new target, in the account's total order.

A target changes when a warm, strong score points the other way than the last one (`sizing.entry`) and the forecast is
worth the crossing (`sizing.cost_ratio`). Its value is the smallest of: the fixed notional; the CVaR budget over the
symbol's CVaR; fractional Kelly with mu shrunk by its own uncertainty, equity * fraction * |mu| * shrink / sigma^2 with
shrink = mu^2 / (mu^2 + kelly_shrink * sigma^2) (Kelly 1956; Baker and McHale 2013); the room under the gross cap. The
first three are scaled by the score. What bound is recorded.
"""
from __future__ import annotations

import math
from functools import partial
from typing import Any

import numba
import numpy as np

from udfs.profiles import Profile, Sizing
from udfs.stage import Columns, Stage, StageState

SYMBOL = np.dtype([("direction", np.int64), ("target", np.float64)])
SHARED = np.dtype([("intents", np.int64)])

CONSTRAINTS = ("fixed_notional", "cvar_budget", "kelly", "gross_cap")
LIMITS = np.dtype([(name, np.float64) for name in
                   ("entry", "cost", "equity", "fixed", "budget", "kelly", "shrink", "gross")])


def limits(sizing: Sizing) -> np.ndarray[Any, Any]:
    """The numbers of the profile that the kernel reads, as one record."""
    return np.array([(sizing.entry, sizing.cost_ratio, sizing.reference_equity, sizing.fixed_notional,
                      sizing.cvar_budget, sizing.kelly_fraction, sizing.kelly_shrink, sizing.gross_cap)], LIMITS)


@numba.njit(cache=True)
def _amount(limit, score, mu, sigma, cvar):
    """(value of a full-score position, which constraint set it)."""
    amount, binding = limit.fixed, 0
    if limit.budget / cvar < amount:
        amount, binding = limit.budget / cvar, 1
    if math.isfinite(limit.kelly) and sigma > 0:
        square = mu * mu
        shrink = square / (square + limit.shrink * sigma * sigma) if square > 0 else 0.0
        kelly = limit.equity * limit.kelly * abs(mu) * shrink / (sigma * sigma)
        if mu * score < 0:
            kelly = 0.0
        if kelly < amount:
            amount, binding = kelly, 2
    return amount, binding


@numba.njit(cache=True)
def _kernel(symbols, shared, slots, slot, bid, ask, score, mu, sigma, cvar, warm, limits, intent, target, binding):
    limit = limits[0]
    for row in range(slot.shape[0]):
        intent[row] = 0
        if not warm[row] or abs(score[row]) < limit.entry:
            continue
        s = symbols[slot[row]]
        direction = 1 if score[row] > 0 else -1
        cost = limit.cost * (ask[row] - bid[row]) / (0.5 * (ask[row] + bid[row]))
        if direction == s.direction or abs(mu[row]) < cost:
            continue
        amount, bound = _amount(limit, score[row], mu[row], sigma[row], cvar[row])
        notional = score[row] * amount
        if math.isfinite(limit.gross):
            others = 0.0
            for k in range(slots):
                if k != slot[row]:
                    others += abs(symbols[k].target)
            room = max(0.0, limit.gross - others)
            if abs(notional) > room:
                notional, bound = direction * room, 3
        s.direction, s.target = direction, notional
        shared[0].intents += 1
        intent[row], target[row], binding[row] = shared[0].intents, notional, bound


def step(state: StageState, columns: Columns, limits: np.ndarray[Any, Any]) -> Columns:
    """Add `intent` (its number in the account, 0 for none), `target_notional` and `binding` to the columns of risk."""
    rows = len(columns["slot"])
    intent, binding, target = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows)
    _kernel(state.symbols, state.shared, columns["slots"], columns["slot"], columns["bid"], columns["ask"],
            columns["score"], columns["mu"], columns["sigma"], columns["cvar_975"], columns["warm"], limits, intent,
            target, binding)
    return columns | {"intent": intent, "target_notional": target, "binding": binding}


def stage(profile: Profile) -> Stage:
    """The sizing stage of a profile."""
    return Stage("sizing", partial(step, limits=limits(profile.sizing)), SYMBOL, SHARED)
