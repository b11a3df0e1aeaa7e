"""The ledger and the states of its orders under any history, to the unit, against a model in plain Python.

Hypothesis makes up the history: quotes and displayed sizes of three symbols, targets from nothing to absurd, prices
that fall off a cliff or leave the ledger's range, operators' commands, under profiles with and without latency, fees
and limits, with orders filled whole, in parts, or resting in the book. The model below is written against the stage's
records only; what it knows of their names is in `taken`. Amounts are whole units, so nothing is left to rounding: what
a gate lets pass, and what it stops, is exact.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas.layout import NULL_LONG
from tests import kit
from udfs import profiles
from udfs.gates import ACTIVE, GATES, HALT, HALTED, REDUCE, REDUCING, RESUME
from udfs.money import MOST, OVER, UNIT
from udfs.profiles import UNLIMITED, Fills
from udfs.stage import StageState
from udfs.stages import fills
from udfs.stages.fills import AT_TARGET, EXPIRED, NOT_REDUCING, OUT_OF_RANGE, REPLACED, STANDS

MS = 1_000_000
DAY = 86_400 * 10**9
SYMBOLS = 3
RECORDS = ("fills", "decisions", "marks")


def units(value: float) -> int:
    """The nearest unit of a float."""
    return round(value * 1e9)


def product(a: int, b: int) -> int:
    """Two amounts multiplied, half to even."""
    return round(Fraction(a * b, UNIT))


@dataclass(frozen=True)
class Tick:
    """One quote, with a target's value in quote currency where sizing has made an intent."""

    slot: int
    ts: int
    bid: float
    ask: float
    target: float | None = None
    size: float = 1e6
    command: int = 0

    @property
    def mid(self) -> float:
        """Middle of the quote, rounded as the chain rounds it."""
        return (self.bid + self.ask) / 2


def columns(ticks: list[Tick], first: int) -> dict[str, Any]:
    """Ticks as the columns that sizing hands on; `first` is the number of the first one."""
    asked = [tick.target is not None for tick in ticks]
    numbers = np.arange(first, first + len(ticks))
    names = ("slot", "bid", "ask", "mid", "command")
    plain = {name: np.array([getattr(tick, name) for tick in ticks]) for name in names}
    size = np.array([tick.size for tick in ticks])
    return plain | {"slots": SYMBOLS, "ts_order": np.array([tick.ts for tick in ticks]), "bid_size": size,
                    "ask_size": size, "intent": np.where(asked, numbers + 1, 0), "intent_id": 1_000_000 + numbers,
                    "target_notional": np.array([tick.target or 0.0 for tick in ticks]),
                    "top_alpha": np.zeros(len(ticks), int)}


def taken(found: dict[str, Any], row: int) -> tuple[list[Any], Any, Any]:
    """Fills, decision and mark of one tick."""
    (mark,) = found["marks"][found["marks"]["row"] == row]
    return list(found["fills"][found["fills"]["row"] == row]), found["decisions"][row], mark


@dataclass
class Order:
    """An order under way; `left` is how often the account had left ACTIVE when it was sent."""

    number: int
    quantity: int
    rest: int
    sent: int
    intent: int
    mid: int
    limit: int
    left: int
    parts: int = 0


def nothing() -> dict[int, int]:
    """No amount for any symbol."""
    return dict.fromkeys(range(SYMBOLS), 0)


