"""Orders, fills and equity of one account, replayed in its order from decisions, fills and marks.

An order is filled once, whole, on the first tick of its instrument that is late enough, unless a newer one replaces it
or a target that the position already has cancels it.
Cash and positions follow from the fills, bit for bit; sums over instruments are compared with a tolerance, since the
order of adding is the ledger's own. What is in fills.v1 and equity.v1 for a tick is sealed by its decision's `effects`.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from sigmaflow.audit.book import Book
from sigmaflow.audit.decisions import LEDGER, SIZING, Decisions, Name
from sigmaflow.audit.decode import Message, Row
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.hashes import START, fnv1a, mix, signed
from sigmaflow.audit.inputs import Inputs
from sigmaflow.audit.log import EQUITY, FILLS
from sigmaflow.audit.sequence import InOrder, same_cause

RELATIVE, ABSOLUTE = 1e-9, 1e-6
"""Tolerance of sums over instruments; the absolute part is in quote currency."""

REPLACED, CANCELLED, OPEN, FILLED = "replaced", "cancelled", "open", "filled"
HALTED = "HALTED"
STATES = ("ACTIVE", "REDUCING", HALTED)
INITIAL_CASH = 1_000_000.0
"""Quote currency; of the profiles. Needed only where the first decision and the first mark are both gone."""


@dataclass
class Order:
    """An order that a decision sent."""

    decision: Message
    state: str = OPEN

    @property
    def quantity(self) -> float:
        """Signed quantity, base units."""
        return float(self.decision.row["order_quantity"])


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
        self._book.mark(_name(row), row["mid"])
        before = self._findings.blamed(FILLS), self._findings.blamed(EQUITY)
        own = [m for m in fills if m.row["order_id"] == row["order_id"]]
        self._fill_all([m for m in fills if m not in own], decision)
        if marks and not own:
            self._lost_fill(marks[0])
        self._due(decision)
        self._book.peak = max(self._book.peak, row["equity"])
        self._judge(decision)
        self._fill_all(own, decision)
        self._due(decision)
        self._after(decision)
        self._mark(decision, fills, marks)
        blamed = self._findings.blamed(FILLS) > before[0], self._findings.blamed(EQUITY) > before[1]
        self._effects(decision, () if blamed[0] else fills, () if blamed[1] else marks,
                      Weight.ABSENCE if any(blamed) else Weight.CONTRADICTION)

    # ------------------------------------------------------------------------------------------------------- orders

    def _judge(self, decision: Message) -> None:
        row, equal = decision.row, self._findings.equal
        self._close(decision, "equity is cash + positions x mark", row["equity"], self._book.equity)
        equal(decision, "a target is there where there is an intent", row["target"] is None, row["intent_id"] is None)
        if row["target"] is not None and len(row["gates"]) == len(SIZING + LEDGER):
            self._gates(decision)
        if row["order_id"] is None:
            equal(decision, "order_quantity is 0 where none is sent", row["order_quantity"], 0.0)
            if row["failed_gate"] == "quantity" and _name(row) in self._open:
                self._open[_name(row)].state = CANCELLED
                self._close_order(_name(row))
        else:
            self._send(decision)

    def _gates(self, decision: Message) -> None:
        """Recompute the checks of the ledger: no limit is exceeded by an order that does not reduce."""
        row, book, name = decision.row, self._book, _name(decision.row)
        gates = {gate["gate"]: gate for gate in row["gates"][len(SIZING):]}
        held, target = book.positions[name], row["target"]
        reduces = abs(target) <= abs(held) and target * held >= 0
        self._findings.equal(decision, "the target is in lots", target,
                             _lots(row["target_notional"], row["mid"], gates["quantity"]["limit"]))
        self._findings.equal(decision, "value of reducing", gates["reducing"]["value"], abs(target))
        self._findings.equal(decision, "limit of reducing", gates["reducing"]["limit"], abs(held))
        self._findings.equal(decision, "value of position", gates["position"]["value"], abs(target * row["mid"]))
        self._close(decision, "value of gross", gates["gross"]["value"], book.gross_with(name, target))
        self._findings.equal(decision, "value of quantity", gates["quantity"]["value"], abs(target - held))
        for gate, passed in _passing(gates, reduces).items():
            self._findings.equal(decision, f"{gate} passes by its rule", gates[gate]["passed"], passed)

    def _send(self, decision: Message) -> None:
        row, book, name = decision.row, self._book, _name(decision.row)
        book.orders += 1
        expected = mix(row["intent_id"] or 0, book.orders)
        self._findings.equal(decision, "order_id", row["order_id"], expected)
        self._findings.equal(decision, "order_quantity is target less position", row["order_quantity"],
                             (row["target"] or 0.0) - book.positions[name])
        if name in self._open:
            self._open[name].state = REPLACED
        self._open[name] = self._orders[row["order_id"]] = Order(decision)
        book.open(name, row["order_quantity"])

    def _due(self, decision: Message) -> None:
        """An order still open is not older than others were when they were filled."""
        order = self._open.get(_name(decision.row))
        if order is None:
            return
        latency = self._latencies.get(order.decision.row["config_digest"])
        if latency is not None and decision.row["ts_order"] - order.decision.row["ts_order"] >= latency:
            self._findings.lost(self._fills.before(decision.row["account_seq"]), "an order that is due is filled",
                                f"no fill at {decision.position}", f"one of {order.decision.position} after this")
            self._close_order(_name(decision.row))

    def _close_order(self, name: Name) -> None:
        del self._open[name]
        self._book.open(name, 0.0)

    # -------------------------------------------------------------------------------------------------------- fills

    def _fill_all(self, fills: Sequence[Message], decision: Message) -> None:
        for fill in fills:
            same_cause(fill, decision, self._findings)
            order = self._orders.get(fill.row["order_id"])
            if order is None:
                self._findings.differs(fill, "a decision sent the order", fill.row["order_id"], "the id of an order")
            else:
                self._once(fill, order)
                self._of_order(fill, order)
            self._book_fill(fill, decision)

    def _lost_fill(self, mark: Message) -> None:
        """A mark that counts a fill more, and has its cash, says that the fill is gone and not the mark wrong."""
        row, book = mark.row, self._book
        if row["fills"] > book.fills and row["cash"] != book.cash:
            self._findings.lost(self._fills.before(row["account_seq"]), "every fill is in the ledger",
                                f"{book.fills} fills before {mark.position}", row["fills"], Weight.CONTRADICTION)
            book.fills = row["fills"]

    def _once(self, fill: Message, order: Order) -> None:
        if order.state != OPEN:
            self._findings.doubled(fill, "an order is filled once, while it is open", order.state, OPEN,
                                   Weight.CONTRADICTION)
        order.state = FILLED
        name = _name(order.decision.row)
        if self._open.get(name) is order:
            self._close_order(name)

    def _of_order(self, fill: Message, order: Order) -> None:
        row, sent, equal = fill.row, order.decision.row, self._findings.equal
        equal(fill, "quantity is that of the order", row["quantity"], abs(order.quantity))
        equal(fill, "side is that of the order", row["side"], "SELL" if order.quantity < 0 else "BUY")
        for name, of_decision in (("intent_id", "intent_id"), ("ts_order_sent", "ts_order"), ("decision_mid", "mid"),
                                  ("top_alpha", "top_alpha"), ("venue", "venue"), ("symbol", "symbol")):
            equal(fill, f"{name} is that of the order", row[name], sent[of_decision])
        equal(fill, "fill_id", row["fill_id"], mix(row["order_id"], 1))

    def _book_fill(self, fill: Message, decision: Message) -> None:
        row, book, name = fill.row, self._book, _name(decision.row)
        quantity = -row["quantity"] if row["side"] == "SELL" else row["quantity"]
        self._price(fill, decision, quantity)
        realized = book.trade(name, quantity, row["price"], row["fee"])
        self._findings.equal(fill, "cash is that before less quantity x price and fee", row["cash"], book.cash)
        self._findings.equal(fill, "position is that before and the quantity", row["position"], book.positions[name])
        self._findings.equal(fill, "realized_pnl is against average cost", row["realized_pnl"], realized)
        book.cash = row["cash"]
        book.hold(name, row["position"])

    def _price(self, fill: Message, decision: Message, quantity: float) -> None:
        """Fills are at mid or across the spread."""
        tick = self._inputs.ticks.get((decision.row["partition"], decision.row["offset"]))
        if tick:
            allowed = (decision.row["mid"], tick.row["ask"] if quantity > 0 else tick.row["bid"])
            if fill.row["price"] not in allowed:
                self._findings.differs(fill, "the price is mid or the far side", fill.row["price"], allowed)
        if not fill.row["fee"] >= 0:
            self._findings.differs(fill, "the fee is not negative", fill.row["fee"], "at least 0")

    # -------------------------------------------------------------------------------------------------------- marks

    def _after(self, decision: Message) -> None:
        """What the decision says of its symbol after the tick."""
        row, name = decision.row, _name(decision.row)
        position = self._book.positions[name]
        self._findings.equal(decision, "position is that of the last fill", row["position"], position)
        self._findings.equal(decision, "symbol_pnl is cash flow and position", row["symbol_pnl"],
                             self._book.flows[name] + position * row["mid"])

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
        book.mids.setdefault(name, row["mid"])
        position, flow = book.positions[name], book.flows[name]
        self._findings.equal(mark, "cash is that of the last fill", row["cash"], book.cash)
        self._findings.equal(mark, "position is that of the last fill", row["position"], position)
        pnl = flow + position * row["mid"]
        self._findings.equal(mark, "symbol_pnl is cash flow and position", row["symbol_pnl"], pnl)
        book.cash = row["cash"]
        book.hold(name, row["position"])
        if row["symbol_pnl"] != pnl:
            book.flows[name] = row["symbol_pnl"] - row["position"] * row["mid"]

    def _sums(self, mark: Message) -> None:
        row, book = mark.row, self._book
        self._close(mark, "equity is cash + positions x mark", row["equity"], book.equity)
        self._close(mark, "gross is the sum of absolute values", row["gross"], book.gross)
        self._close(mark, "net is the sum of values", row["net"], book.value)
        book.peak = max(book.peak, row["equity"])
        self._findings.equal(mark, "peak_equity is the highest so far", row["peak_equity"], book.peak)
        drawdown = 1 - row["equity"] / row["peak_equity"] if row["peak_equity"] > 0 else 0.0
        self._findings.equal(mark, "drawdown is 1 - equity / peak", row["drawdown"], drawdown)
        if book.state == HALTED:
            self._findings.equal(mark, "an account stays halted", row["state"], HALTED)
        book.peak, book.state = row["peak_equity"], row["state"]

    def _quote(self, mark: Message, decision: Message) -> None:
        self._findings.equal(mark, "mid is that of the decision", mark.row["mid"], decision.row["mid"])
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

    def _close(self, message: Message, rule: str, found: float, expected: float) -> None:
        if not math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            self._findings.differs(message, rule, found, expected)


def _name(row: Row) -> Name:
    return row["venue"], row["symbol"]


def _lots(notional: float, mid: float, lot: float) -> float:
    """The position worth a value, rounded to lots; NaN where it has none."""
    try:
        return math.floor(notional / (mid * lot) + 0.5) * lot
    except (ValueError, OverflowError, ZeroDivisionError):
        return math.nan


def _passing(gates: dict[str, Row], reduces: bool) -> dict[str, bool]:
    """What each check of the ledger says by its rule. Latency decides on orders of nothing, and is no field."""
    state, quantity = gates["halt"]["value"], gates["quantity"]
    bounded = {name: reduces or gates[name]["value"] <= gates[name]["limit"]
               for name in ("position", "gross", "account_cvar")}
    return bounded | {"halt": state != STATES.index(HALTED), "reducing": state == 0 or reduces,
                      "quantity": quantity["passed"] or quantity["value"] != 0}


def _initial_cash(account: Account) -> float:
    """Cash before the first fill, quote currency."""
    first, rows = account.decisions.messages[:1], account.equity.messages[:1]
    if first and first[0].row["account_seq"] == 1 and 1 not in account.decisions.damaged:
        return float(first[0].row["equity"])
    return float(rows[0].row["cash"]) if rows and not rows[0].row["fills"] else INITIAL_CASH


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
