"""The ledger and the states of its orders under any history, against exact arithmetic in plain Python.

Hypothesis makes up the history: quotes of three symbols, targets from nothing to absurd, prices that fall off a cliff,
under profiles with and without latency, fees and limits. The model below is written against the stage's records only;
what it knows of their names is in `taken`.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests import kit
from udfs import profiles
from udfs.profiles import UNLIMITED, Fills
from udfs.stage import StageState
from udfs.stages import fills
from udfs.stages.fills import ACTIVE, GATES, HALTED, REDUCING

MS = 1_000_000
SYMBOLS = 3
CLOSE = Fraction(1, 10**9)
"""Relative distance up to which floating-point sums may lie from the exact ones."""

RECORDS = ("fills", "decisions", "marks")


@dataclass(frozen=True)
class Tick:
    """One quote, with a target's value in quote currency where sizing has made an intent."""

    slot: int
    ts: int
    bid: float
    ask: float
    target: float | None = None

    @property
    def mid(self) -> float:
        """Middle of the quote, rounded as the chain rounds it."""
        return (self.bid + self.ask) / 2


def columns(ticks: list[Tick], first: int) -> dict[str, Any]:
    """Ticks as the columns that sizing hands on; `first` is the number of the first one."""
    asked = [tick.target is not None for tick in ticks]
    numbers = np.arange(first, first + len(ticks))
    return {"slot": np.array([tick.slot for tick in ticks]), "slots": SYMBOLS,
            "ts_order": np.array([tick.ts for tick in ticks]), "bid": np.array([tick.bid for tick in ticks]),
            "ask": np.array([tick.ask for tick in ticks]), "mid": np.array([tick.mid for tick in ticks]),
            "intent": np.where(asked, numbers + 1, 0), "intent_id": 1_000_000 + numbers,
            "target_notional": np.array([tick.target or 0.0 for tick in ticks]), "top_alpha": np.zeros(len(ticks), int)}


def taken(found: dict[str, Any], row: int) -> tuple[list[Any], Any, Any]:
    """Fills, decision and mark of one tick."""
    (mark,) = found["marks"][found["marks"]["row"] == row]
    return list(found["fills"][found["fills"]["row"] == row]), found["decisions"][row], mark


@dataclass
class Order:
    """An order under way."""

    number: int
    quantity: float
    sent: int
    intent: int
    mid: float


