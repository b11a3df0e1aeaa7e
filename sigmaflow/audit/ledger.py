"""Orders, fills and equity of one account, replayed in its order from decisions, fills and marks.

Amounts are whole units, so every one of them must be met to the unit: cash, positions and profit follow from the fills,
equity from cash and the positions at their marks. An order is filled in parts that add up to no more than itself, while
it is open; a decision that ends it says how. What is in fills.v1 and equity.v1 for a tick is sealed by its decision's
`effects`.
"""
from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import reduce

from sigmaflow.audit import execution
from sigmaflow.audit.book import MOST, UNIT, Book, Name, times, units
from sigmaflow.audit.config import OVER, Config
from sigmaflow.audit.decisions import LEDGER, SIZING
from sigmaflow.audit.decode import Message, Row
from sigmaflow.audit.execution import FILLED, OPEN, Order
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.hashes import START, fnv1a, mix, signed
from sigmaflow.audit.inputs import Accepted
from sigmaflow.audit.log import EQUITY, FILLS
from sigmaflow.audit.sequence import InOrder, same_cause
from sigmaflow.audit.states import ACTIVE, HALTED, RANGE, STATES, Control

NONE, REPLACED, AT_TARGET, OUT_OF_RANGE = "NONE", "REPLACED", "AT_TARGET", "OUT_OF_RANGE"
NOT_REDUCING, EXPIRED = "NOT_REDUCING", "EXPIRED"

REMEMBERED = 1_024
"""Orders that are over and still known, so that a fill of one is told from a fill of none."""


