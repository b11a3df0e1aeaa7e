"""Sizing: from the score of one tick to a new target, in the account's total order.

A target is taken when every gate passes: the score is warm, strong (`sizing.entry`), points the other way than the
last target, the forecast is worth the crossing (`sizing.cost_ratio`), and the symbol is among the best few of the
account (`sizing.select`, udfs/selection.py). Its value is the smallest of: the fixed notional; the CVaR budget over
the symbol's CVaR; fractional Kelly with mu shrunk by its own uncertainty (udfs/kelly.py); these three are scaled by
the score; then the symbol's cap and the room under the gross cap. Lots are cut off towards 0, and what is left below
the least notional is 0. What bound is recorded.

The CVaR of one tick says little about a position that is held for hours. It is carried to `sizing.cvar_horizon_s` by
the ratio of the root mean square returns: that of the horizon, from returns sampled every `sizing.cvar_sample_s` and
scaled by the square root of time, over that of a tick. Ticks themselves would say too much: a bouncing quote on a grid
of cents made the variance of a day up to 22 times too high (the simulator at 2,000 ticks a second; Zhang, Mykland and
Ait-Sahalia 2005 on sparse sampling). Until there are SAMPLES of them ticks are what there is. The tail keeps the tick's
shape, which is heavier than that of a sum; clustered volatility and jumps make the square root too low (Danielsson and
Zigrand 2006).

Between turns a target may only shrink: to 0 when the symbol is no longer selected, to the CVaR budget when its CVaR
is `sizing.cvar_band` times that. Every gate lets such a tick pass, with no limit but the held direction.

Ranks are made anew at the first tick of every joint bar, and within it by a tick that wants a target (or holds one) and
has none of the first ranks, if a tenth of a bar has passed since: its symbol may not have been a candidate before. So
there are at most eleven rankings a bar however many symbols there are. A symbol is a candidate when its latest tick was
warm, strong and worth the crossing, or a target is held in it, and it had a tick in the last `select_bars` bars. A
target once taken is kept up to rank `select_hold`: a buffer that saves turnover (Novy-Marx and Velikov 2016).
"""
from __future__ import annotations

import math
from functools import partial
from typing import Any

import numba
import numpy as np

from udfs import joint, kelly
from udfs.profiles import NS, Profile, Sizing
from udfs.selection import greedy, unit_returns
from udfs.stage import Columns, Stage, StageState

CONSTRAINTS = ("fixed_notional", "cvar_budget", "kelly", "gross_cap", "symbol_cap", "lot", "min_notional", "selection")
FIXED, BUDGET, KELLY, GROSS, CAP, LOT, LEAST, SELECTION = range(len(CONSTRAINTS))

GATES = ("warm", "entry", "direction", "cost", "selection")
"""Checks in their order; a gate holds its value against its limit. All are judged for every tick."""

NO_TARGET = -1
"""Binding constraint of a tick that changes no target."""

TICKS_AVERAGED, SAMPLES_AVERAGED, SAMPLES = 500, 100, 10
"""Ticks and sampled returns over which squares and times are averaged; sampled returns that are trusted."""

RANKINGS = 10
"""Rankings within a bar, beside the one at its start, that ticks without a rank may ask for."""

_MOVES = np.dtype([("ts", np.int64), ("mid", np.float64), ("count", np.int64), ("time", np.float64),
                   ("square", np.float64)])
"""Where the next log return starts (`ts` 0 before the first), how many there were, mean time and square of them."""

LIMITS = np.dtype([(name, np.float64) for name in (
    "entry", "cost", "equity", "fixed", "budget", "horizon", "sample", "band", "kelly", "shrink", "symbol", "gross",
    "lot", "least", "noise", "penalty")] + [("select", np.int64), ("hold", np.int64), ("bar", np.int64)])


