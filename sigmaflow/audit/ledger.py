"""Orders, fills and equity of one account, replayed in its order from decisions, fills and marks.

Amounts are whole units, so every one of them must be met to the unit: cash, positions and profit follow from the fills,
equity from cash and the positions at their marks. An order is filled in parts that add up to no more than itself, while
it is open; a decision that ends it says how. What is in fills.v1 and equity.v1 for a tick is sealed by its decision's
`effects`.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from sigmaflow.audit.book import MOST, UNIT, Book, times, units
from sigmaflow.audit.decisions import LEDGER, SIZING, Decisions, Name
from sigmaflow.audit.decode import Message, Row
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.hashes import START, fnv1a, mix, signed
from sigmaflow.audit.inputs import Inputs
from sigmaflow.audit.log import EQUITY, FILLS
from sigmaflow.audit.sequence import InOrder, same_cause

RELATIVE = 1e-9
"""Tolerance of the one figure that is a ratio to a setting which no topic has."""

OPEN, FILLED = "open", "filled"
NONE, REPLACED, AT_TARGET = "NONE", "REPLACED", "AT_TARGET"
HALTED = "HALTED"
STATES = ("ACTIVE", "REDUCING", HALTED)
INITIAL_CASH = 1_000_000 * UNIT
"""Of the profiles. Needed only where the first decision and the first mark are both gone."""


@dataclass
class Order:
    """An order that a decision sent. `rest` is what is left of its signed quantity, `parts` its fills so far."""

    decision: Message
    rest: int
    mark: int
    state: str = OPEN
    parts: int = 0

    @property
    def limit(self) -> int | None:
        """Its price, None for a market order."""
        found: int | None = self.decision.row["order_limit"]
        return found


@dataclass
class Account:
    """What the ledger of one account is replayed from."""

    decisions: Decisions
    fills: InOrder
    equity: InOrder
    inputs: Inputs


class Ledger:
    """The replay of one account."""

    def __init__(self, account: Account, findings: Findings) -> None:
        self._decisions, self._fills, self._equity = account.decisions, account.fills, account.equity
        self._inputs, self._findings = account.inputs, findings
        cash = _initial_cash(account)
        self._book = Book(cash, cash)
        self._orders: dict[int, Order] = {}
        self._open: dict[Name, Order] = {}
        self._latencies = _latencies(account)
        self._moved = _moved(account)
        self._share_from: dict[str, float] = {}
        self._limited = _limited(account)

    def check(self, complete: bool) -> int:
        """Replay everything. Number of fills and marks behind the last decision; with `complete` these are faults."""
        for decision in self._decisions.messages:
            self._step(decision)
        return self._unclaimed(complete)

    def _unclaimed(self, complete: bool) -> int:
        known = {m.row["account_seq"] for m in self._decisions.messages}
        pending = 0
        for m in self._fills.messages + self._equity.messages:
            seq = m.row["account_seq"]
            if seq > self._decisions.last and not complete:
                pending += 1
            elif seq not in known:
                self._findings.differs(m, "a decision has its account_seq", seq, "that of a decision", Weight.ABSENCE)
        return pending

    def _step(self, decision: Message) -> None:
        row = decision.row
        fills, marks = self._fills.at(row["account_seq"]), self._equity.at(row["account_seq"])
        self._command(row)
        priced = self._book.mark(_name(row), row["mid"])
        before = self._findings.blamed(FILLS), self._findings.blamed(EQUITY)
        own = [m for m in fills if m.row["order_id"] == row["order_id"]]
        earlier = [m for m in fills if m not in own]
        self._fill_all(earlier, decision)
        if marks and not own:
            self._lost_fill(marks[0])
        ended = self._ends(decision)
        self._due(decision, priced and not earlier and not ended)
        self._book.peak = max(self._book.peak, row["equity"])
        self._judge(decision)
        self._fill_all(own, decision)
        self._ends_own(decision)
        self._due(decision, priced and not fills and not ended)
        self._after(decision)
        self._mark(decision, fills, marks)
        blamed = self._findings.blamed(FILLS) > before[0], self._findings.blamed(EQUITY) > before[1]
        self._effects(decision, () if blamed[0] else fills, () if blamed[1] else marks,
                      Weight.ABSENCE if any(blamed) else Weight.CONTRADICTION)

    def _command(self, row: Row) -> None:
        """An operator's word that ends a halt, or resumes, counts the drawdown anew."""
        if row["command"] == "RESUME" or (row["command"] == "REDUCE" and self._book.state == HALTED):
            self._book.peak = self._book.equity

    # ------------------------------------------------------------------------------------------------------- orders

    def _judge(self, decision: Message) -> None:
        row, equal = decision.row, self._findings.equal
        equal(decision, "equity is cash + positions x mark", row["equity"], self._book.equity)
        equal(decision, "a target is there where there is an intent", row["target"] is None, row["intent_id"] is None)
        if row["target"] is not None and len(row["gates"]) == len(SIZING + LEDGER):
            self._gates(decision)
        if row["order_id"] is None:
            equal(decision, "order_quantity is 0 where none is sent", row["order_quantity"], 0)
            equal(decision, "order_limit is that of an order", row["order_limit"], None)
        else:
            self._send(decision)

    def _ends(self, decision: Message) -> bool:
        """An open order that the tick ended."""
        row, name = decision.row, _name(decision.row)
        ended, order = row["ended_order_id"], self._open.get(name)
        self._findings.equal(decision, "an end says how", row["ended_as"] != NONE, ended is not None)
        if row["order_id"] is not None and ended != row["order_id"]:
            self._findings.equal(decision, "an order replaces the open one", ended,
                                 order.decision.row["order_id"] if order else None)
        if row["ended_as"] == REPLACED:
            self._findings.equal(decision, "an order is replaced where another is sent",
                                 row["order_id"] not in (None, ended), True)
        if row["ended_as"] == AT_TARGET:
            self._findings.equal(decision, "an intent that is met ends the order", row["failed_gate"], "quantity")
        if ended is None or ended == row["order_id"]:
            return False
        if order is None or order.decision.row["order_id"] != ended:
            self._findings.differs(decision, "an order that ends is the open one of its symbol", ended,
                                   order.decision.row["order_id"] if order else None)
        else:
            self._close_order(name, row["ended_as"])
        return True

    def _ends_own(self, decision: Message) -> None:
        """An order that ends on the tick that sent it."""
        row, name = decision.row, _name(decision.row)
        if row["order_id"] is not None and row["ended_order_id"] == row["order_id"] and name in self._open:
            self._close_order(name, row["ended_as"])

    def _gates(self, decision: Message) -> None:
        """Recompute the checks of the ledger: no limit is exceeded by an order that does not reduce."""
        row, book, name, equal = decision.row, self._book, _name(decision.row), self._findings.equal
        gates = {gate["gate"]: gate for gate in row["gates"][len(SIZING):]}
        held, target = book.positions[name], row["target"]
        value = abs(times(target, book.marks[name])) if units(row["mid"]) <= MOST >= abs(target) else MOST + 1
        gross = min(MOST + 1, book.gross_with(name, value))
        equal(decision, "the target is in lots", target,
              _lots(row["target_notional"], row["mid"], gates["quantity"]["limit"]))
        for gate, wanted in (("reducing", abs(target)), ("range", gross), ("position", value), ("gross", gross),
                             ("quantity", abs(target - held))):
            equal(decision, f"value of {gate}", gates[gate]["value"], wanted / UNIT)
        equal(decision, "limit of reducing", gates["reducing"]["limit"], abs(held) / UNIT)
        if not any(m.row["order_id"] == row["order_id"] for m in self._fills.at(row["account_seq"])):
            equal(decision, "value of halt", gates["halt"]["value"], STATES.index(row["state"]))
        self._concentration(decision, gates["concentration"]["value"], value, gross)
        for gate, passed in _passing(gates, held, target, value, gross).items():
            equal(decision, f"{gate} passes by its rule", gates[gate]["passed"], passed)

    def _concentration(self, decision: Message, found: float, value: int, gross: int) -> None:
        """The share of gross, or of the profile's least gross, which is what the others say it is."""
        share = value / UNIT / (gross / UNIT) if gross else 0.0
        if found == share or not value:
            self._findings.equal(decision, "value of concentration", found, share)
            return
        base = self._share_from.setdefault(decision.row["config_digest"], value / UNIT / found if found else 0.0)
        if base < gross / UNIT or not math.isclose(found, value / UNIT / base, rel_tol=RELATIVE):
            self._findings.differs(decision, "value of concentration", found, share)

    def _send(self, decision: Message) -> None:
        row, book, name = decision.row, self._book, _name(decision.row)
        book.orders += 1
        expected = mix(row["intent_id"] or 0, book.orders)
        self._findings.equal(decision, "order_id", row["order_id"], expected)
        self._findings.equal(decision, "order_quantity is target less position", row["order_quantity"],
                             (row["target"] or 0) - book.positions[name])
        self._findings.equal(decision, "a profile has one kind of order", row["order_limit"] is not None,
                             row["config_digest"] in self._limited)
        if name in self._open:
            self._close_order(name, REPLACED)
        self._open[name] = self._orders[row["order_id"]] = Order(decision, row["order_quantity"], book.marks[name])
        book.open(name, row["order_quantity"])

    def _due(self, decision: Message, may_fill: bool) -> None:
        """A market order that is as old as others were when they were filled gets what is displayed at every tick."""
        order = self._open.get(_name(decision.row))
        if order is None or order.limit is not None or not may_fill:
            return
        latency = self._latencies.get(order.decision.row["config_digest"])
        if latency is not None and decision.row["ts_order"] - order.decision.row["ts_order"] >= latency:
            self._findings.lost(self._fills.before(decision.row["account_seq"]), "an order that is due is filled",
                                f"no fill at {decision.position}", f"one of {order.decision.position} after this")
            self._close_order(_name(decision.row), "LOST")

    def _close_order(self, name: Name, how: str) -> None:
        self._open.pop(name).state = how.lower()
        self._book.open(name, 0)

    # -------------------------------------------------------------------------------------------------------- fills

    def _fill_all(self, fills: Sequence[Message], decision: Message) -> None:
        for fill in fills:
            same_cause(fill, decision, self._findings)
            order = self._orders.get(fill.row["order_id"])
            if order is None:
                self._findings.differs(fill, "a decision sent the order", fill.row["order_id"], "the id of an order")
            else:
                self._of_order(fill, order)
                self._may_fill(fill, order, decision.row["command"] != NONE)
                self._part(fill, order)
            self._book_fill(fill, decision, order)

    def _lost_fill(self, mark: Message) -> None:
        """A mark that counts a fill more, and has its cash, says that the fill is gone and not the mark wrong."""
        row, book = mark.row, self._book
        if row["fills"] > book.fills and row["cash"] != book.cash:
            self._findings.lost(self._fills.before(row["account_seq"]), "every fill is in the ledger",
                                f"{book.fills} fills before {mark.position}", row["fills"], Weight.CONTRADICTION)
            book.fills = row["fills"]

    def _may_fill(self, fill: Message, order: Order, commanded: bool) -> None:
        """While an account is halted no fill adds to exposure."""
        held = self._book.positions[_name(order.decision.row)]
        reduces = held * order.rest < 0 and abs(order.rest) <= abs(held)
        if self._book.state == HALTED and not commanded and not reduces:
            self._findings.differs(fill, "a halted account fills only what reduces", order.rest, f"against {held}")

    def _part(self, fill: Message, order: Order) -> None:
        """The parts of an order add up to no more than the order, while it is open."""
        row, name = fill.row, _name(order.decision.row)
        if order.state != OPEN:
            self._findings.doubled(fill, "an order is filled while it is open", order.state, OPEN, Weight.CONTRADICTION)
        self._findings.equal(fill, "part is the number of the fill", row["part"], order.parts + 1)
        self._findings.equal(fill, "remaining is what was left less the fill", row["remaining"],
                             abs(order.rest) - row["quantity"])
        if row["remaining"] < 0:
            self._findings.differs(fill, "filled is never above ordered", row["remaining"], "at least 0")
        order.parts = row["part"]
        order.rest = row["remaining"] if order.rest > 0 else -row["remaining"]
        if self._open.get(name) is order:
            self._book.open(name, order.rest)
            if not order.rest:
                self._close_order(name, FILLED)
        elif not order.rest:
            order.state = FILLED

    def _of_order(self, fill: Message, order: Order) -> None:
        row, sent, equal = fill.row, order.decision.row, self._findings.equal
        equal(fill, "side is that of the order", row["side"], "SELL" if sent["order_quantity"] < 0 else "BUY")
        equal(fill, "decision_mid is the mark at the order", row["decision_mid"], order.mark)
        for name, of_decision in (("intent_id", "intent_id"), ("ts_order_sent", "ts_order"),
                                  ("top_alpha", "top_alpha"), ("venue", "venue"), ("symbol", "symbol")):
            equal(fill, f"{name} is that of the order", row[name], sent[of_decision])
        equal(fill, "fill_id", row["fill_id"], mix(row["order_id"], row["part"]))

    def _book_fill(self, fill: Message, decision: Message, order: Order | None) -> None:
        row, book, name = fill.row, self._book, _name(decision.row)
        quantity = -row["quantity"] if row["side"] == "SELL" else row["quantity"]
        self._price(fill, decision, order, quantity)
        realized = book.trade(name, quantity, row["price"], row["fee"])
        self._findings.equal(fill, "cash is that before less quantity x price and fee", row["cash"], book.cash)
        self._findings.equal(fill, "position is that before and the quantity", row["position"], book.positions[name])
        self._findings.equal(fill, "realized_pnl is against cost", row["realized_pnl"], realized)
        book.cash = row["cash"]
        book.hold(name, row["position"])

    def _price(self, fill: Message, decision: Message, order: Order | None, quantity: int) -> None:
        """What takes is filled at mid, at the far side or, with impact, beyond it; what rested at its own limit."""
        row, tick = fill.row, self._inputs.ticks.get((decision.row["partition"], decision.row["offset"]))
        limit = order.limit if order else None
        if row["liquidity"] == "MAKER":
            self._findings.equal(fill, "the price of what rested is its limit", row["price"], limit)
        elif tick:
            sign = 1 if quantity >= 0 else -1
            far = units(tick.row["ask"] if sign > 0 else tick.row["bid"])
            moved = decision.row["config_digest"] in self._moved and sign * (row["price"] - far) >= 0
            allowed = (self._book.marks[_name(decision.row)], far, limit if limit else far)
            if not moved and row["price"] not in allowed:
                self._findings.differs(fill, "the price is mid or the far side", row["price"], allowed)
        if limit and quantity and (row["price"] - limit) * quantity > 0:
            self._findings.differs(fill, "the price is not worse than the limit", row["price"], limit)
        if row["liquidity"] != "MAKER" and row["fee"] < 0:
            self._findings.differs(fill, "what takes pays a fee", row["fee"], "at least 0")

    # -------------------------------------------------------------------------------------------------------- marks

    def _after(self, decision: Message) -> None:
        """What the decision says of its symbol and of the account after the tick."""
        row, name, equal = decision.row, _name(decision.row), self._findings.equal
        equal(decision, "position is that of the last fill", row["position"], self._book.positions[name])
        equal(decision, "symbol_pnl is cash flow and position", row["symbol_pnl"],
              self._book.flows[name] + self._book.worth(name))
        equal(decision, "a state that is not ACTIVE has a cause", row["state_cause"] == NONE, row["state"] == STATES[0])
        if row["command"] == "HALT" or (self._book.state == HALTED and row["command"] == NONE):
            equal(decision, "an account stays halted until a command", row["state"], HALTED)
        self._book.state = row["state"]

    def _mark(self, decision: Message, fills: Sequence[Message], marks: Sequence[Message]) -> None:
        if fills and not marks:
            self._findings.lost(self._equity.before(decision.row["account_seq"]), "a fill is followed by a mark",
                                f"none for {fills[0].position}", "one after this")
        for mark in marks:
            same_cause(mark, decision, self._findings)
            self._counted(mark)
            self._holdings(mark)
            self._sums(mark)
            self._quote(mark, decision)

    def _counted(self, mark: Message) -> None:
        row, book = mark.row, self._book
        self._findings.equal(mark, "fills so far", row["fills"], book.fills)
        self._findings.equal(mark, "orders so far", row["orders"], book.orders)
        book.fills, book.orders = row["fills"], row["orders"]

    def _holdings(self, mark: Message) -> None:
        row, book, name = mark.row, self._book, _name(mark.row)
        pnl = book.flows[name] + book.worth(name)
        self._findings.equal(mark, "mid is the mark", row["mid"], book.marks[name])
        self._findings.equal(mark, "cash is that of the last fill", row["cash"], book.cash)
        self._findings.equal(mark, "position is that of the last fill", row["position"], book.positions[name])
        self._findings.equal(mark, "symbol_pnl is cash flow and position", row["symbol_pnl"], pnl)
        book.cash = row["cash"]
        book.hold(name, row["position"])
        if row["symbol_pnl"] != pnl:
            book.flows[name] = row["symbol_pnl"] - book.worth(name)

    def _sums(self, mark: Message) -> None:
        row, book, equal = mark.row, self._book, self._findings.equal
        equal(mark, "equity is cash + positions x mark", row["equity"], book.equity)
        equal(mark, "gross is the sum of absolute values", row["gross"], book.gross)
        equal(mark, "net is the sum of values", row["net"], book.value)
        book.peak = max(book.peak, row["equity"])
        equal(mark, "peak_equity is the highest so far", row["peak_equity"], book.peak)
        peak = row["peak_equity"] / UNIT
        drawdown = 1 - row["equity"] / UNIT / peak if peak > 0 else 0.0
        equal(mark, "drawdown is 1 - equity / peak", row["drawdown"], drawdown)
        book.peak = row["peak_equity"]

    def _quote(self, mark: Message, decision: Message) -> None:
        for name in ("state", "state_cause"):
            self._findings.equal(mark, f"{name} is that of the decision", mark.row[name], decision.row[name])
        tick = self._inputs.ticks.get((decision.row["partition"], decision.row["offset"]))
        if tick:
            self._findings.equal(mark, "spread is that of the tick", mark.row["spread"],
                                 tick.row["ask"] - tick.row["bid"])
        if not mark.row["account_cvar_975"] >= 0:
            self._findings.differs(mark, "account_cvar_975 is a loss", mark.row["account_cvar_975"], "at least 0")

    def _effects(self, decision: Message, fills: Sequence[Message], marks: Sequence[Message], weight: Weight) -> None:
        """The seal over the tick's fills and marks. `fills` and `marks` are those that nothing was found in yet."""
        seq = decision.row["account_seq"]
        held = *self._fills.at(seq), *self._equity.at(seq)
        found = signed(reduce(lambda sealed, m: fnv1a(m.body, sealed), held, START))
        if found == decision.row["effects"] or seq in self._decisions.damaged:
            return
        for m in (*marks, *fills):
            self._findings.differs(m, "effects of the decision seal fills and marks", found, decision.row["effects"],
                                   weight)
        if not self._equity.at(seq):
            self._findings.lost(self._equity.before(seq), "every mark that a decision seals is there",
                                f"none for {decision.position}", "one after this")


