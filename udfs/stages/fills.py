"""Fills: the ledger of one account, its last gates, and the execution of its orders, in the account's total order.

Each tick marks its symbol, then executes an order that is due, then judges a new intent, and leaves one decision. An
order that is not yet due when the next intent of its symbol passes the gates is replaced by it, and cancelled where
the position already is what that intent wants. Cash and positions change here and nowhere else: cash is the initial
cash plus the cash flow of all fills, equity is cash plus all positions at their marks.
"""
from __future__ import annotations

from functools import partial
from typing import Any

import numba
import numpy as np

from udfs.profiles import Fills, Profile
from udfs.risk.tail import tail_mean
from udfs.stage import Columns, Stage, StageState

BARS, WARM_BARS = 500, 100
"""Bars of equity change held for the account's CVaR, and how many make it speak."""

ACTIVE, REDUCING, HALTED = 0, 1, 2

GATES = ("halt", "reducing", "position", "gross", "account_cvar", "quantity")
"""Checks in their order. A gate holds its value against its limit; an order passes when every gate does.

Gross counts what open orders may still make of other positions, so that two orders under way cannot pass it together.
"""

REACHED = GATES.index("quantity")

SYMBOL = np.dtype([
    ("position", np.float64), ("cash_flow", np.float64), ("mid", np.float64), ("value", np.float64),
    ("average", np.float64), ("open", np.int64), ("open_quantity", np.float64), ("open_due", np.int64),
    ("open_sent", np.int64), ("open_mid", np.float64), ("open_order", np.int64), ("open_intent", np.int64),
    ("open_alpha", np.int64),
])
SHARED = np.dtype([
    ("started", np.int64), ("cash", np.float64), ("value", np.float64), ("gross", np.float64),
    ("committed", np.float64), ("peak", np.float64),
    ("orders", np.int64), ("fills", np.int64), ("state", np.int64), ("mark", np.int64), ("bar", np.int64),
    ("bars", np.int64), ("bar_equity", np.float64), ("cvar", np.float64), ("ring", np.float64, BARS),
])
LIMITS = np.dtype([("cash", np.float64), ("cross", np.int64), ("fee", np.float64), ("latency", np.int64),
                   ("lot", np.float64), ("mark", np.int64), ("bar", np.int64), ("position", np.float64),
                   ("gross", np.float64), ("reduce", np.float64), ("halt", np.float64), ("cvar", np.float64)])

FILL = np.dtype([("row", np.int64), ("quantity", np.float64), ("price", np.float64), ("fee", np.float64),
                 ("order", np.int64), ("intent", np.int64), ("sent", np.int64), ("decision_mid", np.float64),
                 ("position", np.float64), ("cash", np.float64), ("realized", np.float64), ("alpha", np.int64)])
DECISION = np.dtype([("order", np.int64), ("target", np.float64), ("quantity", np.float64), ("equity", np.float64),
                     ("position", np.float64), ("symbol_pnl", np.float64), ("failed", np.int64),
                     ("value", np.float64, len(GATES)), ("limit", np.float64, len(GATES)),
                     ("passed", np.int64, len(GATES))])
"""One for each tick. Where there was no intent: no order, no target (NaN), and gates that judged nothing (zeros)."""
MARK = np.dtype([("row", np.int64), ("position", np.float64), ("symbol_pnl", np.float64), ("cash", np.float64),
                 ("equity", np.float64), ("peak_equity", np.float64), ("drawdown", np.float64),
                 ("gross", np.float64), ("net", np.float64), ("account_cvar_975", np.float64), ("state", np.int64),
                 ("orders", np.int64), ("fills", np.int64)])


def limits(fills: Fills) -> np.ndarray[Any, Any]:
    """The numbers of the profile that the kernel reads, as one record."""
    return np.array([(fills.initial_cash, fills.price == "cross", fills.fee_bps / 10_000, fills.latency_ns, fills.lot,
                      fills.mark_every_ns, fills.bar_ns, fills.max_position, fills.max_gross, fills.reduce_drawdown,
                      fills.halt_drawdown, fills.cvar_limit)], LIMITS)


