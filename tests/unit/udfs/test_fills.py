"""Fills: the ledger against a plain Python one, whatever comes; latency, costs and every gate."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.kit import run, same
from udfs import profiles
from udfs.profiles import Fills
from udfs.stages import fills

MS = 1_000_000
NO_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)
Tick = dict[str, Any]
FREE: dict[str, Any] = {"fee_bps": 0.0, "latency_ns": 0, "lot": 1.0, "mark_every_ns": 0, "price": "mid"}


def ledger(ticks: list[Tick], **changed: Any) -> dict[str, Any]:
    """The stage over ticks; a tick has slot, ts (ms), bid, ask and, where it decides, a target notional.

    Of the decisions only those on a target.
    """
    made = Fills(**(FREE | changed))
    stage = fills.stage(profiles.DEFAULT.model_copy(update={"fills": made}))
    found = run(stage, columns(ticks))
    return found | {"decisions": found["decisions"][found["intent"] > 0]}


def columns(ticks: list[Tick]) -> dict[str, Any]:
    """Ticks as the columns that sizing hands on."""
    bid, ask = (np.array([float(t[side]) for t in ticks]) for side in ("bid", "ask"))
    target = [t.get("target") for t in ticks]
    return {"slot": np.array([t["slot"] for t in ticks]), "slots": 1 + max(t["slot"] for t in ticks),
            "ts_order": np.array([t["ts"] * MS for t in ticks]), "bid": bid, "ask": ask, "mid": (bid + ask) / 2,
            "intent": np.array([0 if goal is None else n + 1 for n, goal in enumerate(target)]),
            "intent_id": 1_000_000 + np.arange(len(ticks)),
            "target_notional": np.array([0.0 if goal is None else goal for goal in target]),
            "top_alpha": np.zeros(len(ticks), np.int64)}


def tick(slot: int, ts: int, mid: float, target: float | None = None) -> Tick:
    """A quote two cents wide."""
    return {"slot": slot, "ts": ts, "bid": mid - 0.01, "ask": mid + 0.01, "target": target}


@dataclass
class Plain:
    """The same ledger in plain Python, without limits: lots in a list, first in first out has the same total."""

    made: Fills
    cash: float = 1_000_000.0
    position: dict[int, float] = field(default_factory=dict)
    average: dict[int, float] = field(default_factory=dict)
    mark: dict[int, float] = field(default_factory=dict)
    waiting: dict[int, tuple[int, float]] = field(default_factory=dict)
    done: list[tuple[int, float, float, float, float, float]] = field(default_factory=list)

    def take(self, row: int, t: Tick) -> None:
        """One tick."""
        slot, ts, mid = t["slot"], t["ts"] * MS, (t["bid"] + t["ask"]) / 2
        self.mark[slot] = mid
        if slot in self.waiting and ts >= self.waiting[slot][0]:
            self.fill(row, t, self.waiting.pop(slot)[1])
        if t["target"] is None:
            return
        goal = math.floor(t["target"] / (mid * self.made.lot) + 0.5) * self.made.lot
        quantity = goal - self.position.get(slot, 0.0)
        if self.made.latency_ns == 0:
            self.fill(row, t, quantity)
        elif quantity != 0:
            self.waiting[slot] = ts + self.made.latency_ns, quantity

    def fill(self, row: int, t: Tick, quantity: float) -> None:
        """Book a signed quantity."""
        slot, mid = t["slot"], (t["bid"] + t["ask"]) / 2
        price = mid if self.made.price == "mid" else t["ask"] if quantity > 0 else t["bid"]
        held, average = self.position.get(slot, 0.0), self.average.get(slot, 0.0)
        fee, realized, after = abs(quantity) * price * self.made.fee_bps / 1e4, 0.0, held + quantity
        if held * quantity < 0:
            realized = min(abs(held), abs(quantity)) * (price - average) * math.copysign(1, held)
            average = price if held * after < 0 else average
        elif quantity:
            average = (abs(held) * average + abs(quantity) * price) / abs(after)
        self.cash -= quantity * price + fee
        self.position[slot], self.average[slot] = after, average
        self.done.append((row, quantity, price, fee, self.cash, realized))

    @property
    def equity(self) -> float:
        return self.cash + sum(quantity * self.mark[slot] for slot, quantity in self.position.items())


cents = st.integers(5_000, 20_000)
rows = st.builds(lambda slot, gap, cent, goal: {"slot": slot, "gap": gap, "bid": cent / 100, "ask": (cent + 2) / 100,
                                                "target": goal},
                 st.integers(0, 2), st.integers(0, 9), cents, st.none() | st.floats(-90_000, 90_000))
streams = st.lists(rows, min_size=1, max_size=60)


@settings(max_examples=100, deadline=None, phases=NO_SHRINK)
@given(streams, st.sampled_from(["mid", "cross"]), st.sampled_from([0, 5]), st.sampled_from([1.0, 0.01]),
       st.sampled_from([0.0, 2.5]))
def test_any_stream_gives_the_plain_ledger(
    stream: list[Tick], price: str, latency: int, lot: float, fee: float
) -> None:
    clock = np.cumsum([t["gap"] for t in stream]) + 1
    ticks = [t | {"ts": int(ts)} for t, ts in zip(stream, clock, strict=True)]
    how = {"price": price, "latency_ns": latency * MS, "lot": lot, "fee_bps": fee}
    found, plain = ledger(ticks, **how), Plain(Fills(**(FREE | how)))
    equity = []
    for row, t in enumerate(ticks):
        plain.take(row, t)
        equity.append(plain.equity)
    made = found["fills"]
    assert made["row"].tolist() == [row for row, *_ in plain.done]
    for place, name in enumerate(("quantity", "price", "fee", "cash", "realized"), 1):
        np.testing.assert_allclose(made[name], [row[place] for row in plain.done], rtol=1e-9, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(found["marks"]["equity"], equity, rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(found["marks"]["cash"] + found["marks"]["net"], found["marks"]["equity"], rtol=1e-12)
    unrealized = sum(q * (plain.mark[s] - plain.average[s]) for s, q in plain.position.items())
    profit = made["realized"].sum() - made["fee"].sum() + unrealized
    assert found["marks"]["equity"][-1] - 1_000_000 == pytest.approx(profit, abs=1e-4)


@settings(max_examples=25, deadline=None, phases=NO_SHRINK)
@given(streams, st.integers(1, 9))
def test_cuts_change_no_bit(stream: list[Tick], every: int) -> None:
    ticks = columns([t | {"ts": n + 1} for n, t in enumerate(stream)])
    stage = fills.stage(profiles.DEFAULT)
    whole, pieces = run(stage, ticks), run(stage, ticks, range(every, len(stream), every))
    for name in ("fills", "decisions", "marks"):  # their row numbers start anew in each piece
        for column in whole[name].dtype.names:
            if column != "row":
                np.testing.assert_array_equal(whole[name][column], pieces[name][column])


def test_an_order_waits_for_its_latency_and_pays_the_spread() -> None:
    found = ledger([tick(0, 0, 100.0, 1_000.0), tick(0, 4, 101.0), tick(1, 6, 50.0), tick(0, 7, 102.0)],
                   latency_ns=5 * MS, price="cross", fee_bps=1.0)
    made = found["fills"]
    assert made["row"].tolist() == [3]
    assert (made["price"][0], made["quantity"][0]) == (102.01, 10.0)
    assert made["fee"][0] == pytest.approx(10 * 102.01 * 1e-4)
    assert (made["sent"][0], made["decision_mid"][0]) == (0, 100.0)


def test_a_new_order_replaces_one_that_is_not_due() -> None:
    found = ledger([tick(0, 0, 100.0, 1_000.0), tick(0, 3, 100.0, -500.0), tick(0, 9, 100.0)], latency_ns=5 * MS)
    assert found["fills"]["quantity"].tolist() == [-5.0]
    assert found["fills"]["order"].tolist() == [2]


def test_every_tick_leaves_a_decision_and_an_order_bears_the_id_of_its_intent() -> None:
    ticks = columns([tick(0, 0, 100.0), tick(0, 1, 100.0, 1_000.0), tick(0, 2, 101.0)])
    found = run(fills.stage(profiles.REFERENCE), ticks)
    made = found["decisions"]
    assert made["order"].tolist() == [0, 1, 0]
    assert np.isnan(made["target"][[0, 2]]).all() and made["target"][1] == 10
    assert made["equity"].tolist() == [1_000_000.0, 1_000_000.0, 1_000_010.0]
    assert not made["limit"][[0, 2]].any()
    assert found["fills"]["intent"].tolist() == [1_000_001]


def test_orders_under_way_count_against_gross() -> None:
    """Neither order is filled when the other is judged; together they would pass the limit."""
    found = ledger([tick(0, 0, 100.0, 1_500.0), tick(1, 1, 50.0, -1_000.0), tick(1, 2, 50.0, -500.0),
                    tick(0, 9, 100.0), tick(1, 9, 50.0)], max_gross=2_000.0, latency_ns=5 * MS)
    assert gates(found) == ["", "gross", ""]
    assert found["decisions"]["value"][:, 3].tolist() == [1_500.0, 2_500.0, 2_000.0]
    assert found["marks"]["gross"].max() == 2_000.0


def gates(found: dict[str, Any]) -> list[str]:
    """Name of the gate that each decision failed, empty where it passed."""
    return [fills.GATES[k] if k >= 0 else "" for k in found["decisions"]["failed"].tolist()]


def test_position_limit_stops_more_and_lets_less_through() -> None:
    goals = (1_000.0, 2_500.0, 400.0, -2_500.0)
    found = ledger([tick(0, n, 100.0, goal) for n, goal in enumerate(goals)], max_position=2_000.0)
    assert gates(found) == ["", "position", "", "position"]
    assert found["decisions"]["value"][:, 2].tolist() == [abs(goal) for goal in goals]
    assert found["fills"]["position"].tolist() == [10.0, 4.0]


def test_gross_limit_counts_all_symbols() -> None:
    found = ledger([tick(0, 0, 100.0, 1_000.0), tick(1, 1, 50.0, -1_500.0), tick(1, 2, 50.0, -800.0),
                    tick(0, 3, 100.0, 0.0)], max_gross=2_000.0)
    assert gates(found) == ["", "gross", "", ""]
    assert found["decisions"]["value"][:, 3].tolist() == [1_000.0, 2_500.0, 1_800.0, 800.0]


def test_drawdown_reduces_then_halts_for_good() -> None:
    """1,000,000 all in one symbol: its fall is the account's drawdown."""
    goal = 1_000_000.0
    found = ledger([
        tick(0, 0, 100.0, goal),
        tick(0, 1, 89.0, goal),         # 11 % down: more is refused
        tick(1, 2, 50.0, 1_000.0),      # so is another symbol
        tick(0, 3, 89.0, 800_000.0),    # less passes
        tick(0, 4, 100.0, 850_000.0),   # 1.1 % under the peak: less passes in any state
        tick(1, 5, 50.0, 1_000.0),      # and more again, once the drawdown is gone
        tick(0, 6, 70.0),               # over 15 % down: halted
        tick(0, 7, 70.0, 0.0),          # nothing passes
        tick(0, 8, 130.0, 0.0),         # not even above the old peak
    ], reduce_drawdown=0.10, halt_drawdown=0.15)
    assert gates(found) == ["", "reducing", "reducing", "", "", "", "halt", "halt"]
    assert found["marks"]["state"].tolist()[-3:] == [fills.HALTED] * 3
    assert found["marks"]["drawdown"][1] == pytest.approx(0.11)