@dataclass
class Model:
    """The account in exact fractions. `check` takes one tick and what the stage said of it."""

    made: Fills
    cash: Fraction = Fraction(0)
    turnover: Fraction = Fraction(0)
    peak: Fraction = Fraction(0)
    state: int = ACTIVE
    cvar: Fraction = Fraction(0)
    bar: int = 0
    bar_equity: Fraction = Fraction(0)
    changes: list[Fraction] = field(default_factory=list)
    orders: int = 0
    position: dict[int, Fraction] = field(default_factory=lambda: dict.fromkeys(range(SYMBOLS), Fraction(0)))
    mid: dict[int, Fraction] = field(default_factory=lambda: dict.fromkeys(range(SYMBOLS), Fraction(0)))
    moved: dict[int, Fraction] = field(default_factory=lambda: dict.fromkeys(range(SYMBOLS), Fraction(0)))
    """Sum of all quantities of a symbol, on which the rounding of its position depends."""
    open: dict[int, Order] = field(default_factory=dict)
    filled: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.cash = self.peak = Fraction(self.made.initial_cash)

    @property
    def equity(self) -> Fraction:
        return self.cash + sum(self.position[slot] * self.mid[slot] for slot in self.mid)

    def near(self, value: float, exact: Fraction, scale: Fraction = Fraction(0)) -> bool:
        """Whether a float is the exact number up to rounding in sums as large as what was traded."""
        whole = 1 + abs(exact) + scale + self.turnover + abs(self.cash)
        return bool(np.isfinite(value)) and abs(Fraction(float(value)) - exact) <= CLOSE * whole

    def above(self, value: Fraction, limit: float) -> int:
        """-1 where a value is clearly within a limit, 1 where clearly above, 0 where rounding decides."""
        if limit == UNLIMITED:
            return -1
        slack = CLOSE * (1 + abs(value) + self.turnover)
        return -1 if value < Fraction(limit) - slack else int(value > Fraction(limit) + slack)

    def check(self, tick: Tick, number: int, made: list[Any], decision: Any, mark: Any) -> None:
        """One tick: marks first, then the order that is due, then the decision."""
        self._bar(tick)
        self.mid[tick.slot] = Fraction(tick.mid)
        waiting = list(made)
        due = self.open.get(tick.slot)
        if due is not None and tick.ts >= due.sent + self.made.latency_ns:
            self._fill(tick, self.open.pop(tick.slot), waiting.pop(0))
        assert self.near(decision["equity"], self.equity)
        self._trading_state(mark, bool(decision["order"]))
        self._decision(tick, number, decision)
        if decision["order"] and self.made.latency_ns == 0:
            self._fill(tick, self.open.pop(tick.slot), waiting.pop(0))
        assert not waiting, "a fill without an order that is due"
        self._mark(tick, mark)

    def _bar(self, tick: Tick) -> None:
        """Close the bar before this tick's: CVaR is the mean of the worst 2.5 % of the changes from bar to bar."""
        bar = tick.ts // self.made.bar_ns
        if bar == self.bar:
            return
        if self.bar:
            self.changes = [*self.changes, self.equity - self.bar_equity][-fills.BARS:]
        if len(self.changes) >= fills.WARM_BARS:
            count, ordered = Fraction(len(self.changes), 40), sorted(self.changes)
            whole = int(count)
            tail = sum(ordered[:whole], (count - whole) * ordered[whole])
            self.cvar = max(Fraction(0), -tail / count)
        self.bar, self.bar_equity = bar, self.equity

    def _fill(self, tick: Tick, order: Order, fill: Any) -> None:
        assert order.number not in self.filled, "an order is filled twice"
        self.filled.add(order.number)
        said = [fill[name] for name in ("order", "quantity", "sent", "intent", "decision_mid")]
        assert said == [order.number, order.quantity, order.sent, order.intent, order.mid]
        far = tick.ask if order.quantity > 0 else tick.bid
        assert fill["price"] == (far if self.made.price == "cross" else tick.mid)
        quantity, price = Fraction(order.quantity), Fraction(float(fill["price"]))
        fee = abs(quantity) * price * Fraction(self.made.fee_bps) / 10_000
        self.turnover += abs(quantity) * price
        assert self.near(fill["fee"], fee)
        self.cash -= quantity * price + fee
        self.position[tick.slot] += quantity
        self.moved[tick.slot] += abs(quantity)
        assert self.near(fill["cash"], self.cash)
        assert self.near(fill["position"], self.position[tick.slot])

    def _trading_state(self, mark: Any, ordered: bool) -> None:
        """State before the decision; the mark's is the one after it, which differs only where it was filled at once."""
        self.peak = max(self.peak, self.equity)
        drawdown = 1 - self.equity / self.peak
        halted = self.above(drawdown, self.made.halt_drawdown)
        reducing = self.above(drawdown, self.made.reduce_drawdown)
        if self.state == HALTED or halted > 0:
            self.state = HALTED
        elif halted == 0 or reducing == 0:
            self.state = int(mark["state"])  # rounding decides
        else:
            self.state = REDUCING if reducing > 0 else ACTIVE
        assert self.state in (ACTIVE, REDUCING, HALTED)
        assert ordered or mark["state"] == self.state

    def _decision(self, tick: Tick, number: int, decision: Any) -> None:
        if tick.target is None:
            assert not decision["order"] and np.isnan(decision["target"]), "an order without an intent"
            return
        target, position, mid = Fraction(float(decision["target"])), self.position[tick.slot], self.mid[tick.slot]
        wanted, half = Fraction(tick.target), Fraction(self.made.lot) / 2 * mid
        assert abs(target * mid - wanted) <= half + CLOSE * (abs(wanted) + half), "not the nearest lot"
        assert self.near(decision["quantity"], target - position, abs(target))
        failing = self._failing(tick.slot, target)
        assert decision["failed"] >= 0 or decision["order"]
        if decision["order"]:
            self.orders += 1
            assert decision["order"] == self.orders and decision["failed"] == -1
            assert 1 not in failing.values(), f"an order passes {failing}"
            quantity = float(decision["quantity"])
            self.open[tick.slot] = Order(self.orders, quantity, tick.ts, 1_000_000 + number, tick.mid)
        else:
            first = GATES[decision["failed"]]
            assert failing[first] >= 0, f"{first} stops an order that is within it"
            assert all(failing[gate] <= 0 for gate in GATES[:decision["failed"]]), "an earlier gate was passed by"
            if first == "quantity":  # the position already is the target: what is under way is not wanted
                self.open.pop(tick.slot, None)

    def _failing(self, slot: int, target: Fraction) -> dict[str, int]:
        """For each gate 1 where it must stop the order, -1 where it must not, 0 where rounding decides."""
        position, mid = self.position[slot], self.mid[slot]
        slack = CLOSE * (self.moved[slot] + abs(target))
        reduces = target * position >= 0 and abs(target) <= abs(position)
        unclear = abs(abs(target) - abs(position)) <= slack
        limits = {"position": self.above(abs(target * mid), self.made.max_position),
                  "gross": self.above(self._committed(slot) + abs(target * mid), self.made.max_gross),
                  "account_cvar": self.above(self.cvar, self.made.cvar_limit)}
        held = {name: 0 if unclear else -1 if reduces else found for name, found in limits.items() if found >= 0}
        nothing = self.made.latency_ns > 0 and abs(target - position) <= slack
        return dict.fromkeys(GATES, -1) | {
            "halt": 1 if self.state == HALTED else -1,
            "reducing": -1 if self.state == ACTIVE else 0 if unclear else -1 if reduces else 1,
            "quantity": 0 if nothing else -1} | held

    def _committed(self, but: int) -> Fraction:
        """Absolute value of the other positions, or of what orders under way would make of them where that is more."""
        total = Fraction(0)
        for slot in set(self.mid) - {but}:
            after = self.position[slot] + (Fraction(self.open[slot].quantity) if slot in self.open else 0)
            total += max(abs(self.position[slot]), abs(after)) * self.mid[slot]
        return total

    def _mark(self, tick: Tick, mark: Any) -> None:
        values = [self.position[slot] * self.mid[slot] for slot in self.mid]
        gross = sum(map(abs, values), Fraction(0))
        assert self.near(mark["cash"], self.cash) and self.near(mark["equity"], self.equity)
        assert self.near(mark["net"], sum(values, Fraction(0))) and self.near(mark["gross"], gross)
        assert self.near(mark["position"], self.position[tick.slot])
        assert (mark["orders"], mark["fills"]) == (self.orders, len(self.filled))
        assert mark["state"] >= self.state if self.state == HALTED else mark["state"] in (ACTIVE, REDUCING, HALTED)
        self.peak = max(self.peak, self.equity)
        assert self.near(mark["peak_equity"], self.peak)
        assert self.near(mark["account_cvar_975"], self.cvar)
        self.state = int(mark["state"])