@numba.njit(cache=True)
def _commitment(s):
    """Absolute value of a symbol's position, or of what its open order would make of it, whichever is larger."""
    return max(abs(s.value), abs((s.position + s.open_quantity) * s.mid)) if s.open else abs(s.value)


@numba.njit(cache=True)
def _revalue(symbols, slots, a):
    """Sums over all symbols in slot order: position values, signed and absolute, and commitments."""
    value = gross = committed = 0.0
    for k in range(slots):
        value += symbols[k].value
        gross += abs(symbols[k].value)
        committed += _commitment(symbols[k])
    a.value, a.gross, a.committed = value, gross, committed


@numba.njit(cache=True)
def _execute(s, a, limit, bid, ask, mid, row, out):
    """Fill the symbol's open order whole at this quote."""
    quantity = s.open_quantity
    price = mid
    if limit.cross:
        price = ask if quantity > 0 else bid
    fee = abs(quantity) * price * limit.fee
    flow = -(quantity * price) - fee
    realized = 0.0
    if s.position * quantity < 0:
        closed = min(abs(quantity), abs(s.position))
        realized = closed * (price - s.average) * (1.0 if s.position > 0 else -1.0)
        if abs(quantity) > abs(s.position):
            s.average = price
    elif quantity != 0:
        s.average = (abs(s.position) * s.average + abs(quantity) * price) / (abs(s.position) + abs(quantity))
    s.position += quantity
    s.cash_flow += flow
    s.value = s.position * mid
    s.open = 0
    a.cash += flow
    a.fills += 1
    out.row, out.quantity, out.price, out.fee = row, quantity, price, fee
    out.order, out.intent, out.sent = s.open_order, s.open_intent, s.open_sent
    out.decision_mid, out.alpha = s.open_mid, s.open_alpha
    out.position, out.cash, out.realized = s.position, a.cash, realized


@numba.njit(cache=True)
def _bar(a, limit, ts, equity):
    """Close the bar that the last tick belonged to, when this tick belongs to a later one."""
    bar = ts // limit.bar
    if bar == a.bar:
        return
    if a.bar > 0:
        a.ring[a.bars % BARS] = equity - a.bar_equity
        a.bars += 1
        held = min(a.bars, BARS)
        if held >= WARM_BARS:
            ordered = np.sort(a.ring[:held])
            a.cvar = max(0.0, tail_mean(ordered, held, 0.025, False)[1])
    a.bar, a.bar_equity = bar, equity


@numba.njit(cache=True)
def _state(a, limit, equity):
    """Trading state by drawdown; halted is left only by a person."""
    a.peak = max(a.peak, equity)
    drawdown = 1 - equity / a.peak if a.peak > 0 else 0.0
    if drawdown >= limit.halt:
        a.state = HALTED
    elif a.state != HALTED:
        a.state = REDUCING if drawdown >= limit.reduce else ACTIVE
    return drawdown


@numba.njit(cache=True)
def _decide(s, a, limit, notional, mid, equity, out):
    """Hold the order that reaches the target against every gate; the signed quantity, and whether it may be sent."""
    lots = np.floor(notional / (mid * limit.lot) + 0.5)
    target = lots * limit.lot
    quantity = target - s.position
    reduces = abs(target) <= abs(s.position) and target * s.position >= 0
    gross = a.committed - _commitment(s) + abs(target * mid)
    out.target, out.quantity, out.equity = target, quantity, equity
    out.value[0], out.limit[0], out.passed[0] = a.state, REDUCING, a.state != HALTED
    out.value[1], out.limit[1], out.passed[1] = abs(target), abs(s.position), a.state == ACTIVE or reduces
    out.value[2], out.limit[2] = abs(target * mid), limit.position
    out.passed[2] = reduces or out.value[2] <= limit.position
    out.value[3], out.limit[3], out.passed[3] = gross, limit.gross, reduces or gross <= limit.gross
    out.value[4], out.limit[4], out.passed[4] = a.cvar, limit.cvar, reduces or a.cvar <= limit.cvar
    out.value[5], out.limit[5], out.passed[5] = abs(quantity), limit.lot, limit.latency == 0 or quantity != 0
    out.failed = -1
    for k in range(len(GATES)):
        if out.failed < 0 and not out.passed[k]:
            out.failed = k
    return quantity, out.failed < 0


