"""Ensemble: weights, total variance and quantiles against NumPy and SciPy."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from tests.kit import quotes, run, same
from udfs import profiles
from udfs.profiles import Ensemble
from udfs.stages import alphas, ensemble, features

ROWS = 1_500


@pytest.fixture(scope="module")
def signals() -> dict:
    ticks = run(features.stage(profiles.DEFAULT), quotes(ROWS, 2, seed=5))
    return run(alphas.stage(profiles.DEFAULT), ticks)


NORMAL = profiles.DEFAULT.model_copy(update={"ensemble": Ensemble()})


@pytest.fixture(scope="module")
def found(signals: dict) -> dict:
    return run(ensemble.stage(NORMAL), signals)


def test_weights_sum_to_one_and_variance_is_total(signals: dict, found: dict) -> None:
    w, mu, sigma = found["weights"], signals["signals.mu"], signals["signals.sigma"]
    np.testing.assert_allclose(w.sum(1), 1.0, rtol=1e-12)
    assert (w >= 0).all()
    blend = (w * mu).sum(1)
    np.testing.assert_allclose(found["mu"], blend, rtol=1e-9, atol=1e-18)
    within, between = (w * sigma**2).sum(1), (w * (mu - blend[:, None]) ** 2).sum(1)
    np.testing.assert_allclose(found["sigma"] ** 2, within + between, rtol=1e-9, atol=1e-30)


@pytest.mark.parametrize("symbol", [0, 1])
def test_weights_are_inverse_errors_of_the_regime(signals: dict, found: dict, symbol: int) -> None:
    horizon = profiles.DEFAULT.alphas.horizon
    at = np.flatnonzero(signals["slot"] == symbol)
    mid, regime, mu = signals["mid"][at], signals["regime"][at], signals["signals.mu"][at]
    assert len(set(regime.tolist())) > 1
    for t in range(len(at)):
        known = np.arange(max(0, t - horizon + 1))
        in_regime = known[regime[known] == regime[t]]
        realised = np.log(mid[in_regime + horizon] / mid[in_regime])[:, None]
        error = ((realised - mu[in_regime]) ** 2).mean(0) if len(in_regime) else np.zeros(mu.shape[1])
        error = np.where(error > 0, error, signals["signals.sigma"][at[t]] ** 2)
        inverse = np.divide(1, error, out=np.ones_like(error), where=error > 0)
        np.testing.assert_allclose(found["weights"][at[t]], inverse / inverse.sum(), rtol=1e-6)


def test_probability_and_quantiles_are_the_normal_law(found: dict) -> None:
    some = found["sigma"] > 0
    mu, sigma = found["mu"][some], found["sigma"][some]
    np.testing.assert_allclose(found["p_up"][some], norm.cdf(mu / sigma), rtol=1e-9)
    for name, level in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
        np.testing.assert_allclose(found[name][some], norm.ppf(level, mu, sigma), rtol=1e-9, atol=1e-18)


def test_score_is_zero_until_warm_then_follows_p_up(found: dict) -> None:
    cold = found["history"] < profiles.DEFAULT.ensemble.warm_up
    assert cold.any() and not cold.all()
    assert not found["score"][cold].any()
    np.testing.assert_allclose(found["score"][~cold], 2 * found["p_up"][~cold] - 1, atol=1e-15)


def test_top_alpha_pulled_hardest_the_way_the_score_went(signals: dict, found: dict) -> None:
    pull = found["weights"] * signals["signals.mu"] * found["score"][:, None]
    best = pull.argmax(1)
    wanted = np.where(pull.max(1) > 0, best, -1)
    np.testing.assert_array_equal(found["top_alpha"], wanted)


def test_logistic_blend_has_fixed_weights(signals: dict) -> None:
    weights = tuple(np.linspace(-1, 2, len(profiles.DEFAULT.alphas.names)).tolist())
    fixed = Ensemble(blend="logistic", weights=weights, warm_up=0)
    found = run(ensemble.stage(profiles.DEFAULT.model_copy(update={"ensemble": fixed})), signals)
    wanted = np.tanh((signals["signals.score"] * weights).sum(1) / 2)
    np.testing.assert_allclose(found["score"], wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["p_up"], (1 + wanted) / 2, rtol=1e-9)


def test_cuts_change_no_bit(signals: dict, found: dict) -> None:
    same(run(ensemble.stage(NORMAL), signals, range(13, ROWS, 13)), found)


def test_adaptive_intervals_change_neither_weights_nor_mu(signals: dict, found: dict) -> None:
    adaptive = run(ensemble.stage(profiles.DEFAULT), signals)
    for name in ("weights", "mu", "q50"):
        np.testing.assert_array_equal(adaptive[name], found[name])
    assert (adaptive["sigma"] != found["sigma"]).any()


def test_signals_of_another_profile_are_refused(signals: dict) -> None:
    wrong: dict[str, Any] = signals | {"signals.count": np.full(ROWS, 3)}
    with pytest.raises(ValueError, match=r"12 alphas, a message of signals\.v1 has 3"):
        run(ensemble.stage(profiles.DEFAULT), wrong)


def test_weights_must_be_one_for_each_alpha() -> None:
    wrong = Ensemble(blend="logistic", weights=(1.0,))
    with pytest.raises(ValueError, match="12 alphas but 1 weights"):
        ensemble.stage(profiles.DEFAULT.model_copy(update={"ensemble": wrong}))
