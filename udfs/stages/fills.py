"""Fills: the ledger of one account, its last gates, and the execution of its orders, in the account's total order.

Each tick
1. obeys an operator's command, marks its symbol, and sets the trading state;
2. ends its symbol's open order (one that is too old; one that would add to exposure once the account was not ACTIVE
   since it was sent), or fills what the quote has for it when it is due;
3. judges a new intent: an order that passes every gate replaces an open one, and an intent whose position is there
   already ends it;
4. leaves one decision, and a mark where one is due or a fill was made.

Cash and positions change here and nowhere else, in whole units: udfs/money.py (arithmetic), udfs/book.py (books),
udfs/gates.py (state and gates), udfs/execution.py (how an order meets a quote).
"""
from __future__ import annotations

from functools import partial
from typing import Any

import numba
import numpy as np

from schemas.layout import NULL_LONG
from udfs import joint
from udfs.book import ACCOUNT, POSITION, book, revalue
from udfs.execution import ORDER, QUOTE, RULES, TRADE, limit_price, match, new_trade
from udfs.gates import (
    ACTIVE,
    BOUNDS,
    CONTROL,
    GATES,
    NONE,
    RANGE,
    REACHED,
    check,
    command,
    day,
    goal,
    judge,
    reduces,
)
from udfs.money import MOST, plain, setting, times, units
from udfs.profiles import Fills, Profile
from udfs.stage import Columns, Stage, StageState

BARS, WARM_BARS = 500, 100
"""Bars of joint returns held for the account's CVaR, and how many make it speak."""

TAIL = 0.025
"""The account's CVaR is that at 97.5 %."""

STANDS, REPLACED, AT_TARGET, NOT_REDUCING, EXPIRED, OUT_OF_RANGE = range(6)
ENDS = ("NONE", "REPLACED", "AT_TARGET", "NOT_REDUCING", "EXPIRED", "OUT_OF_RANGE")
"""How an order ended that was not filled whole."""

SYMBOL = np.dtype([*POSITION, *ORDER, *TRADE, ("joint", joint.symbol(BARS))])
SHARED = np.dtype([*ACCOUNT, *CONTROL, ("started", np.int64), ("orders", np.int64), ("fills", np.int64),
                   ("mark_bar", np.int64), ("cvar", np.float64), ("joint", joint.SHARED)])
LIMITS = np.dtype([*RULES, *BOUNDS, ("cash", np.int64), ("taker", np.int64), ("maker", np.int64),
                   ("mark_ns", np.int64), ("bar_ns", np.int64)])

FILL = np.dtype([("row", np.int64), ("quantity", np.int64), ("price", np.int64), ("fee", np.int64),
                 ("order", np.int64), ("intent", np.int64), ("part", np.int64), ("remaining", np.int64),
                 ("rested", np.int64), ("sent", np.int64), ("decision_mid", np.int64), ("position", np.int64),
                 ("cash", np.int64), ("realized", np.int64), ("alpha", np.int64)])
"""One for each fill. `part` is its number within its order, `remaining` the absolute quantity still open behind it."""

DECISION = np.dtype([("order", np.int64), ("target", np.int64), ("quantity", np.int64), ("limit_price", np.int64),
                     ("equity", np.int64), ("position", np.int64), ("symbol_pnl", np.int64), ("state", np.int64),
                     ("cause", np.int64), ("command", np.int64), ("ended", np.int64), ("ended_intent", np.int64),
                     ("ended_as", np.int64), ("failed", np.int64), ("value", np.float64, len(GATES)),
                     ("limit", np.float64, len(GATES)), ("passed", np.int64, len(GATES))])
"""One for each tick. Where there was no intent: no order, no target (NULL_LONG), gates that judged nothing (zeros)."""

MARK = np.dtype([("row", np.int64), ("mid", np.int64), ("position", np.int64), ("symbol_pnl", np.int64),
                 ("cash", np.int64), ("equity", np.int64), ("peak_equity", np.int64), ("drawdown", np.float64),
                 ("gross", np.int64), ("net", np.int64), ("account_cvar_975", np.float64), ("state", np.int64),
                 ("cause", np.int64), ("orders", np.int64), ("fills", np.int64)])


def limits(made: Fills) -> np.ndarray[Any, Any]:
    """The numbers of the profile that the kernel reads, as one record. Raises ValueError for one beyond the range."""
    record = np.zeros(1, LIMITS)
    of = {"cross": made.price == "cross", "displayed": made.size == "displayed", "limit_order": made.order == "limit",
          "offset": made.limit_offset_bps / 10_000, "life": made.order_life_ns, "latency": made.latency_ns,
          "power": made.queue_power, "depth_traded": setting(made.depth_traded), "impact": made.impact_bps / 10_000,
          "lot": setting(made.lot), "position": setting(made.max_position), "gross": setting(made.max_gross),
          "share": setting(made.max_concentration), "share_from": setting(made.concentration_from),
          "day_loss": setting(made.max_day_loss), "reduce": setting(made.reduce_drawdown),
          "halt": setting(made.halt_drawdown), "cvar": made.cvar_limit, "cash": setting(made.initial_cash),
          "taker": setting(made.fee_bps / 10_000), "maker": setting(made.maker_fee_bps / 10_000),
          "mark_ns": made.mark_every_ns, "bar_ns": made.bar_ns}
    for name, value in of.items():
        record[name] = value
    return record


