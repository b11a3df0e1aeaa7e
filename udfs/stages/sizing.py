"""Sizing: from the score of one tick to a new target, in the account's total order.

A target changes when every gate passes: the score is warm, strong (`sizing.entry`), points the other way than the last
target, and the forecast is worth the crossing (`sizing.cost_ratio`). Its value is the smallest of: the fixed notional;
the CVaR budget over the symbol's CVaR; fractional Kelly with mu shrunk by its own uncertainty, equity * fraction *
|mu| * shrink / sigma^2 with shrink = mu^2 / (mu^2 + kelly_shrink * sigma^2) (Kelly 1956; Baker and McHale 2013); the
room under the gross cap. The first three are scaled by the score. What bound is recorded.
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
GATES = ("warm", "entry", "direction", "cost")
"""Checks in their order; a gate holds its value against its limit. All are judged for every tick."""

NO_TARGET = -1
"""Binding constraint of a tick that changes no target."""

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
def _gates(limit, warm, score, mu, bid, ask, direction, held, value, bound, passed):
    """Judge one tick; whether every gate lets it pass."""
    value[0], bound[0], passed[0] = warm, 1.0, warm > 0
    value[1], bound[1], passed[1] = abs(score), limit.entry, not abs(score) < limit.entry
    value[2], bound[2], passed[2] = direction, held, direction != held
    value[3], bound[3] = abs(mu), limit.cost * (ask - bid) / (0.5 * (ask + bid))
    passed[3] = not value[3] < bound[3]
    return passed[0] and passed[1] and passed[2] and passed[3]


@numba.njit(cache=True)
def _kernel(symbols, shared, slots, slot, bid, ask, score, mu, sigma, cvar, warm, limits, intent, target, binding,
            value, bounds, passed):
    limit = limits[0]
    for row in range(slot.shape[0]):
        s = symbols[slot[row]]
        direction = 1 if score[row] > 0 else -1
        intent[row], target[row], binding[row] = 0, 0.0, NO_TARGET
        if not _gates(limit, warm[row], score[row], mu[row], bid[row], ask[row], direction, s.direction, value[row],
                      bounds[row], passed[row]):
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
    """Add `intent` (its number in the account, 0 for none), `target_notional`, `binding` and the gates.

    `gate_value`, `gate_limit` and `gate_passed` have a column for each of GATES.
    """
    rows = len(columns["slot"])
    intent, binding, target = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows)
    value, bounds = np.zeros((rows, len(GATES))), np.zeros((rows, len(GATES)))
    passed = np.zeros((rows, len(GATES)), np.bool_)
    _kernel(state.symbols, state.shared, columns["slots"], columns["slot"], columns["bid"], columns["ask"],
            columns["score"], columns["mu"], columns["sigma"], columns["cvar_975"], columns["warm"], limits, intent,
            target, binding, value, bounds, passed)
    return columns | {"intent": intent, "target_notional": target, "binding": binding, "gate_value": value,
                      "gate_limit": bounds, "gate_passed": passed}


def stage(profile: Profile) -> Stage:
    """The sizing stage of a profile."""
    return Stage("sizing", partial(step, limits=limits(profile.sizing)), SYMBOL, SHARED)