@dataclass
class Model:
    """The account. `check` takes one tick and what the stage said of it."""

    made: Fills
    cash: int = 0
    peak: int = 0
    state: int = ACTIVE
    halted: bool = False
    ordered: int = ACTIVE
    left: int = 0
    day: int = 0
    day_equity: int = 0
    day_lost: bool = False
    bar: int = 0
    cvar: float = 0.0
    closes: dict[int, list[float]] = field(default_factory=lambda: {slot: [] for slot in range(SYMBOLS)})
    """Last mid of each bar that had a tick, NaN before the first; the open one's is last."""
    orders: int = 0
    filled: int = 0
    position: dict[int, int] = field(default_factory=nothing)
    mark: dict[int, int] = field(default_factory=nothing)
    flow: dict[int, int] = field(default_factory=nothing)
    open: dict[int, Order] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cash = self.peak = self.day_equity = units(self.made.initial_cash)

    @property
    def equity(self) -> int:
        return self.cash + sum(self.values())

    def values(self) -> list[int]:
        """Value of every position."""
        return [product(self.position[slot], self.mark[slot]) for slot in range(SYMBOLS)]

    def commitment(self, slot: int, mark: int) -> int:
        """What a symbol has at stake at a mark: its position, or what its order would make of it."""
        rest = self.open[slot].rest if slot in self.open else 0
        return max(abs(product(self.position[slot] + q, mark)) for q in (0, rest))

    def committed(self, but: int) -> int:
        """The same of all symbols but one."""
        return sum(self.commitment(slot, self.mark[slot]) for slot in range(SYMBOLS) if slot != but)

    def check(self, tick: Tick, number: int, made: list[Any], decision: Any, mark: Any) -> None:
        """One tick: the mark first, then the order under way, then the decision."""
        slot, waiting = tick.slot, list(made)
        self._clocks(tick)
        self._obey(tick.command)
        new = units(tick.mid)
        priced = new <= MOST and self.committed(slot) + self.commitment(slot, new) <= MOST
        if priced:
            self.mark[slot] = new
            self._past(tick)
        elif self.position[slot] or slot in self.open:
            self.halted = True
        self._judge()
        ended = self._under_way(tick, priced, waiting, decision)
        self._settle()
        assert decision["equity"] == self.equity
        self._decide(tick, number, priced, ended, waiting, decision)
        assert not waiting, "a fill without an order that is due"
        self._settle()
        self._report(tick, decision, mark)

    def _clocks(self, tick: Tick) -> None:
        """Begin the UTC day of this tick where it is a new one."""
        day = tick.ts // DAY
        if day != self.day:
            self.day, self.day_equity, self.day_lost = day, self.equity, False

    def _past(self, tick: Tick) -> None:
        """Take a tick into the bars."""
        bar = tick.ts // self.made.bar_ns
        if bar > self.bar:
            self.bar = bar
            for held in self.closes.values():
                held.append(held[-1] if held else np.nan)
            self.closes[tick.slot][-1] = tick.mid
            self.cvar = self._cvar(self.position)
        self.closes[tick.slot][-1] = tick.mid

    def _cvar(self, positions: dict[int, int]) -> float:
        """Mean of the worst 2.5 % of what positions would have made in the closed bars that all of them have."""
        profits: Any = 0.0
        for slot, position in positions.items():
            value = product(position, self.mark[slot]) / UNIT
            if value:
                held = np.array(self.closes[slot][-fills.BARS - 2:-1])
                profits = profits + value * (held[1:] / held[:-1] - 1)
        known = np.sort(profits[~np.isnan(profits)][-fills.BARS:]) if np.ndim(profits) else np.zeros(0)
        if len(known) < fills.WARM_BARS:
            return 0.0
        count = 0.025 * len(known)
        whole = int(np.ceil(count - 1e-9)) - 1
        return max(0.0, -(known[:whole].sum() + (count - whole) * known[whole]) / count)

    def _obey(self, command: int) -> None:
        if command == HALT:
            self.halted = True
        elif command:
            if command == RESUME or self.halted:
                self.peak, self.day_equity, self.day_lost = self.equity, self.equity, False
            self.halted, self.ordered = False, REDUCING if command == REDUCE else ACTIVE

    def _fallen(self, share: float) -> bool:
        return share != UNLIMITED and self.peak > 0 and self.peak - self.equity >= product(self.peak, units(share))

    def _judge(self) -> None:
        before = self.state
        self.halted |= self._fallen(self.made.halt_drawdown)
        loss = self.day_equity - self.equity
        self.day_lost |= self.made.max_day_loss != UNLIMITED and loss >= units(self.made.max_day_loss)
        reduce = self.ordered == REDUCING or self.day_lost or self._fallen(self.made.reduce_drawdown)
        self.state = HALTED if self.halted else REDUCING if reduce else ACTIVE
        self.left += before == ACTIVE != self.state

    def _settle(self) -> None:
        self.peak = max(self.peak, self.equity)
        self._judge()

    def _reduces(self, slot: int, target: int) -> bool:
        return abs(target) <= abs(self.position[slot]) and target * self.position[slot] >= 0

    def _under_way(self, tick: Tick, priced: bool, waiting: list[Any], decision: Any) -> int:
        """The open order: how it must have ended, if so; what it was filled."""
        order = self.open.get(tick.slot)
        if order is None or not priced:
            return STANDS
        due, life = order.sent + self.made.latency_ns, self.made.order_life_ns
        if (self.state != ACTIVE or order.left != self.left) and not self._reduces(
                tick.slot, self.position[tick.slot] + order.rest):
            return self._end(tick.slot, NOT_REDUCING, decision)
        if life and tick.ts >= due + life:
            return self._end(tick.slot, EXPIRED, decision)
        if tick.ts >= due:
            return self._fill(tick, order, waiting, decision, 0)
        return STANDS

    def _end(self, slot: int, how: int, decision: Any) -> int:
        order = self.open.pop(slot)
        assert (decision["ended"], decision["ended_intent"], decision["ended_as"]) == (order.number, order.intent, how)
        return how

    def _fill(self, tick: Tick, order: Order, waiting: list[Any], decision: Any, used: int) -> int:
        """The next fill is the order's, and all that it can have; `used` was taken of the side on this tick."""
        side = 1 if order.rest > 0 else -1
        far = units(tick.ask if side > 0 else tick.bid)
        size = abs(order.rest)
        reached = not order.limit or side * far <= side * order.limit
        if self.made.size == "displayed" and reached:  # what rests waits for trades, not for the other side's size
            size = min(size, max(0, min(MOST, units(tick.size)) - used))
        if order.limit:  # when it is filled is the queue model's; how much, and at which price, is not
            own = [fill for fill in waiting[:1] if fill["order"] == order.number]
            size = min(size, abs(int(own[0]["quantity"]))) if own else 0
        if not size and order.rest:
            return STANDS
        if decision["ended_as"] == OUT_OF_RANGE:
            self.halted = True
            return self._end(tick.slot, OUT_OF_RANGE, decision)
        fill = waiting.pop(0)
        order.parts += 1
        order.rest -= side * size
        names = ("order", "quantity", "sent", "intent", "decision_mid", "part", "remaining")
        assert [int(fill[name]) for name in names] == [
            order.number, side * size, order.sent, order.intent, order.mid, order.parts, abs(order.rest)]
        price, rate = int(fill["price"]), self.made.maker_fee_bps if fill["rested"] else self.made.fee_bps
        if order.limit:
            assert price == order.limit if fill["rested"] else side * price <= side * order.limit
        else:
            assert price == (far if self.made.price == "cross" else self.mark[tick.slot]) and not fill["rested"]
        self._book(tick.slot, side * size, price, rate, fill)
        if not order.rest:
            del self.open[tick.slot]
        return STANDS

    def _book(self, slot: int, quantity: int, price: int, rate: float, fill: Any) -> None:
        notional = product(quantity, price)
        fee = product(abs(notional), units(rate / 10_000))
        self.cash -= notional + fee
        self.flow[slot] -= notional + fee
        self.position[slot] += quantity
        self.filled += 1
        assert (fill["fee"], fill["cash"], fill["position"]) == (fee, self.cash, self.position[slot])

    def _decide(self, tick: Tick, number: int, priced: bool, ended: int, waiting: list[Any], decision: Any) -> None:
        slot = tick.slot
        if tick.target is None:
            assert not decision["order"] and decision["target"] == NULL_LONG, "an order without an intent"
            assert decision["ended_as"] == ended
            return
        target, position = int(decision["target"]), self.position[slot]
        if abs(target) <= MOST:
            wanted, half = Fraction(tick.target) * UNIT, Fraction(self.made.lot) / 2 * Fraction(tick.mid) * UNIT
            worth = Fraction(target) * Fraction(tick.mid)
            assert abs(worth - wanted) <= half + (abs(wanted) + half) / 10**9, "not the nearest lot"
            assert target % units(self.made.lot) == 0
        cvar = float(decision["value"][GATES.index("account_cvar")])
        if priced and abs(target) <= MOST and self.made.cvar_limit != UNLIMITED:
            rest = {slot: order.rest for slot, order in self.open.items()}
            wanted = {slot: held + rest.get(slot, 0) for slot, held in self.position.items()} | {tick.slot: target}
            assert cvar == pytest.approx(self._cvar(wanted), rel=1e-6, abs=1e-6)
        failing = self._failing(tick, target, priced, cvar)
        failed = next((gate for gate in GATES if failing[gate]), "")
        assert (GATES[decision["failed"]] if decision["failed"] >= 0 else "") == failed
        assert bool(decision["order"]) == (not failed)
        if slot in self.open and failed in ("", "quantity"):
            ended = self._end(slot, AT_TARGET if failed else REPLACED, decision)
        if not failed:
            ended = self._send(tick, number, target - position, waiting, decision) or ended
        assert decision["ended_as"] == ended

    def _send(self, tick: Tick, number: int, quantity: int, waiting: list[Any], decision: Any) -> int:
        self.orders += 1
        assert (decision["order"], decision["quantity"]) == (self.orders, quantity)
        assert (decision["limit_price"] > 0) == (self.made.order == "limit")
        order = self.open[tick.slot] = Order(self.orders, quantity, quantity, tick.ts, 1_000_000 + number,
                                             self.mark[tick.slot], int(decision["limit_price"]), self.left)
        if self.made.latency_ns:
            return STANDS
        used = 0  # an order of another side, or none, was filled on this tick before: sides do not share
        for fill in self.earlier:
            used += abs(int(fill["quantity"])) * (int(fill["quantity"]) * quantity > 0)
        return self._fill(tick, order, waiting, decision, used)

    earlier: list[Any] = field(default_factory=list)
    """Fills of this tick before the one that its own order may have."""

    def _failing(self, tick: Tick, target: int, priced: bool, cvar: float) -> dict[str, bool]:
        """Whether each gate must stop the target."""
        slot, made = tick.slot, self.made
        reduces, known = self._reduces(slot, target), priced and abs(target) <= MOST
        value = min(OVER, abs(product(target, self.mark[slot]))) if known else OVER
        gross = min(OVER, self.committed(slot) + value)

        def above(amount: int, limit: float) -> bool:
            return not reduces and limit != UNLIMITED and amount > units(limit)

        share = made.max_concentration
        most = OVER if share == UNLIMITED else product(max(gross, units(made.concentration_from)), units(share))
        return {"halt": self.state == HALTED, "reducing": self.state != ACTIVE and not reduces,
                "range": not priced or (not reduces and gross > MOST), "position": above(value, made.max_position),
                "gross": above(gross, made.max_gross), "concentration": not reduces and value > most,
                "account_cvar": not reduces and cvar > made.cvar_limit,
                "quantity": target == self.position[slot] and (made.latency_ns > 0 or made.order == "limit")}

    def _report(self, tick: Tick, decision: Any, mark: Any) -> None:
        slot, values = tick.slot, self.values()
        pnl = self.flow[slot] + values[slot]
        names = ("mid", "position", "symbol_pnl", "cash", "equity", "peak_equity", "gross", "net", "orders", "fills",
                 "state")
        assert [int(mark[name]) for name in names] == [
            self.mark[slot], self.position[slot], pnl, self.cash, self.equity, self.peak, sum(map(abs, values)),
            sum(values), self.orders, self.filled, self.state]
        assert [int(decision[name]) for name in ("position", "symbol_pnl", "state")] == [
            self.position[slot], pnl, self.state]
        assert mark["account_cvar_975"] == pytest.approx(self.cvar, rel=1e-6, abs=1e-6)
        assert (mark["cause"] == 0) == (self.state == ACTIVE) and mark["cause"] == decision["cause"]


