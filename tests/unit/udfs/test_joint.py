"""Joint returns on common bars against pandas and NumPy over every prefix, and account risk against a sort."""
from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs import joint
from udfs.stage import StageState

BARS = 40


def feed(held: StageState, slot: np.ndarray, time: np.ndarray, mid: np.ndarray) -> None:
    """Ticks one after another."""
    for k, bar, price in zip(slot.tolist(), time.tolist(), mid.tolist(), strict=True):
        joint.update(held.symbols[k], held.shared[0], bar, price)


def ticks(rows: int, symbols: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slots, bar numbers with gaps, and prices: some symbols start late, some fall silent."""
    rng = np.random.default_rng(seed)
    slot = rng.integers(0, symbols, rows)
    slot[:rows // 4] = 0
    slot[rows // 2:3 * rows // 4] %= max(1, symbols - 1)
    time = 1_000 + np.cumsum(rng.choice([0, 0, 1, 1, 2, 60], rows))
    return slot, time, 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, rows)) + slot)


def panel(slot: np.ndarray, time: np.ndarray, mid: np.ndarray) -> pd.DataFrame:
    """Returns of closed bars by pandas: last mid of each bar that had a tick, carried forward; NaN before the first."""
    last = pd.DataFrame({"slot": slot, "time": time, "mid": mid}).groupby(["time", "slot"])["mid"].last().unstack()
    return last.ffill().pct_change(fill_method=None).iloc[:-1]


def expected(slot: np.ndarray, time: np.ndarray, mid: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Rows of the window that all chosen symbols have."""
    changes = panel(slot, time, mid)
    if not set(chosen) <= set(changes.columns):
        return np.zeros((0, len(chosen)))
    return changes[chosen].iloc[-BARS:].dropna().to_numpy()


@pytest.mark.parametrize("seed", range(4))
def test_every_prefix_against_pandas(seed: int) -> None:
    slot, time, mid = ticks(220, 3, seed)
    held = joint.state(BARS, 3)
    for n in range(len(slot)):
        feed(held, slot[n:n + 1], time[n:n + 1], mid[n:n + 1])
        if n % 7:
            continue
        for chosen in ([0], [0, 1], [2, 0], [0, 1, 2]):
            wanted = expected(slot[:n + 1], time[:n + 1], mid[:n + 1], chosen)
            found = joint.returns(held, np.array(chosen))
            assert found.shape == wanted.shape
            assert found == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_covariance_and_correlation_are_numpys() -> None:
    slot, time, mid = ticks(900, 3, 5)
    held = joint.state(BARS, 3)
    feed(held, slot, time, mid)
    wanted = expected(slot, time, mid, [0, 1, 2])
    found = joint.covariance(held.symbols, held.shared[0], np.arange(3))
    assert found == pytest.approx(np.cov(wanted.T), rel=1e-9, abs=1e-18)
    assert np.linalg.eigvalsh(found).min() > -1e-18
    matrix = [[joint.correlation(held.symbols, held.shared[0], i, j) for j in range(3)] for i in range(3)]
    assert np.array(matrix) == pytest.approx(np.corrcoef(wanted.T), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), tail=st.sampled_from([0.05, 0.025, 0.01]))
def test_account_cvar_is_the_sorted_tail(values: list[float], tail: float) -> None:
    slot, time, mid = ticks(600, 3, 6)
    held = joint.state(BARS, 3)
    feed(held, slot, time, mid)
    worth = np.array(values)
    var, cvar, bars = joint.joint_cvar(held.symbols, held.shared[0], worth, tail)
    chosen = np.flatnonzero(worth).tolist()
    loss = np.sort(-expected(slot, time, mid, chosen) @ worth[chosen])[::-1] if chosen else np.zeros(0)
    assert bars == len(loss)
    if bars:
        least = min(c + np.maximum(loss - c, 0).mean() / tail for c in loss)
        assert cvar == pytest.approx(least, rel=1e-9, abs=1e-9)
        assert var == pytest.approx(loss[int(np.ceil(tail * bars - 1e-9)) - 1], rel=1e-9, abs=1e-9)


def test_a_hedge_has_no_risk_and_diversification_lowers_it() -> None:
    """Two symbols at one price: long one and short the other loses nothing; CVaR is subadditive."""
    rng = np.random.default_rng(7)
    held = joint.state(BARS, 3)
    price = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, (200, 2)), axis=0))
    for bar in range(200):
        feed(held, np.arange(3), np.full(3, bar), price[bar, [0, 0, 1]])
    risk = [joint.joint_cvar(held.symbols, held.shared[0], np.array(v), 0.025)[1]
            for v in ([1e5, -1e5, 0.0], [1e5, 0.0, 0.0], [0.0, 0.0, 1e5], [1e5, 0.0, 1e5])]
    assert risk[0] == pytest.approx(0, abs=1e-9)
    assert 0 < risk[3] < risk[1] + risk[2]
    assert joint.correlation(held.symbols, held.shared[0], 0, 1) == pytest.approx(1)


def test_packed_state_goes_on_as_if_nothing_had_been() -> None:
    """Only the record of the symbol that ticked changes: pages of others may stay unwritten."""
    slot, time, mid = ticks(300, 3, 8)
    held = joint.state(BARS, 3)
    for n in range(300):
        before = held.symbols.tobytes()
        feed(held, slot[n:n + 1], time[n:n + 1], mid[n:n + 1])
        others = np.arange(3) != slot[n]
        assert held.symbols[others].tobytes() == np.frombuffer(before, held.symbols.dtype)[others].tobytes()
    again = StageState(held.symbols.copy(), held.shared.copy())
    for place in (held, again):
        feed(place, slot, time + time[-1], mid)
    assert held.symbols.tobytes() == again.symbols.tobytes()


def test_nothing_seen_one_tick_and_a_price_that_stands_still() -> None:
    held = joint.state(BARS, 2)
    worth = np.array([1e5, 0.0])
    assert joint.joint_cvar(held.symbols, held.shared[0], worth, 0.025) == (0, 0, 0)
    feed(held, np.array([0]), np.array([5]), np.array([100.0]))
    assert joint.joint_cvar(held.symbols, held.shared[0], worth, 0.025) == (0, 0, 0)
    assert joint.joint_cvar(held.symbols, held.shared[0], np.zeros(2), 0.025) == (0, 0, 0)
    assert joint.returns(held, np.array([0, 1])).shape == (0, 2)
    for bar in range(6, 80):
        feed(held, np.array([0, 1]), np.array([bar, bar]), np.array([100.0, 50.0]))
    assert joint.joint_cvar(held.symbols, held.shared[0], worth, 0.025) == (0, 0, BARS)
    assert joint.correlation(held.symbols, held.shared[0], 0, 1) == 0


def test_late_time_counts_to_the_open_bar() -> None:
    held = joint.state(BARS, 1)
    feed(held, np.zeros(4, int), np.array([5, 6, 5, 7]), np.array([100.0, 101.0, 102.0, 103.0]))
    assert joint.returns(held, np.array([0]))[:, 0] == pytest.approx([0.02])