def limits(sizing: Sizing) -> np.ndarray[Any, Any]:
    """The numbers of the profile that the kernel reads, as one record."""
    budget = sizing.cvar_budget * sizing.reference_equity
    return np.array([(sizing.entry, sizing.cost_ratio, sizing.reference_equity, sizing.fixed_notional, budget,
                      sizing.cvar_horizon_s * NS, sizing.cvar_sample_s * NS, sizing.cvar_band, sizing.kelly_fraction,
                      sizing.kelly_shrink ** 0.5, sizing.symbol_cap, sizing.gross_cap, sizing.lot, sizing.min_notional,
                      sizing.select_noise, sizing.select_penalty, sizing.select, hold(sizing),
                      sizing.select_bar_ns)], LIMITS)


def hold(sizing: Sizing) -> int:
    """Ranks that are made; 0 where every symbol is selected."""
    return max(sizing.select, sizing.select_hold) if sizing.select else 0


def _symbol(sizing: Sizing) -> np.dtype[Any]:
    """`wants`: the latest tick was warm, strong and worth the crossing. `tick` and `sample`: see _MOVES."""
    bars = sizing.select_bars if sizing.select else 1
    return np.dtype([("direction", np.int64), ("target", np.float64), ("score", np.float64), ("wants", np.int64),
                     ("tick", _MOVES), ("sample", _MOVES), ("joint", joint.symbol(bars))])


def _shared(sizing: Sizing) -> np.dtype[Any]:
    """`ranks` holds the slots of the first `ranked` ranks, made in joint bar `bar` at event time `ts`."""
    return np.dtype([("intents", np.int64), ("joint", joint.SHARED), ("bar", np.int64), ("ts", np.int64),
                     ("ranked", np.int64), ("ranks", np.int64, max(1, hold(sizing)))])


@numba.njit(cache=True)
def _move(m, ts, mid, least, memory):
    """Take a tick into the averages of moves that last at least so long."""
    if m.ts > 0:
        if ts - m.ts < least:
            return
        m.count += 1
        weight, change = max(1 / memory, 1 / m.count), math.log(mid / m.mid)
        m.time += weight * (ts - m.ts - m.time)
        m.square += weight * (change * change - m.square)
    m.ts, m.mid = ts, mid


@numba.njit(cache=True)
def _per_horizon(tick, sample, limit, ts, mid):
    """Take a tick; by what the CVaR of one is multiplied to be that of the horizon, at least 1."""
    if limit.horizon == 0:
        return 1.0
    _move(tick, ts, mid, 0.0, TICKS_AVERAGED)
    _move(sample, ts, mid, limit.sample, SAMPLES_AVERAGED)
    if sample.count >= SAMPLES and tick.square > 0:
        return math.sqrt(max(1.0, limit.horizon / sample.time * sample.square / tick.square))
    return math.sqrt(max(1.0, limit.horizon / max(1.0, tick.time))) if tick.count > 0 else 1.0


@numba.njit(cache=True)
def _amount(limit, score, mu, sigma, cvar):
    """(value of a full-score position, which constraint set it). A CVaR that is no number allows none."""
    amount, binding = limit.fixed, FIXED
    budgeted = limit.budget / cvar if cvar > 0 else 0.0
    if budgeted < amount:
        amount, binding = budgeted, BUDGET
    if math.isfinite(limit.kelly):
        bet = limit.equity * limit.kelly * abs(kelly.fraction(mu, sigma))
        if sigma > 0:
            bet *= kelly.shrinkage(mu, limit.shrink * sigma)
        if mu * score < 0:
            bet = 0.0
        if bet < amount:
            amount, binding = bet, KELLY
    return amount, binding


@numba.njit(cache=True)
def _room(symbols, slots, own, gross):
    """What the targets of other symbols leave of the gross cap."""
    others = 0.0
    for k in range(slots):
        if k != own:
            others += abs(symbols[k].target)
    return max(0.0, gross - others)