def _name(row: Row) -> Name:
    return row["venue"], row["symbol"]


def _lots(notional: float, mid: float, lot: float) -> int:
    """The position worth a value, rounded to whole lots; one unit above the range where it is beyond."""
    try:
        lots, size = math.floor(notional / (mid * lot) + 0.5), units(lot)
    except (ValueError, OverflowError, ZeroDivisionError):
        return MOST + 1 if notional > 0 else -MOST - 1
    return lots * size if abs(float(lots)) * size <= MOST else MOST + 1 if notional > 0 else -MOST - 1


def _passing(gates: dict[str, Row], held: int, target: int, value: int, gross: int) -> dict[str, bool]:
    """What each check of the ledger says by its rule. Latency decides on orders of nothing, and is no field.

    The share of one symbol is compared as a ratio; where that is the limit, to a float's rounding, either may be right.
    """
    reduces = abs(target) <= abs(held) and target * held >= 0
    amounts = {"position": value, "gross": gross}
    bounded = {name: reduces or amount <= units(gates[name]["limit"]) for name, amount in amounts.items()}
    share, cvar = gates["concentration"], gates["account_cvar"]
    level = math.isclose(share["value"], share["limit"], rel_tol=RELATIVE)
    return bounded | {
        "halt": gates["halt"]["value"] != STATES.index(HALTED), "reducing": gates["halt"]["value"] == 0 or reduces,
        "range": value <= MOST and (reduces or gross <= MOST),
        "account_cvar": reduces or cvar["value"] <= cvar["limit"],
        "concentration": reduces or (share["passed"] if level else share["value"] <= share["limit"]),
        "quantity": gates["quantity"]["passed"] or target != held}


