"""The greedy choice against every subset, NumPy's determinants and its promises."""
from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs import joint
from udfs.selection import greedy, unit_returns, worth

BOUND = 1 - 1 / np.e


def opportunities(count: int, seed: int, factors: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and unit vectors of returns that a few factors move."""
    rng = np.random.default_rng(seed)
    loads = rng.normal(size=(count, factors))
    units = loads @ rng.normal(size=(factors, 50)) + rng.uniform(0.1, 2) * rng.normal(size=(count, 50))
    return rng.uniform(0, 10, count), units / np.linalg.norm(units, axis=1, keepdims=True)


def best(weights: np.ndarray, units: np.ndarray, size: int, penalty: float) -> float:
    """Worth of the best set, by trying them all."""
    sets = (list(chosen) for chosen in combinations(range(len(weights)), size))
    return max(worth(weights[chosen], units[chosen], penalty) for chosen in sets)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 1.0]))
def test_gains_are_the_worth_and_within_the_bound(count: int, size: int, seed: int, penalty: float) -> None:
    weights, units = opportunities(count, seed)
    places, gains = greedy(weights, units, size, penalty)
    assert len(set(places.tolist())) == len(places) == min(size, count)
    assert gains.sum() == pytest.approx(worth(weights[places], units[places], penalty), rel=1e-9)
    assert (np.diff(gains) <= 1e-9).all()  # submodular: no later choice adds more than an earlier one
    assert gains.sum() >= BOUND * best(weights, units, min(size, count), penalty) - 1e-9


def test_no_penalty_ranks_by_weight() -> None:
    weights, units = opportunities(30, 1)
    assert greedy(weights, units, 30, 0.0)[0].tolist() == np.argsort(-weights).tolist()


def test_a_longer_list_begins_with_the_shorter() -> None:
    weights, units = opportunities(20, 2)
    assert greedy(weights, units, 12, 1.0)[0][:5].tolist() == greedy(weights, units, 5, 1.0)[0].tolist()


@pytest.mark.parametrize(("weights", "wanted"), [
    ([], []), ([3.0], [0]), ([0.0, 0.0], []), ([np.nan, 1.0], [1]), ([2.0, 2.0, 2.0], [0, 1, 2])])
def test_none_one_nothing_and_all_equal(weights: list[float], wanted: list[int]) -> None:
    places, gains = greedy(np.array(weights), np.eye(max(1, len(weights)))[:len(weights)], 3, 1.0)
    assert places.tolist() == wanted and (gains > 0).all()


def test_exact_twins_do_not_break_the_factor() -> None:
    places, gains = greedy(np.full(6, 1e6), np.tile([1.0, 0.0], (6, 1)), 6, 1.0)
    assert places.tolist() == list(range(6)) and np.isfinite(gains).all() and (gains >= 0).all()


def test_unit_returns_are_cosines_of_joint_bars() -> None:
    rng = np.random.default_rng(5)
    held, out = joint.state(50, 3), np.zeros((3, 50))
    for bar in range(1, 90):
        for slot in (0, 1):
            joint.update(held.symbols[slot], held.shared[0], bar, 100 * np.exp(rng.normal(0, 0.01)))
        joint.update(held.symbols[2], held.shared[0], bar, 7.0)
    for slot in range(3):
        unit_returns(held.symbols[slot], held.shared[0], out[slot])
    expected = joint.correlation(held.symbols, held.shared[0], 0, 1)
    assert out[0] @ out[1] == pytest.approx(expected, rel=1e-9) and out[0] @ out[0] == pytest.approx(1.0)
    assert not out[2].any()  # a price that stands still is correlated with nothing