@numba.njit(cache=True)
def _capped(notional, cap, binding, constraint):
    """(notional within the cap, what bound it)."""
    return (math.copysign(cap, notional), constraint) if abs(notional) > cap else (notional, binding)


@numba.njit(cache=True)
def _tradable(notional, mid, limit, binding):
    """(notional in whole lots and not below the least, what bound it)."""
    if limit.lot > 0:
        lots = math.floor(abs(notional) / (mid * limit.lot) + 1e-9)
        whole = lots * limit.lot * mid
        binding = LOT if lots == 0 and notional != 0 else binding
        notional = math.copysign(whole, notional)
    if 0 < abs(notional) < limit.least:
        return 0.0, LEAST
    return notional + 0.0, binding  # -0.0 is 0.0


@numba.njit(cache=True)
def _gates(limit, warm, score, mu, bid, ask, direction, held, value, bound, passed):
    """Judge one tick as one that would take a target; whether every gate but the selection lets it pass.

    The selection is judged where there is one; without it every symbol has rank 0 and passes.
    """
    value[0], bound[0], passed[0] = warm, 1.0, warm > 0
    value[1], bound[1], passed[1] = abs(score), limit.entry, abs(score) >= limit.entry
    value[2], bound[2], passed[2] = direction, held, direction != held
    value[3], bound[3] = abs(mu), limit.cost * (ask - bid) / (0.5 * (ask + bid))
    passed[3] = value[3] >= bound[3]
    value[4], bound[4], passed[4] = 0.0, np.inf, True
    return passed[0] and passed[1] and passed[2] and passed[3]


@numba.njit(cache=True)
def _let_shrink(value, bound, passed):
    """Judge one tick as one that makes a target smaller: no direction of its own, no other limit."""
    value[2], passed[2] = 0.0, True
    for gate in (0, 1, 3):
        bound[gate], passed[gate] = 0.0, True
    bound[4], passed[4] = np.inf, True


@numba.njit(cache=True)
def _rank(a, slot):
    """Rank of a slot from 1; one behind the last that is made where it has none."""
    for k in range(a.ranked):
        if a.ranks[k] == slot:
            return k + 1
    return a.ranks.shape[0] + 1


@numba.njit(cache=True)
def _make_ranks(symbols, joints, a, common, slots, limit):
    """Rank the account's candidates by the greedy choice."""
    bars = joints[0].ring.shape[0]
    candidates, count = np.empty(slots, np.int64), 0
    for k in range(slots):
        known = joints[k].seen > 0 and joints[k].bar >= common.bar - bars
        if known and (symbols[k].wants > 0 or symbols[k].target != 0):
            candidates[count] = k
            count += 1
    weights, units = np.empty(count), np.zeros((count, bars))
    for i in range(count):
        weights[i] = abs(symbols[candidates[i]].score) / limit.noise
        unit_returns(joints[candidates[i]], common, units[i])
    places, _ = greedy(weights, units, limit.hold, limit.penalty)
    a.bar, a.ranked = common.bar, places.shape[0]
    for k in range(places.shape[0]):
        a.ranks[k] = candidates[places[k]]