class Ledger:
    """The replay of the account, decision by decision."""

    def __init__(self, fills: InOrder, equity: InOrder, config: Config, findings: Findings) -> None:
        cash = config.units["initial_cash"]
        self._fills, self._equity, self._findings = fills, equity, findings
        self._book, self._control = Book(cash), Control(cash, cash)
        self._open: dict[Name, Order] = {}
        self._known: OrderedDict[int, Order] = OrderedDict()
        self._mark_bar = 0

    def check(self, decision: Message, whole: bool, tick: Accepted | None, config: Config) -> None:
        """Replay the next decision. `whole`: its bytes are what the chain says; `tick` is that which caused it."""
        self._whole, self._quote, self._config = whole, tick.row if tick else None, config
        row = decision.row
        self._made, self._marks = self._fills.take(row["account_seq"]), self._equity.take(row["account_seq"])
        book, control, name = self._book, self._control, _name(row)
        control.begin(row["ts_order"], book.equity)
        control.obey(row["command"], book.equity)
        priced = book.mark(name, row["mid"])
        if not priced and (book.positions[name] or name in self._open):
            control.halt(RANGE)
        control.judge(config, book.equity)
        before = self._findings.blamed(FILLS), self._findings.blamed(EQUITY)
        own = [m for m in self._made if m.row["order_id"] == row["order_id"]]
        earlier = [m for m in self._made if m not in own]
        if self._marks and not own:
            self._lost_fill(self._marks[0], len(earlier))
        self._under_way(decision, priced, earlier)
        control.settle(config, book.equity)
        self._judge(decision)
        self._own(decision, own)
        control.settle(config, book.equity)
        self._after(decision)
        self._mark(decision)
        blamed = self._findings.blamed(FILLS) > before[0], self._findings.blamed(EQUITY) > before[1]
        self._effects(decision, () if blamed[0] else self._made, () if blamed[1] else self._marks,
                      Weight.ABSENCE if any(blamed) else Weight.CONTRADICTION)

    def finish(self, complete: bool) -> int:
        """Number of fills and marks behind the last decision; with `complete` these are faults."""
        return self._fills.finish(complete) + self._equity.finish(complete)

    # ------------------------------------------------------------------------------------------------------- orders

    def _under_way(self, decision: Message, priced: bool, fills: Sequence[Message]) -> None:
        """The symbol's open order at this tick: ended, filled or left."""
        order, name = self._open.get(_name(decision.row)), _name(decision.row)
        must = self._must_end(order, decision.row["ts_order"], priced)
        due = order is not None and priced and not must and decision.row["ts_order"] >= order.due
        wanted = self._wanted(order, 0) if order and due else 0
        self._fill_all(fills, decision, wanted, due)
        self._ends(decision, must)
        if wanted and not fills and order and self._open.get(name) is order:
            self._findings.lost(self._fills.before, "an order that is due is filled", f"no fill at {decision.position}",
                                f"one of {order.decision.position} after this")
            self._close_order(name, "LOST")

    def _must_end(self, order: Order | None, ts: int, priced: bool) -> str:
        """How the open order must end at this tick; empty where it goes on."""
        if order is None or not priced:
            return ""
        if (self._control.state != ACTIVE or order.left != self._control.left) and not self._reduces(order):
            return NOT_REDUCING
        return EXPIRED if order.expires is not None and ts >= order.expires else ""

    def _reduces(self, order: Order) -> bool:
        held = self._book.positions[_name(order.decision.row)]
        after = held + order.rest
        return abs(after) <= abs(held) and after * held >= 0

    def _wanted(self, order: Order, taken: int) -> int | None:
        """Quantity, without its sign, that a tick must fill of a market order; None where the rules here do not say."""
        if order.limit is not None or self._quote is None:
            return None
        return execution.displayed(order, self._quote, taken, self._config)

    def _own(self, decision: Message, fills: Sequence[Message]) -> None:
        """The order that the tick sent, where it is filled at once."""
        row, name = decision.row, _name(decision.row)
        if row["order_id"] is None:
            return
        order, due = self._open.get(name), self._config.fills["latency_ns"] == 0
        same = [m.row["quantity"] for m in self._made if m not in fills and order
                and (m.row["side"] == "BUY") == (order.rest > 0)]
        wanted = self._wanted(order, sum(same)) if order and due else 0
        self._fill_all(fills, decision, wanted, due)
        if wanted and not fills and row["ended_as"] != OUT_OF_RANGE and self._open.get(name) is order:
            self._findings.lost(self._fills.before, "an order that is due is filled", f"no fill at {decision.position}",
                                "one after this")
            self._close_order(name, "LOST")
        if row["ended_order_id"] == row["order_id"] and name in self._open:
            self._range(row)
            self._close_order(name, row["ended_as"])

    def _range(self, row: Row) -> None:
        """An order that would take an amount out of the ledger's range ends, and trading halts."""
        if row["ended_as"] == OUT_OF_RANGE:
            self._control.halt(RANGE)

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

    def _ends(self, decision: Message, must: str) -> None:
        """An open order that the tick ended, by its rule."""
        row, name, equal = decision.row, _name(decision.row), self._findings.equal
        ended, order = row["ended_order_id"], self._open.get(name)
        equal(decision, "an end says how", row["ended_as"] != NONE, ended is not None)
        if must or row["ended_as"] in (NOT_REDUCING, EXPIRED):
            equal(decision, "an order ends by its rule", row["ended_as"], must or "an order that goes on")
        if row["order_id"] is not None and ended != row["order_id"] and not must:
            equal(decision, "an order replaces the open one", ended, order.decision.row["order_id"] if order else None)
        if row["ended_as"] == REPLACED:
            equal(decision, "an order is replaced where another is sent", row["order_id"] not in (None, ended), True)
        if row["ended_as"] == AT_TARGET:
            equal(decision, "an intent that is met ends the order", row["failed_gate"], "quantity")
        if ended is None or ended == row["order_id"]:
            return
        self._range(row)
        if order is None or order.decision.row["order_id"] != ended:
            self._findings.differs(decision, "an order that ends is the open one of its symbol", ended,
                                   order.decision.row["order_id"] if order else None)
        else:
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
        equal(decision, "value of halt", gates["halt"]["value"], STATES.index(self._control.state))
        base = max(gross, self._config.units["concentration_from"])
        share = value / UNIT / (base / UNIT) if base else 0.0
        equal(decision, "value of concentration", gates["concentration"]["value"], share)
        if math.isinf(self._config.fills["cvar_limit"]):
            equal(decision, "value of account_cvar", gates["account_cvar"]["value"], 0.0)
        for gate, passed in self._passing(gates, held, target, value, gross).items():
            equal(decision, f"{gate} passes by its rule", gates[gate]["passed"], passed)

    def _passing(self, gates: dict[str, Row], held: int, target: int, value: int, gross: int) -> dict[str, bool]:
        """What each check of the ledger says by its rule."""
        config, state = self._config, self._control.state
        reduces = abs(target) <= abs(held) and target * held >= 0
        share, base = config.units["max_concentration"], max(gross, config.units["concentration_from"])
        hasty = config.fills["latency_ns"] == 0 and not config.limited
        cvar = gates["account_cvar"]
        return {"halt": state != HALTED, "reducing": state == ACTIVE or reduces,
                "range": value <= MOST and (reduces or gross <= MOST),
                "position": reduces or value <= config.units["max_position"],
                "gross": reduces or gross <= config.units["max_gross"],
                "concentration": reduces or share == OVER or value <= times(base, share),
                "account_cvar": reduces or cvar["value"] <= cvar["limit"], "quantity": hasty or target != held}

    def _send(self, decision: Message) -> None:
        row, book, name = decision.row, self._book, _name(decision.row)
        book.orders += 1
        expected = mix(row["intent_id"] or 0, book.orders)
        self._findings.equal(decision, "order_id", row["order_id"], expected)
        self._findings.equal(decision, "order_quantity is target less position", row["order_quantity"],
                             (row["target"] or 0) - book.positions[name])
        if self._quote:
            self._findings.equal(decision, "order_limit is that of the settings", row["order_limit"],
                                 execution.limit_price(self._config, row["order_quantity"], self._quote))
        if name in self._open:
            self._close_order(name, REPLACED)
        self._open[name] = Order(decision, row["order_quantity"], book.marks[name], self._control.left, self._config)
        self._known[row["order_id"]] = self._open[name]
        if len(self._known) > REMEMBERED + len(self._open):
            self._forget()
        book.open(name, row["order_quantity"])

    def _forget(self) -> None:
        """Let go of the oldest order that is over."""
        oldest = next(number for number, order in self._known.items() if order.state != OPEN)
        del self._known[oldest]

    def _close_order(self, name: Name, how: str) -> None:
        self._open.pop(name).state = how.lower()
        self._book.open(name, 0)

    # -------------------------------------------------------------------------------------------------------- fills

    def _fill_all(self, fills: Sequence[Message], decision: Message, wanted: int | None, due: bool) -> None:
        """Book fills. `wanted` is the quantity that the first must have, None for any; `due`: whether one may be."""
        for fill in fills:
            same_cause(fill, decision, self._findings)
            order = self._known.get(fill.row["order_id"])
            if order is None:
                self._findings.differs(fill, "a decision sent the order", fill.row["order_id"], "the id of an order")
            else:
                self._of_order(fill, order)
                self._may_fill(fill, order)
                if not due:
                    self._findings.differs(fill, "an order is filled when it is due", decision.row["ts_order"],
                                           order.due)
                elif wanted is not None:
                    self._findings.equal(fill, "quantity is what is displayed", fill.row["quantity"], wanted)
                self._part(fill, order)
            self._book_fill(fill, decision, order)

    def _lost_fill(self, mark: Message, earlier: int) -> None:
        """A mark that counts a fill more, and has other cash, says that the fill is gone and not the mark wrong."""
        row, book = mark.row, self._book
        if row["fills"] > book.fills + earlier and not earlier and row["cash"] != book.cash:
            self._findings.lost(self._fills.before, "every fill is in the ledger",
                                f"{book.fills} fills before {mark.position}", row["fills"], Weight.CONTRADICTION)
            book.fills = row["fills"]

    def _may_fill(self, fill: Message, order: Order) -> None:
        """While an account is halted no fill adds to exposure."""
        held = self._book.positions[_name(order.decision.row)]
        if self._control.state == HALTED and not self._reduces(order):
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
        """Price and fee are those of the settings; what rested has its own limit as its price."""
        row, config, equal = fill.row, self._config, self._findings.equal
        equal(fill, "the fee is that of the settings", row["fee"],
              execution.fee(config, row["liquidity"], quantity, row["price"]))
        if row["liquidity"] == "MAKER":
            equal(fill, "the price of what rested is its limit", row["price"], order.limit if order else None)
        elif order and self._quote:
            mark = self._book.marks[_name(decision.row)]
            equal(fill, "the price is that of the settings", row["price"],
                  execution.price(config, order, quantity, mark, self._quote))

    # -------------------------------------------------------------------------------------------------------- marks

    def _after(self, decision: Message) -> None:
        """What the decision says of its symbol and of the account after the tick."""
        row, name, equal = decision.row, _name(decision.row), self._findings.equal
        equal(decision, "position is that of the last fill", row["position"], self._book.positions[name])
        equal(decision, "symbol_pnl is cash flow and position", row["symbol_pnl"],
              self._book.flows[name] + self._book.worth(name))
        equal(decision, "the state follows from equity, settings and commands", (row["state"], row["state_cause"]),
              (self._control.state, self._control.cause))

    def _mark(self, decision: Message) -> None:
        every = self._config.fills["mark_every_ns"]
        bar = decision.row["ts_order"] // every if every else 0
        due = not every or bar != self._mark_bar
        if self._made and not self._marks:
            self._findings.lost(self._equity.before, "a fill is followed by a mark",
                                f"none for {self._made[0].position}", "one after this")
        elif due and not self._marks:
            self._findings.lost(self._equity.before, "a mark is due", f"none for {decision.position}", "one after this")
        if due or self._made:
            self._mark_bar = bar
        for mark in self._marks:
            if not (due or self._made):
                self._findings.differs(mark, "a mark is due", decision.position, "a fill or another interval")
            same_cause(mark, decision, self._findings)
            self._counted(mark)
            self._holdings(mark)
            self._sums(mark)
            self._of_decision(mark, decision)

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
        equal(mark, "peak_equity is the highest so far", row["peak_equity"], self._control.peak)
        peak = row["peak_equity"] / UNIT
        drawdown = 1 - row["equity"] / UNIT / peak if peak > 0 else 0.0
        equal(mark, "drawdown is 1 - equity / peak", row["drawdown"], drawdown)

    def _of_decision(self, mark: Message, decision: Message) -> None:
        for name in ("state", "state_cause"):
            self._findings.equal(mark, f"{name} is that of the decision", mark.row[name], decision.row[name])
        if self._quote:
            self._findings.equal(mark, "spread is that of the tick", mark.row["spread"],
                                 self._quote["ask"] - self._quote["bid"])
        if not mark.row["account_cvar_975"] >= 0:
            self._findings.differs(mark, "account_cvar_975 is a loss", mark.row["account_cvar_975"], "at least 0")

    def _effects(self, decision: Message, fills: Sequence[Message], marks: Sequence[Message], weight: Weight) -> None:
        """The seal over the tick's fills and marks. `fills` and `marks` are those that nothing was found in yet."""
        held = *self._made, *self._marks
        found = signed(reduce(lambda sealed, m: fnv1a(m.body, sealed), held, START))
        if found == decision.row["effects"] or not self._whole:
            return
        for m in (*marks, *fills):
            self._findings.differs(m, "effects of the decision seal fills and marks", found, decision.row["effects"],
                                   weight)
        if not self._marks:
            self._findings.lost(self._equity.before, "every mark that a decision seals is there",
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
