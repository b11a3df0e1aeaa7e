"""What an account may do: its trading state, and the last gates that an order must pass. Whole units (udfs/money.py).

ACTIVE lets every order to the gates, REDUCING only those that bring a position nearer to nothing, HALTED none. The
state, and why it is not ACTIVE, follows from
- the drawdown from the highest equity: `reduce_drawdown` while it lasts, `halt_drawdown` for good;
- the loss since the start of the UTC day of event time: once it reaches `max_day_loss`, until the day ends;
- a price that takes an amount out of the ledger's range: halted for good;
- an operator's command. One that ends a halt, and one to resume, count drawdown and loss anew from its tick.
"""
from __future__ import annotations

import numba
import numpy as np

from udfs.money import MOST, OVER, plain, times

ACTIVE, REDUCING, HALTED = 0, 1, 2
STATES = ("ACTIVE", "REDUCING", "HALTED")

NONE, DRAWDOWN, DAY_LOSS, COMMAND, RANGE = range(5)
CAUSES = ("NONE", "DRAWDOWN", "DAY_LOSS", "COMMAND", "RANGE")
"""Why an account is in its state."""

RESUME, REDUCE, HALT = 1, 2, 3
"""An operator's commands, in the column `command`; 0 is none."""

GATES = ("halt", "reducing", "range", "position", "gross", "concentration", "account_cvar", "quantity")
"""Checks in their order. A gate holds its value against its limit; an order passes when every gate does.

Gross counts what open orders may still make of other positions, so that two orders under way cannot pass it together.
What reduces a position passes all of them but `halt` and `quantity`.
"""

REACHED = GATES.index("quantity")
DAY_NS = 86_400 * 10**9

CONTROL = [("peak", np.int64), ("state", np.int64), ("cause", np.int64), ("halted", np.int64), ("ordered", np.int64),
           ("left", np.int64), ("day", np.int64), ("day_equity", np.int64), ("day_lost", np.int64)]
"""Of the account: highest equity, state and cause; cause of a halt that stays; state that an operator set; how often
ACTIVE was left; day, equity at its start, and 1 once its loss is reached."""

BOUNDS = [("lot", np.int64), ("position", np.int64), ("gross", np.int64), ("share", np.int64), ("share_from", np.int64),
          ("day_loss", np.int64), ("reduce", np.int64), ("halt", np.int64), ("cvar", np.float64)]
"""The profile's limits; OVER where there is none."""


@numba.njit(cache=True)
def command(a, wanted, equity):
    """Apply an operator's command."""
    if wanted == HALT:
        a.halted = COMMAND if a.halted == NONE else a.halted
        return
    if wanted == RESUME or a.halted != NONE:
        a.peak, a.day_equity, a.day_lost = equity, equity, 0
    a.halted = NONE
    a.ordered = REDUCING if wanted == REDUCE else ACTIVE


@numba.njit(cache=True)
def day(a, ts, equity):
    """Begin the UTC day of a tick, where it is a new one, with the equity before the tick."""
    if ts // DAY_NS != a.day:
        a.day, a.day_equity, a.day_lost = ts // DAY_NS, equity, 0


@numba.njit(cache=True)
def judge(a, bound, equity):
    """Set the trading state by an equity."""
    fall = a.peak - equity
    if a.halted == NONE and a.peak > 0 and bound.halt != OVER and fall >= times(a.peak, bound.halt):
        a.halted = DRAWDOWN
    if a.day_equity - equity >= bound.day_loss:
        a.day_lost = 1
    before = a.state
    if a.halted != NONE:
        a.state, a.cause = HALTED, a.halted
    elif a.ordered == REDUCING:
        a.state, a.cause = REDUCING, COMMAND
    elif a.peak > 0 and bound.reduce != OVER and fall >= times(a.peak, bound.reduce):
        a.state, a.cause = REDUCING, DRAWDOWN
    elif a.day_lost:
        a.state, a.cause = REDUCING, DAY_LOSS
    else:
        a.state, a.cause = ACTIVE, NONE
    if before == ACTIVE and a.state != ACTIVE:
        a.left += 1


@numba.njit(cache=True)
def reduces(position, target):
    """Whether a target lies between nothing and a position, both included."""
    return abs(target) <= abs(position) and (target == 0 or (target > 0) == (position > 0))


@numba.njit(cache=True)
def goal(notional, mid, lot):
    """Target position, units: the value over the price in whole lots; +-OVER where that leaves the range."""
    lots = np.floor(notional / (mid * plain(lot)) + 0.5)
    if abs(lots) * lot <= MOST:
        return np.int64(lots) * lot
    return np.int64(OVER if notional > 0 else -OVER)


@numba.njit(cache=True)
def check(s, a, bound, target, priced, hasty, cvar, out):
    """Hold a target against every gate; whether all let it pass. `hasty`: orders are filled as they are sent.

    `cvar` is that of the positions which the order would make, quote currency.
    """
    less = reduces(s.position, target)
    value = abs(times(target, s.mark)) if priced and abs(target) <= MOST else np.int64(OVER)
    gross = min(np.int64(OVER), a.committed - s.commitment + value)
    base = max(gross, bound.share_from)
    _gate(out, 0, np.float64(a.state), np.float64(REDUCING), a.state != HALTED)
    _gate(out, 1, plain(abs(target)), plain(abs(s.position)), a.state == ACTIVE or less)
    _gate(out, 2, plain(gross), plain(MOST), priced and (less or gross <= MOST))
    _gate(out, 3, plain(value), _shown(bound.position), less or value <= bound.position)
    _gate(out, 4, plain(gross), _shown(bound.gross), less or gross <= bound.gross)
    _gate(out, 5, plain(value) / plain(base) if base > 0 else 0.0, _shown(bound.share),
          less or bound.share == OVER or value <= times(base, bound.share))
    _gate(out, 6, cvar, bound.cvar, less or cvar <= bound.cvar)
    _gate(out, 7, plain(abs(target - s.position)), plain(bound.lot), hasty or target != s.position)
    out.failed = -1
    for k in range(len(GATES)):
        if out.failed < 0 and not out.passed[k]:
            out.failed = k
    return out.failed < 0


@numba.njit(cache=True)
def _gate(out, k, value, limit, passed):
    out.value[k], out.limit[k], out.passed[k] = value, limit, passed


@numba.njit(cache=True)
def _shown(limit):
    return np.inf if limit == OVER else plain(limit)


@numba.njit(cache=True)
def first_failed(sized, filled, intended, out):
    """Number of each row's first gate that did not let pass, sizing's before those here; that behind the last where all
    did. Gates here count where there was an intent.
    """
    first = sized.shape[1]
    none = first + filled.shape[1]
    for row in range(out.shape[0]):
        gate, end = 0, none if intended[row] else first
        while gate < end and (sized[row, gate] if gate < first else filled[row, gate - first]):
            gate += 1
        out[row] = gate if gate < end else none