@numba.njit(cache=True)
def _renewed_rank(symbols, joints, a, common, slots, own, limit, turned, ts):
    """Rank of the tick's symbol, made anew where the module's rule says so."""
    rank = _rank(a, own)
    misses = rank > limit.select if turned else symbols[own].target != 0 and rank > limit.hold
    if a.bar == common.bar and not (misses and ts - a.ts >= limit.bar // RANKINGS):
        return rank
    a.ts = ts
    _make_ranks(symbols, joints, a, common, slots, limit)
    return _rank(a, own)


@numba.njit(cache=True)
def _target(symbols, slots, own, limit, score, mu, sigma, cvar, mid):
    """(new target, what bound it)."""
    amount, binding = _amount(limit, score, mu, sigma, cvar)
    notional = score * amount
    if math.isfinite(limit.gross):
        notional, binding = _capped(notional, _room(symbols, slots, own, limit.gross), binding, GROSS)
    notional, binding = _capped(notional, limit.symbol, binding, CAP)
    return _tradable(notional, mid, limit, binding)


@numba.njit(cache=True)
def _smaller(s, limit, a, rank, turned, cvar, mid):
    """(what the held target shrinks to, why); NO_TARGET where it may stay."""
    if s.target == 0:
        return 0.0, NO_TARGET
    if limit.select > 0 and (turned or (rank > limit.hold and a.ranked == limit.hold)):
        return 0.0, SELECTION
    if abs(s.target) * cvar > limit.band * limit.budget:
        return _tradable(math.copysign(limit.budget / cvar, s.target), mid, limit, BUDGET)
    return 0.0, NO_TARGET


@numba.njit(cache=True)
def _kernel(symbols, ticks, samples, joints, shared, commons, slots, slot, ts, bid, ask, score, mu, sigma, cvar, warm,
            limits, intent, target, binding, value, bounds, passed):
    limit, a, common = limits[0], shared[0], commons[0]
    for row in range(slot.shape[0]):
        own = slot[row]
        s = symbols[own]
        mid = 0.5 * (bid[row] + ask[row])
        tail = cvar[row] * _per_horizon(ticks[own], samples[own], limit, ts[row], mid)
        direction = 1 if score[row] > 0 else -1
        turned = _gates(limit, warm[row], score[row], mu[row], bid[row], ask[row], direction, s.direction, value[row],
                        bounds[row], passed[row])
        rank = 0
        if limit.select > 0:
            joint.update(joints[own], common, ts[row] // limit.bar, mid)
            s.score, s.wants = score[row], passed[row, 0] and passed[row, 1] and passed[row, 3]
            rank = _renewed_rank(symbols, joints, a, common, slots, own, limit, turned, ts[row])
            value[row, 4], bounds[row, 4], passed[row, 4] = rank, limit.select, rank <= limit.select
        intent[row], target[row], binding[row] = 0, 0.0, NO_TARGET
        if turned and passed[row, 4]:
            notional, bound = _target(symbols, slots, own, limit, score[row], mu[row], sigma[row], tail, mid)
            s.direction = direction
        else:
            notional, bound = _smaller(s, limit, a, rank, turned, tail, mid)
            if bound == NO_TARGET:
                continue
            _let_shrink(value[row], bounds[row], passed[row])
            s.direction = s.direction if notional != 0 else 0
        s.target = notional
        a.intents += 1
        intent[row], target[row], binding[row] = a.intents, notional, bound


def step(state: StageState, columns: Columns, limits: np.ndarray[Any, Any]) -> Columns:
    """Add `intent` (its number in the account, 0 for none), `target_notional`, `binding` and the gates.

    `gate_value`, `gate_limit` and `gate_passed` have a column for each of GATES.
    """
    rows = len(columns["slot"])
    intent, binding, target = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows)
    value, bounds = np.zeros((rows, len(GATES))), np.zeros((rows, len(GATES)))
    passed = np.zeros((rows, len(GATES)), np.bool_)
    held = state.symbols
    _kernel(held, held["tick"], held["sample"], held["joint"], state.shared, state.shared["joint"], columns["slots"],
            columns["slot"], columns["ts_order"], columns["bid"], columns["ask"], columns["score"], columns["mu"],
            columns["sigma"], columns["cvar_975"], columns["warm"], limits, intent, target, binding, value, bounds,
            passed)
    return columns | {"intent": intent, "target_notional": target, "binding": binding, "gate_value": value,
                      "gate_limit": bounds, "gate_passed": passed}


def stage(profile: Profile) -> Stage:
    """The sizing stage of a profile."""
    sizing = profile.sizing
    return Stage("sizing", partial(step, limits=limits(sizing)), _symbol(sizing), _shared(sizing))
