"""Adaptive intervals: coverage, no crossing, warm-up, a doubling of volatility, any cut, bad input."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit import run, same, state
from udfs import profiles
from udfs.conformal import Z95
from udfs.stages import ensemble

HORIZON = profiles.DEFAULT.alphas.horizon
ALPHAS = len(profiles.DEFAULT.alphas.names)


def walk(volatility: np.ndarray, symbols: int, seed: int = 1, spread: float = 0.02) -> dict[str, Any]:
    """Signals that foretell nothing of random walks with Student t(4) steps of that volatility, one row a symbol each.
    """
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(4, (len(volatility), symbols)) / np.sqrt(2) * volatility[:, None]
    mid = 100 * np.exp(np.cumsum(steps, 0)).ravel()
    rows = len(mid)
    mu = rng.normal(0, 0.1, (rows, ALPHAS)) * np.repeat(volatility, symbols)[:, None]
    return columns(np.tile(np.arange(symbols), len(volatility)), mid, spread, mu, rng.integers(0, 3, rows))


def columns(slot: np.ndarray, mid: np.ndarray, spread: float, mu: np.ndarray, regime: np.ndarray) -> dict[str, Any]:
    rows = len(slot)
    return {"slot": slot, "mid": mid, "bid": mid - spread / 2, "ask": mid + spread / 2, "regime": regime,
            "volatility": np.full(rows, 1e-4), "history": np.arange(rows), "signals.count": np.full(rows, ALPHAS),
            "signals.score": mu, "signals.mu": mu, "signals.sigma": np.full((rows, ALPHAS), 1e-3),
            "signals.confidence": np.full((rows, ALPHAS), 0.5), "signals.horizon": np.full((rows, ALPHAS), HORIZON)}


def covered(signals: dict[str, Any], symbols: int) -> np.ndarray:
    """(ticks, symbols): whether the outcome lay inside; the last ones have none."""
    stage = ensemble.stage(profiles.DEFAULT)
    found = run(stage, signals, held=state(stage, max(16, symbols)))
    mid, low, high = (held.reshape(-1, symbols) for held in (signals["mid"], found["q05"], found["q95"]))
    realised = np.log(mid[HORIZON:] / mid[:-HORIZON])
    return (realised >= low[:-HORIZON]) & (realised <= high[:-HORIZON])


def test_ninety_per_cent_are_covered_in_every_regime() -> None:
    signals = walk(np.full(4_000, 1e-4), 10)
    inside = covered(signals, 10)
    regime = signals["regime"].reshape(-1, 10)[:-HORIZON]
    for k in range(3):
        assert 0.88 <= inside[regime == k].mean() <= 0.92


def test_coverage_is_back_after_volatility_doubles() -> None:
    inside = covered(walk(np.repeat([1e-4, 2e-4], 1_500), 150, seed=3), 150)
    assert 0.88 <= inside[1_500:2_000].mean() <= 0.92
    assert 0.88 <= inside[2_000:2_500].mean() <= 0.92


def test_the_first_intervals_are_wide() -> None:
    inside = covered(walk(np.full(200, 1e-4), 100, seed=4), 100)
    assert inside[:HORIZON].mean() > 0.98


def test_without_history_the_half_spread_is_the_volatility() -> None:
    one = columns(np.zeros(1, int), np.array([100.0]), 0.02, np.zeros((1, ALPHAS)), np.ones(1, int))
    found = run(ensemble.stage(profiles.DEFAULT), one)
    assert found["sigma"][0] == pytest.approx(1e-4 * np.sqrt(HORIZON))
    assert found["q95"][0] == pytest.approx(2 * Z95 * found["sigma"][0])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 599), max_size=30), st.sampled_from([0.0, 1e-9, 1e-4, 0.05]))
def test_cuts_change_no_bit_and_quantiles_never_cross(seed: int, cuts: list[int], volatility: float) -> None:
    signals = walk(np.full(200, volatility), 3, seed)
    stage = ensemble.stage(profiles.DEFAULT)
    whole = run(stage, signals)
    same(run(stage, signals, sorted(set(cuts))), whole)
    assert (whole["q05"] <= whole["q50"]).all() and (whole["q50"] <= whole["q95"]).all()
    assert all(np.isfinite(whole[name]).all() for name in ensemble.OUT)


def test_disagreement_widens() -> None:
    mid = 100 + np.zeros(1)
    apart = np.linspace(-1e-2, 1e-2, ALPHAS)[None]
    some = [run(ensemble.stage(profiles.DEFAULT), columns(np.zeros(1, int), mid, 0.02, mu, np.ones(1, int)))["sigma"][0]
            for mu in (np.zeros((1, ALPHAS)), apart)]
    assert some[1] ** 2 - some[0] ** 2 == pytest.approx(apart.var())


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_a_price_that_stands_still_is_certain_of_itself(spread: float) -> None:
    rows = 3_000
    still = columns(np.zeros(rows, int), np.full(rows, 50.0), spread, np.zeros((rows, ALPHAS)), np.ones(rows, int))
    found = run(ensemble.stage(profiles.DEFAULT), still)
    assert all(np.isfinite(found[name]).all() for name in ensemble.OUT)
    assert found["p_up"].tolist() == [0.5] * rows
    assert found["sigma"][-1] <= 1e-6 and (found["q05"] <= 0).all() and (found["q95"] >= 0).all()


def test_one_jump_does_not_widen_the_next_thousand_intervals() -> None:
    rng = np.random.default_rng(5)
    steps = rng.normal(0, 1e-4, 4_000)
    steps[2_000] = 0.1
    mu, slot = np.zeros((4_000, ALPHAS)), np.zeros(4_000, int)
    found = run(ensemble.stage(profiles.DEFAULT), columns(slot, 100 * np.exp(np.cumsum(steps)), 0.02, mu, slot))
    assert found["sigma"][-1] < 3 * found["sigma"][1_999]


def test_an_empty_micro_batch_is_nothing() -> None:
    signals = {name: held[:0] for name, held in walk(np.full(2, 1e-4), 1).items()}
    assert all(len(held) == 0 for held in ensemble.stage(profiles.DEFAULT).step(
        state(ensemble.stage(profiles.DEFAULT)), signals).values())