def test_account_cvar_gate_speaks_when_warm() -> None:
    """A bar a tick; the value that the gate saw is the tail mean of all closed bars' changes of equity."""
    rng = np.random.default_rng(9)
    ticks = [tick(0, n * 1_000, mid) for n, mid in enumerate(100 + np.cumsum(rng.normal(0, 0.05, 150)))]
    for row, goal in ((0, 10_000.0), (90, 10_100.0), (140, 11_000.0), (141, 5_000.0)):
        ticks[row]["target"] = goal
    found = ledger(ticks, cvar_limit=5.0)
    assert gates(found) == ["", "", "account_cvar", ""]
    changes = np.sort(np.diff(found["marks"]["equity"][:140]))
    rest = 0.025 * 139 - 3
    wanted = -(changes[:3].sum() + rest * changes[3]) / (0.025 * 139)
    assert found["decisions"]["value"][:3, 4] == pytest.approx([0.0, 0.0, wanted], rel=1e-6)


def test_nothing_to_do_is_a_gate_where_orders_take_time() -> None:
    found = ledger([tick(0, 0, 100.0, 10.0), tick(0, 1, 100.0, 20.0)], latency_ns=MS)
    assert gates(found) == ["quantity", "quantity"]
    assert not len(found["fills"])


def test_marks_come_by_the_clock_of_the_log_and_after_fills() -> None:
    ticks = [tick(0, n * 30, 100.0) for n in range(20)]
    ticks[7]["target"] = 1_000.0
    found = ledger(ticks, mark_every_ns=100 * MS)
    assert found["marks"]["row"].tolist() == [4, 7, 10, 14, 17]
    same({"x": found["marks"]["fills"]}, {"x": np.array([0, 1, 1, 1, 1])})