@numba.njit(cache=True)
def _kernel(symbols, shared, slots, slot, ts, bid, ask, mid, intent, intent_id, target, alpha, limits, fills, decisions,
            marks):
    limit, a = limits[0], shared[0]
    filled = marked = 0
    if a.started == 0:
        a.started, a.cash, a.peak = 1, limit.cash, limit.cash
    for row in range(slot.shape[0]):
        s = symbols[slot[row]]
        _bar(a, limit, ts[row], a.cash + a.value)
        s.mid = mid[row]
        s.value = s.position * mid[row]
        before = filled
        if s.open and ts[row] >= s.open_due:
            _execute(s, a, limit, bid[row], ask[row], mid[row], row, fills[filled])
            filled += 1
        _revalue(symbols, slots, a)
        drawdown = _state(a, limit, a.cash + a.value)
        out = decisions[row]
        out.equity, out.target, out.failed = a.cash + a.value, np.nan, -1
        if intent[row] > 0:
            quantity, send = _decide(s, a, limit, target[row], mid[row], a.cash + a.value, out)
            if out.failed == REACHED:
                s.open = 0
            if send:
                a.orders += 1
                out.order = a.orders
                s.open, s.open_quantity, s.open_due, s.open_sent = 1, quantity, ts[row] + limit.latency, ts[row]
                s.open_mid, s.open_order, s.open_intent, s.open_alpha = mid[row], a.orders, intent_id[row], alpha[row]
                if limit.latency == 0:
                    _execute(s, a, limit, bid[row], ask[row], mid[row], row, fills[filled])
                    filled += 1
                    _revalue(symbols, slots, a)
                    drawdown = _state(a, limit, a.cash + a.value)
        out.position, out.symbol_pnl = s.position, s.cash_flow + s.position * mid[row]
        due = limit.mark == 0 or ts[row] // limit.mark != a.mark
        if due or filled > before:
            a.mark = ts[row] // limit.mark if limit.mark > 0 else 0
            m = marks[marked]
            marked += 1
            m.row, m.position, m.symbol_pnl = row, out.position, out.symbol_pnl
            m.cash, m.equity, m.peak_equity, m.drawdown = a.cash, a.cash + a.value, a.peak, drawdown
            m.gross, m.net, m.account_cvar_975, m.state = a.gross, a.value, a.cvar, a.state
            m.orders, m.fills = a.orders, a.fills
    return filled, marked


def step(state: StageState, columns: Columns, limits: np.ndarray[Any, Any]) -> Columns:
    """Add `decisions`, one for each tick, and `fills` and `marks`, whose `row` points at the tick that caused them."""
    rows = len(columns["slot"])
    fills, decisions, marks = np.zeros(2 * rows, FILL), np.zeros(rows, DECISION), np.zeros(rows, MARK)
    filled, marked = _kernel(
        state.symbols, state.shared, columns["slots"], columns["slot"], columns["ts_order"], columns["bid"],
        columns["ask"], columns["mid"], columns["intent"], columns["intent_id"], columns["target_notional"],
        columns["top_alpha"], limits, fills, decisions, marks)
    return columns | {"fills": fills[:filled], "decisions": decisions, "marks": marks[:marked]}


def stage(profile: Profile) -> Stage:
    """The fills stage of a profile."""
    return Stage("fills", partial(step, limits=limits(profile.fills)), SYMBOL, SHARED)