@numba.njit(cache=True)
def _cvar(symbols, past, moments, slots, slot, target, open_orders):
    """CVaR over one bar, quote currency, with a target in one slot and the positions of the others, or what their open
    orders make of them; 0 until WARM_BARS are known."""
    values = np.zeros(slots)
    for k in range(slots):
        s = symbols[k]
        held = s.position + s.rest if open_orders else s.position
        values[k] = plain(times(target if k == slot else held, s.mark))
    _, cvar, bars = joint.joint_cvar(past, moments, values, TAIL)
    return max(0.0, cvar) if bars >= WARM_BARS else 0.0


@numba.njit(cache=True)
def _bar(symbols, a, past, moments, slots, slot, time, mid):
    """Take a tick into the joint returns; where it opens a bar, the account's CVaR is that of its positions now."""
    before = moments.bar
    joint.update(past[slot], moments, time, mid)
    if moments.bar != before:
        held = symbols[slot].position
        a.cvar = _cvar(symbols, past, moments, slots, slot, held, False) if a.gross > 0 else 0.0


@numba.njit(cache=True)
def _mark(s, a, mark):
    """Take a tick's mid as its symbol's mark; False where it leaves the range: the last mark stays, and trading halts
    if anything hangs on it."""
    if revalue(s, a, mark, s.rest):
        return True
    if a.halted == NONE and (s.position != 0 or s.open):
        a.halted = RANGE
    return False


@numba.njit(cache=True)
def _end(s, a, how, out):
    """End the symbol's open order."""
    out.ended, out.ended_intent, out.ended_as = s.order, s.intent, how
    s.open = s.rest = 0
    revalue(s, a, s.mark, 0)


@numba.njit(cache=True)
def _send(s, a, quantity, price, ts, intent, alpha, rule):
    """Put an order under way; its commitment counts from now on."""
    a.orders += 1
    s.open, s.rest, s.limit, s.due, s.sent = 1, quantity, price, ts + rule.latency, ts
    s.expires = s.due + rule.life if rule.life > 0 else 0
    s.sent_mid, s.order, s.intent, s.alpha = s.mark, a.orders, intent, alpha
    s.parts, s.watch, s.rested, s.ahead, s.seen = 0, a.left, 0, -1, -1
    revalue(s, a, s.mark, quantity)


@numba.njit(cache=True)
def _fill(s, a, quote, limit, row, out, fill):
    """Fill what the quote has for the symbol's open order; the number of fills, 0 or 1."""
    quantity, price, rested = match(s, quote, limit)
    if quantity == 0 and s.rest != 0:
        return 0
    done, fee, realized = book(s, a, quantity, price, limit.maker if rested else limit.taker)
    if not done:
        a.halted = RANGE if a.halted == NONE else a.halted
        _end(s, a, OUT_OF_RANGE, out)
        return 0
    s.rest -= quantity
    s.parts += 1
    quote.taken_ask += max(quantity, 0)
    quote.taken_bid += max(-quantity, 0)
    a.fills += 1
    fill.row, fill.quantity, fill.price, fill.fee, fill.rested = row, quantity, price, fee, rested
    fill.order, fill.intent, fill.sent, fill.part, fill.remaining = s.order, s.intent, s.sent, s.parts, abs(s.rest)
    fill.decision_mid, fill.alpha = s.sent_mid, s.alpha
    fill.position, fill.cash, fill.realized = s.position, a.cash, realized
    s.open = s.rest != 0
    revalue(s, a, s.mark, s.rest)
    return 1


@numba.njit(cache=True)
def _under_way(s, a, quote, limit, ts, row, out, fill):
    """The symbol's open order at this tick: ended, filled or left; the number of fills."""
    if (a.state != ACTIVE or s.watch != a.left) and not reduces(s.position, s.position + s.rest):
        _end(s, a, NOT_REDUCING, out)
    elif s.expires > 0 and ts >= s.expires:
        _end(s, a, EXPIRED, out)
    elif ts >= s.due:
        return _fill(s, a, quote, limit, row, out, fill)
    return 0


@numba.njit(cache=True)
def _settled(a, limit):
    """Peak and trading state behind whatever the tick did."""
    equity = a.cash + a.value
    a.peak = max(a.peak, equity)
    judge(a, limit, equity)