cents = st.integers(100, 1_000_000)
targets = st.floats(-300_000, 300_000) | st.sampled_from([0.0, -0.0, 1e12, -1e12, 5e-324, 0.5, 49_999.999])


class LedgerStates(RuleBasedStateMachine):
    """Histories of an account. After every step all that the stage said of it is checked."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Tick] = []
        self.ts = 1_700_000_000_000 * MS
        self.quote = dict.fromkeys(range(SYMBOLS), (99.99, 100.01))
        self.said: dict[str, list[Any]] = {name: [] for name in RECORDS}

    @initialize(price=st.sampled_from(["mid", "cross"]), latency=st.sampled_from([0, 5 * MS]),
                fee=st.sampled_from([0.0, 2.5, 80.0]), lot=st.sampled_from([1.0, 0.01, 1e-4]),
                limit=st.sampled_from([(UNLIMITED, UNLIMITED), (150_000.0, 250_000.0)]),
                breaker=st.sampled_from([(0.05, 0.10), (0.05, UNLIMITED), (UNLIMITED, UNLIMITED)]),
                cvar=st.sampled_from([UNLIMITED, 200.0]))
    def open_account(self, price: Any, latency: int, fee: float, lot: float, limit: tuple[float, float],
                     breaker: tuple[float, float], cvar: float) -> None:
        made = Fills(price=price, latency_ns=latency, fee_bps=fee, lot=lot, mark_every_ns=0, bar_ns=MS,
                     max_position=limit[0], max_gross=limit[1], reduce_drawdown=breaker[0], halt_drawdown=breaker[1],
                     cvar_limit=cvar)
        self.stage = fills.stage(profiles.DEFAULT.model_copy(update={"fills": made}))
        self.state: StageState = kit.state(self.stage, SYMBOLS)
        self.model = Model(made)

    def _tick(self, slot: int, gap: int, target: float | None = None) -> Tick:
        self.ts += gap * MS
        return Tick(slot, self.ts, *self.quote[slot], target)

    def _take(self, ticks: list[Tick]) -> None:
        first = len(self.history)
        found = self.stage.step(self.state, columns(ticks, first))
        self.history += ticks
        for row, tick in enumerate(ticks):
            self.model.check(tick, first + row, *taken(found, row))
        for name in RECORDS:
            self.said[name].append(_numbered(found[name], first))

    @rule(slot=st.integers(0, 2), gap=st.integers(0, 9), bid=cents, width=st.integers(0, 5))
    def quote_moves(self, slot: int, gap: int, bid: int, width: int) -> None:
        """Any new price, most of them a jump."""
        self.quote[slot] = (bid / 100, (bid + width) / 100)
        self._take([self._tick(slot, gap)])

    @rule(slot=st.integers(0, 2), gap=st.integers(0, 9), goal=targets)
    def target_changes(self, slot: int, gap: int, goal: float) -> None:
        """An intent at the price that is."""
        self._take([self._tick(slot, gap, goal)])

    @rule(slot=st.integers(0, 2), share=st.floats(0.5, 1.1))
    def position_is_scaled(self, slot: int, share: float) -> None:
        """A target close to what is held: reduces, or hardly does not."""
        held = float(self.model.position[slot] * self.model.mid[slot])
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
        bid = round(float(self.model.mid[slot] + missing / self.model.position[slot]) * 100) / 100
        if 1 <= bid <= 1_000_000:
            self.quote[slot] = (bid, bid + 0.01)
        self._take([self._tick(slot, 1), *(self._tick(slot, 1, goal) for goal in goals)])

    @rule(moves=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-30, 30), st.none() | targets),
                         min_size=2, max_size=60))
    def many_ticks(self, moves: list[tuple[int, int, int, float | None]]) -> None:
        """A micro-batch; long ones also close the bars that make the account's CVaR speak."""
        ticks = []
        for slot, gap, step, target in moves:
            bid = max(1, round(self.quote[slot][0] * 100) + step) / 100
            self.quote[slot] = (bid, bid + 0.02)
            ticks.append(self._tick(slot, gap, target))
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
            assert self.model.near(self.state.symbols[slot]["position"], exact)


def _numbered(records: np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    """Records whose `row`, where they have one, counts from the start of the history."""
    held = records.copy()
    if "row" in (held.dtype.names or ()):
        held["row"] += first
    return held


# Shrinking a history of hundreds of ticks takes minutes; what failed is printed whole as it is.
LedgerStates.TestCase.settings = settings(max_examples=60, derandomize=True, stateful_step_count=30, deadline=None,
                                          phases=(Phase.explicit, Phase.reuse, Phase.generate))
TestLedgerStates = LedgerStates.TestCase