def _initial_cash(account: Account) -> int:
    """Cash before the first fill."""
    first, rows = account.decisions.messages[:1], account.equity.messages[:1]
    if first and first[0].row["account_seq"] == 1 and 1 not in account.decisions.damaged:
        return int(first[0].row["equity"])
    return int(rows[0].row["cash"]) if rows and not rows[0].row["fills"] else INITIAL_CASH


def _limited(account: Account) -> set[str]:
    """Profiles whose orders are limit orders: most of them."""
    said: dict[str, Counter[bool]] = {}
    for row in (m.row for m in account.decisions.messages):
        if row["order_id"] is not None:
            said.setdefault(row["config_digest"], Counter())[row["order_limit"] is not None] += 1
    return {digest for digest, counts in said.items() if counts[True] > counts[False]}


def _moved(account: Account) -> set[str]:
    """Profiles with impact: most of their fills that take are neither at mid nor at the far side."""
    decided = {m.row["account_seq"]: m.row for m in account.decisions.messages}
    said: dict[str, Counter[bool]] = {}
    for fill in account.fills.messages:
        at = decided.get(fill.row["account_seq"])
        tick = account.inputs.ticks.get((at["partition"], at["offset"])) if at else None
        if at and tick and fill.row["liquidity"] == "TAKER":
            plain = {units(at["mid"]), units(tick.row["ask"]), units(tick.row["bid"])}
            said.setdefault(at["config_digest"], Counter())[fill.row["price"] not in plain] += 1
    return {digest for digest, counts in said.items() if counts[True] > counts[False]}


def _latencies(account: Account) -> dict[str, int]:
    """Least event time, ns, from an order to its fill, by the profile that sent it."""
    decided = {m.row["account_seq"]: m.row for m in account.decisions.messages}
    sent = {row["order_id"]: row for row in decided.values() if row["order_id"] is not None}
    found: dict[str, int] = {}
    for fill in account.fills.messages:
        order, at = sent.get(fill.row["order_id"]), decided.get(fill.row["account_seq"])
        if order and at and at["tick_id"] == fill.row["tick_id"] and order["account_seq"] <= at["account_seq"]:
            lag = at["ts_order"] - order["ts_order"]
            found[order["config_digest"]] = min(lag, found.get(order["config_digest"], lag))
    return found