@numba.njit(cache=True)
def _report(s, a, row, m):
    """One row of equity."""
    equity = a.cash + a.value
    m.row, m.mid, m.position, m.symbol_pnl = row, s.mark, s.position, s.cash_flow + s.value
    m.cash, m.equity, m.peak_equity, m.gross, m.net = a.cash, equity, a.peak, a.gross, a.value
    m.drawdown = 1.0 - plain(equity) / plain(a.peak) if a.peak > 0 else 0.0
    m.account_cvar_975, m.state, m.cause, m.orders, m.fills = a.cvar, a.state, a.cause, a.orders, a.fills


@numba.njit(cache=True)
def _kernel(symbols, shared, pasts, moments, slots, slot, ts, bid, ask, bid_size, ask_size, mid, trade_price,
            trade_size, trade_side, orders, intent, intent_id, target, alpha, limits, quotes, fills, decisions, marks):
    limit, a, quote, moment = limits[0], shared[0], quotes[0], moments[0]
    filled = marked = 0
    if a.started == 0:
        a.started, a.cash, a.peak, a.day_equity = 1, limit.cash, limit.cash, limit.cash
    for row in range(slot.shape[0]):
        s, out = symbols[slot[row]], decisions[row]
        before, out.failed, out.target, out.command = filled, -1, NULL_LONG, orders[row]
        day(a, ts[row], a.cash + a.value)
        if orders[row]:
            command(a, orders[row], a.cash + a.value)
        quote.bid, quote.ask, quote.bid_size, quote.ask_size = bid[row], ask[row], bid_size[row], ask_size[row]
        quote.mark, quote.taken_bid, quote.taken_ask = units(mid[row]), 0, 0
        new_trade(s, trade_price[row], trade_size[row], trade_side[row], quote)
        priced = _mark(s, a, quote.mark)
        if priced:
            _bar(symbols, a, pasts, moment, slots, slot[row], ts[row] // limit.bar_ns, mid[row])
        judge(a, limit, a.cash + a.value)
        if s.open and priced:
            filled += _under_way(s, a, quote, limit, ts[row], row, out, fills[filled])
        _settled(a, limit)
        out.equity = a.cash + a.value
        if intent[row] > 0:
            out.target = goal(target[row], mid[row], limit.lot)
            hasty, cvar = limit.latency == 0 and not limit.limit_order, 0.0
            if limit.cvar < np.inf and priced and abs(out.target) <= MOST:
                cvar = _cvar(symbols, pasts, moment, slots, slot[row], out.target, True)
            send = check(s, a, limit, out.target, priced, hasty, cvar, out)
            if s.open and (send or out.failed == REACHED):
                _end(s, a, REPLACED if send else AT_TARGET, out)
            if send:
                out.quantity = out.target - s.position
                out.limit_price = limit_price(out.quantity > 0, bid[row], ask[row], limit)
                _send(s, a, out.quantity, out.limit_price, ts[row], intent_id[row], alpha[row], limit)
                out.order = s.order
                if limit.latency == 0:
                    filled += _fill(s, a, quote, limit, row, out, fills[filled])
                    _settled(a, limit)
        out.position, out.symbol_pnl, out.state, out.cause = s.position, s.cash_flow + s.value, a.state, a.cause
        mark_bar = ts[row] // limit.mark_ns if limit.mark_ns > 0 else 0
        if limit.mark_ns == 0 or mark_bar != a.mark_bar or filled > before:
            a.mark_bar = mark_bar
            _report(s, a, row, marks[marked])
            marked += 1
    return filled, marked


def _told(columns: Columns, name: str, missing: float) -> np.ndarray[Any, Any]:
    """A column that not every run has."""
    found = columns.get(name)
    return np.full(len(columns["slot"]), missing) if found is None else found


def step(state: StageState, columns: Columns, limits: np.ndarray[Any, Any]) -> Columns:
    """Add `decisions`, one for each tick, and `fills` and `marks`, whose `row` points at the tick that caused them.

    `last_price`, `last_size` and `last_side` (as tick.avsc has them) and `command` (udfs/gates.py) may be missing.
    """
    rows = len(columns["slot"])
    fills, decisions, marks = np.zeros(2 * rows, FILL), np.zeros(rows, DECISION), np.zeros(rows, MARK)
    side = _told(columns, "last_side", 0).astype(np.int64)
    filled, marked = _kernel(
        state.symbols, state.shared, state.symbols["joint"], state.shared["joint"], columns["slots"], columns["slot"],
        columns["ts_order"], columns["bid"], columns["ask"],
        columns["bid_size"], columns["ask_size"], columns["mid"], _told(columns, "last_price", np.nan),
        _told(columns, "last_size", np.nan), side, _told(columns, "command", 0).astype(np.int64), columns["intent"],
        columns["intent_id"], columns["target_notional"], columns["top_alpha"], limits, np.zeros(1, QUOTE), fills,
        decisions, marks)
    return columns | {"fills": fills[:filled], "decisions": decisions, "marks": marks[:marked]}


def stage(profile: Profile) -> Stage:
    """The fills stage of a profile."""
    return Stage("fills", partial(step, limits=limits(profile.fills)), SYMBOL, SHARED)