cents = st.integers(100, 1_000_000)
targets = st.floats(-300_000, 300_000) | st.sampled_from([0.0, -0.0, 1e12, -1e12, 5e-324, 0.5, 49_999.999])
sizes = st.sampled_from([1e6, 1e6, 40.0, 3.0, 0.01, 1e-9])
WAYS: list[dict[str, Any]] = [
    {"price": "mid"}, {"price": "cross"}, {"price": "cross", "size": "displayed"},
    {"price": "cross", "size": "displayed", "order_life_ns": 20 * MS},
    {"order": "limit", "size": "displayed", "maker_fee_bps": -0.3, "order_life_ns": 50 * MS},
    {"order": "limit", "limit_offset_bps": -20.0}]
"""How orders are executed."""


class LedgerStates(RuleBasedStateMachine):
    """Histories of an account. After every step all that the stage said of it is checked."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Tick] = []
        self.ts = 1_700_000_000_000 * MS
        self.quote = dict.fromkeys(range(SYMBOLS), (99.99, 100.01))
        self.said: dict[str, list[Any]] = {name: [] for name in RECORDS}

    @initialize(way=st.sampled_from(WAYS), latency=st.sampled_from([0, 5 * MS]),
                fee=st.sampled_from([0.0, 2.5, 80.0]), lot=st.sampled_from([1.0, 0.01, 1e-4, 1e-9]),
                limit=st.sampled_from([(UNLIMITED, UNLIMITED), (150_000.0, 250_000.0)]),
                breaker=st.sampled_from([(0.05, 0.10), (0.05, UNLIMITED), (UNLIMITED, UNLIMITED)]),
                others=st.sampled_from([{}, {"cvar_limit": 200.0}, {"max_day_loss": 20_000.0},
                                        {"max_concentration": 0.6, "concentration_from": 100_000.0}]))
    def open_account(self, way: dict[str, Any], latency: int, fee: float, lot: float, limit: tuple[float, float],
                     breaker: tuple[float, float], others: dict[str, Any]) -> None:
        made = Fills(latency_ns=latency, fee_bps=fee, lot=lot, mark_every_ns=0, bar_ns=MS, max_position=limit[0],
                     max_gross=limit[1], reduce_drawdown=breaker[0], halt_drawdown=breaker[1], **way, **others)
        self.stage = fills.stage(profiles.DEFAULT.model_copy(update={"fills": made}))
        self.state: StageState = kit.state(self.stage, SYMBOLS)
        self.model = Model(made)

    def _tick(self, slot: int, gap: int, target: float | None = None, size: float = 1e6, command: int = 0) -> Tick:
        self.ts += gap * MS
        return Tick(slot, self.ts, *self.quote[slot], target, size, command)

    def _take(self, ticks: list[Tick]) -> None:
        first = len(self.history)
        found = self.stage.step(self.state, columns(ticks, first))
        self.history += ticks
        for row, tick in enumerate(ticks):
            made, decision, mark = taken(found, row)
            self.model.earlier = [fill for fill in made if fill["order"] != decision["order"]]
            self.model.check(tick, first + row, made, decision, mark)
        for name in RECORDS:
            self.said[name].append(_numbered(found[name], first))

    @rule(slot=st.integers(0, 2), gap=st.integers(0, 9), bid=cents, width=st.integers(0, 5))
    def quote_moves(self, slot: int, gap: int, bid: int, width: int) -> None:
        """Any new price, most of them a jump."""
        self.quote[slot] = (bid / 100, (bid + width) / 100)
        self._take([self._tick(slot, gap)])

    @rule(slot=st.integers(0, 2), gap=st.integers(0, 9), goal=targets, size=sizes)
    def target_changes(self, slot: int, gap: int, goal: float, size: float) -> None:
        """An intent at the price that is."""
        self._take([self._tick(slot, gap, goal, size)])

    @rule(slot=st.integers(0, 2), command=st.sampled_from([RESUME, RESUME, REDUCE, HALT]), goal=st.none() | targets)
    def an_operator_speaks(self, slot: int, command: int, goal: float | None) -> None:
        """A command comes before a tick, with an intent or without."""
        self._take([self._tick(slot, 1, goal, command=command)])

    @rule(slot=st.integers(0, 2), size=sizes, days=st.sampled_from([0, 0, 1]))
    def little_is_displayed(self, slot: int, size: float, days: int) -> None:
        """The same quote, with another size; or on the next day."""
        self._take([self._tick(slot, 3 + days * 86_400_000, size=size)])

    @rule(slot=st.integers(0, 2), price=st.sampled_from([3e8, 1.2e9, 1e15]))
    def a_price_is_absurd(self, slot: int, price: float) -> None:
        """An amount may leave the range of the ledger."""
        self._take([Tick(slot, self.ts, price, price)])

    @rule(slot=st.integers(0, 2), share=st.floats(0.5, 1.1))
    def position_is_scaled(self, slot: int, share: float) -> None:
        """A target close to what is held: reduces, or hardly does not."""
        held = product(self.model.position[slot], self.model.mark[slot]) / UNIT
        self._take([self._tick(slot, 3, held * share)])

    @rule(slot=st.integers(0, 2), factor=st.sampled_from([0.5, 0.9, 0.97, 1.03, 1.1, 2.0]))
    def prices_jump(self, slot: int, factor: float) -> None:
        """A fall or rise that may trip the breaker."""
        bid = max(1, round(self.quote[slot][0] * factor * 100)) / 100
        self.quote[slot] = (bid, bid + 0.01)
        self._take([self._tick(slot, 1)])

    @precondition(lambda self: any(self.model.position.values()))
    @rule(share=st.sampled_from([0.0, 0.04, 0.06, 0.08, 0.12]), goals=st.lists(targets, max_size=3))
    def drawdown_reaches(self, share: float, goals: list[float]) -> None:
        """The price of the largest position takes the account to a drawdown, and intents follow."""
        slot = max(self.model.position, key=lambda held: abs(self.model.position[held]))
        missing = self.model.peak * (1 - Fraction(share)) - self.model.equity
        bid = round(float(Fraction(self.model.mark[slot], UNIT) + missing / self.model.position[slot]) * 100) / 100
        if 1 <= bid <= 1_000_000:
            self.quote[slot] = (bid, bid + 0.01)
        self._take([self._tick(slot, 1), *(self._tick(slot, 1, goal) for goal in goals)])

    @rule(moves=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-30, 30), st.none() | targets,
                                   sizes), min_size=2, max_size=60))
    def many_ticks(self, moves: list[tuple[int, int, int, float | None, float]]) -> None:
        """A micro-batch; long ones also close the bars that make the account's CVaR speak."""
        ticks = []
        for slot, gap, step, target, size in moves:
            bid = max(1, round(self.quote[slot][0] * 100) + step) / 100
            self.quote[slot] = (bid, bid + 0.02)
            ticks.append(self._tick(slot, gap, target, size))
        self._take(ticks)

    @precondition(lambda self: len(self.history) > 1)
    @rule(every=st.integers(1, 7))
    def other_cuts_give_the_same_bytes(self, every: int) -> None:
        """The whole history again, in pieces of another size."""
        state = kit.state(self.stage, SYMBOLS)
        again: dict[str, list[Any]] = {name: [] for name in RECORDS}
        for start in range(0, len(self.history), every):
            found = self.stage.step(state, columns(self.history[start:start + every], start))
            for name in RECORDS:
                again[name].append(_numbered(found[name], start))
        for name in RECORDS:
            assert np.concatenate(again[name]).tobytes() == np.concatenate(self.said[name]).tobytes(), name
        assert (state.symbols.tobytes(), state.shared.tobytes()) == (
            self.state.symbols.tobytes(), self.state.shared.tobytes())

    @invariant()
    def positions_are_what_was_filled(self) -> None:
        for slot, exact in self.model.position.items() if self.history else ():
            assert self.state.symbols[slot]["position"] == exact


def _numbered(records: np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    """Records whose `row`, where they have one, counts from the start of the history."""
    held = records.copy()
    if "row" in (held.dtype.names or ()):
        held["row"] += first
    return held


# Shrinking a history of hundreds of ticks takes minutes; what failed is printed whole as it is.
LedgerStates.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None,
                                          phases=(Phase.explicit, Phase.reuse, Phase.generate))
TestLedgerStates = LedgerStates.TestCase
