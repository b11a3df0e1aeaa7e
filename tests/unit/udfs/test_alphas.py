"""Alphas: scores in bounds; beta, sigma and confidence against a NumPy replay of what was known at each tick."""
from __future__ import annotations

import doctest
import pickle
import re
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.linear_model import BayesianLinearRegression
from scipy.linalg import solve
from scipy.stats import norm

from tests.kit import quotes, run, same, state, untraded
from udfs import alphas as functions
from udfs import profiles
from udfs.alphas import REGISTRY, Alpha
from udfs.formulas import Ufunc
from udfs.profiles import Alphas
from udfs.stages import alphas, features

TWELVE = profiles.DEFAULT.alphas.names
NAMES = ("book_pressure", "order_flow", "mean_reversion_50")
HORIZON = 8


def stage(memory: int = 5_000, names: tuple[str, ...] = NAMES) -> Any:
    """The alphas stage with a short horizon."""
    made = Alphas(names=names, horizon=HORIZON, memory=memory)
    return alphas.stage(profiles.DEFAULT.model_copy(update={"alphas": made}))


@pytest.fixture(scope="module")
def ticks() -> dict:
    return run(features.stage(profiles.DEFAULT), quotes(700, 2, seed=4))


def scores(f: dict[str, Any]) -> np.ndarray:
    """The three alphas again, in NumPy: rows by alphas."""
    return np.stack([np.tanh(f["imbalance"]), np.tanh(3 * f["order_flow"]), -np.clip(f["zscore"] / 3, -1, 1)], axis=1)


@pytest.mark.parametrize("symbol", [0, 1])
def test_forecasts_are_regressions_on_what_had_come_true(ticks: dict, symbol: int) -> None:
    """With memory longer than the data every average is plain, so each prefix is one division."""
    found = run(stage(), ticks)
    at = np.flatnonzero(ticks["slot"] == symbol)
    mid, volatility, x = ticks["mid"][at], ticks["volatility"][at], scores({n: ticks[n][at] for n in features.OUT})
    mu = np.zeros_like(x)
    for t in range(len(at)):
        known = max(0, t - HORIZON + 1)
        y = np.log(mid[HORIZON:HORIZON + known] / mid[:known])[:, None]
        spoke = x[:known] != 0
        evidence = spoke.sum(0)
        square = (x[:known] ** 2).sum(0)
        beta = np.divide((x[:known] * y).sum(0), square, out=np.zeros(3), where=square > 0)
        mu[t] = beta * evidence / (evidence + 200) * x[t]
        error = (spoke * (y - mu[:known]) ** 2).sum(0)
        sigma = np.sqrt((error + 200 * volatility[t] ** 2 * HORIZON) / (evidence + 200))
        nothing = np.sqrt(((y**2).sum() + 200 * volatility[t] ** 2 * HORIZON) / (known + 200))
        sigma = np.where(x[t] == 0, nothing, sigma)
        np.testing.assert_allclose(found["signals.score"][at[t]], x[t], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found["signals.mu"][at[t]], mu[t], rtol=1e-7, atol=1e-15)
        np.testing.assert_allclose(found["signals.sigma"][at[t]], sigma, rtol=1e-7, atol=1e-15)
        if (sigma > 0).all():
            wanted = norm.cdf(np.abs(mu[t]) / sigma)
            np.testing.assert_allclose(found["signals.confidence"][at[t]], wanted, rtol=1e-7)


def outcomes(ticks: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Regressors of a fitted alpha and realised returns, one symbol's, rows by terms."""
    alpha = REGISTRY[name]
    x = np.stack([alpha.over(float(term), *(ticks[i] for i in alpha.inputs)) for term in range(alpha.terms)], axis=1)
    return x, np.log(ticks["mid"][HORIZON:] / ticks["mid"][:-HORIZON])


FITTED = [name for name, alpha in REGISTRY.items() if alpha.terms]


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_alpha_has_the_weights_of_river(name: str) -> None:
    """With memory longer than the data it is Bayesian regression with prior precision RIDGE and unit noise.

    river 0.23 starts with the inverse of any other precision than 1, so the regressors are scaled instead.
    """
    ticks = run(features.stage(profiles.DEFAULT), quotes(300, 1, seed=6))
    x, y = outcomes(ticks, name)
    made, oracle, scale = stage(names=(name,)), BayesianLinearRegression(), np.sqrt(alphas.RIDGE)
    for outcome, realised in enumerate(y, 1):
        oracle.learn_one(dict(enumerate(x[outcome - 1] / scale)), realised)
        if outcome % alphas.REFIT == 0:
            held = state(made)
            run(made, {k: v[:outcome + HORIZON] for k, v in ticks.items() if np.ndim(v)}, held=held)
            wanted = [oracle._m[term] / scale for term in range(x.shape[1])]
            np.testing.assert_allclose(held.symbols[name]["weights"][0], wanted, rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_alpha_forgets_with_its_memory(name: str) -> None:
    """After `memory` outcomes the weights are those of least squares with exponential weights, by SciPy."""
    ticks, memory = run(features.stage(profiles.DEFAULT), quotes(464, 1, seed=7)), 100
    x, y = outcomes(ticks, name)
    held = state(stage(memory, (name,)))
    found = run(stage(memory, (name,)), ticks, held=held)
    weight = np.ones(len(y))
    for n in range(1, len(y)):
        step = max(1 / memory, 1 / (n + 1))
        weight[:n] *= 1 - step
        weight[n] = step
    gram = (x[:len(y)].T * weight) @ x[:len(y)] + alphas.RIDGE / memory * np.eye(x.shape[1])
    wanted = solve(gram, x[:len(y)].T @ (weight * y), assume_a="pos")
    assert len(y) % alphas.REFIT == 0
    np.testing.assert_allclose(held.symbols[name]["weights"][0], wanted, rtol=1e-7)
    usual = np.sqrt((weight * y * y).sum())
    np.testing.assert_allclose(found["signals.score"][-1, 0], np.tanh(x[-1] @ wanted / usual), rtol=1e-7)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_ridge_weights_solve_the_normal_equations(terms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, terms)) * rng.choice([0.0, 1.0, 1e3], terms)
    moments, factor, weights = rng.normal(size=terms), np.empty((terms, terms)), np.empty(terms)
    alphas.solve(np.tril(x.T @ x), moments, 0.5, factor, weights)
    np.testing.assert_allclose(weights, solve(x.T @ x + 0.5 * np.eye(terms), moments), rtol=1e-6, atol=1e-12)


def test_memory_forgets() -> None:
    """After `memory` outcomes the averages are exponential: an old shock fades with (1 - 1/memory) to the n."""
    ticks = run(features.stage(profiles.DEFAULT), quotes(1_500, 1))
    ticks["mid"][0] *= 3
    short, long = run(stage(100), ticks), run(stage(5_000), ticks)
    assert short["signals.sigma"][-1, 0] < 0.2 * long["signals.sigma"][-1, 0]


def test_a_forecast_knows_nothing_of_later_ticks(ticks: dict) -> None:
    whole = run(stage(), ticks)
    part = run(stage(), {n: v[:400] if np.ndim(v) else v for n, v in ticks.items()})
    for name in ("signals.mu", "signals.sigma", "signals.confidence"):
        np.testing.assert_array_equal(part[name], whole[name][:400])


def test_cuts_change_no_bit(ticks: dict) -> None:
    whole = run(stage(names=TWELVE), ticks)
    same(run(stage(names=TWELVE), ticks, range(11, 700, 11)), whole)
    same(run(stage(names=TWELVE), ticks, range(1, 700)), whole)


def test_the_default_profile_has_twelve_and_each_says_where_it_comes_from() -> None:
    assert len(set(TWELVE)) == 12
    for name in TWELVE:
        text = vars(functions)[name].__doc__
        assert re.search(r"\(\d{4}\)", text) and ">>>" in text, name
    assert doctest.testmod(functions).failed == 0


def test_no_two_alphas_say_the_same(ticks: dict) -> None:
    found = run(stage(names=TWELVE), ticks)["signals.score"][200:]
    correlation = np.corrcoef(found.T)[np.triu_indices(12, 1)]
    assert np.abs(correlation).max() < 0.95


def untouched(found: dict[str, Any], name: str) -> bool:
    """Whether an alpha never said anything: no score, no forecast, no confidence."""
    k = TWELVE.index(name)
    said = any(found[f"signals.{column}"][:, k].any() for column in ("score", "mu"))
    return not said and bool((found["signals.confidence"][:, k] == 0.5).all())


def test_an_alpha_that_knows_nothing_says_so() -> None:
    ticks = run(features.stage(profiles.DEFAULT), quotes(400, 1, seed=8) | untraded(400))
    found = run(stage(names=TWELVE), ticks)
    assert untouched(found, "trade_flow") and untouched(found, "lead_lag")
    assert not untouched(found, "book_pressure")
    informed = found["signals.sigma"][-1, TWELVE.index("book_pressure")]
    y = np.log(ticks["mid"][HORIZON:] / ticks["mid"][:-HORIZON])
    nothing = np.sqrt((len(y) * (y**2).mean() + 200 * ticks["volatility"][-1] ** 2 * HORIZON) / (len(y) + 200))
    assert found["signals.sigma"][-1, TWELVE.index("lead_lag")] == pytest.approx(nothing, rel=1e-9)
    assert informed > 0


def test_equal_alphas_forecast_the_same(ticks: dict) -> None:
    found = run(stage(names=("order_flow", "order_flow")), ticks)
    for name in ("score", "mu", "sigma", "confidence"):
        np.testing.assert_array_equal(found[f"signals.{name}"][:, 0], found[f"signals.{name}"][:, 1])


def test_one_tick_none_and_a_price_that_stands_still() -> None:
    for rows in (0, 1, 300):
        still = quotes(rows, 1) | untraded(rows) | {"bid": np.full(rows, 9.9), "ask": np.full(rows, 10.1)}
        found = run(stage(names=TWELVE), run(features.stage(profiles.DEFAULT), still))
        assert found["signals.mu"].shape == (rows, 12)
        assert not found["signals.mu"].any() and not found["signals.sigma"].any()
        assert (found["signals.confidence"] == 0.5).all()


number = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-9, 1e6)
DRAWN = dict.fromkeys(("imbalance", "order_flow"), st.floats(-1, 1)) | dict.fromkeys(
    ("trade_flow", "zscore", "trend", "recent_return", "leader_return"), number)
"""What features may be; those not named here are positive."""


@settings(max_examples=200, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", REGISTRY)
def test_every_alpha_is_finite_and_in_bounds(name: str, data: st.DataObject) -> None:
    alpha = REGISTRY[name]
    inputs = [data.draw(DRAWN.get(i, positive), label=i) for i in alpha.inputs]
    assert all(-1.0 <= float(alpha.over(*term, *inputs)) <= 1.0 for term in terms(alpha))


def terms(alpha: Alpha) -> list[tuple[float, ...]]:
    """First arguments of an alpha's function: the regressors' numbers, or none."""
    return [(float(term),) for term in range(alpha.terms)] if alpha.terms else [()]


def test_an_unknown_alpha_is_named() -> None:
    wrong = profiles.DEFAULT.model_copy(update={"alphas": Alphas(names=("tea_leaves",))})
    with pytest.raises(KeyError, match="tea_leaves"):
        alphas.stage(wrong)


def weighted(bid: float, ask: float) -> float:
    return 0.25 * bid + 0.75 * ask


def test_a_function_is_compiled_when_it_is_used_and_travels_by_name_or_whole() -> None:
    registered, own = REGISTRY["book_pressure"].compiled, Ufunc(weighted)
    by_name = cloudpickle.dumps(registered)
    assert pickle.loads(by_name) is registered and len(by_name) < 200
    assert "_compiled" not in vars(own) and own(1.0, 2.0) == 1.75 and "_compiled" in vars(own)
    whole = pickle.loads(cloudpickle.dumps(own))
    assert whole.inputs == ("bid", "ask") and "_compiled" not in vars(whole)
    np.testing.assert_array_equal(whole.over(np.array([1.0, 3.0]), np.array([2.0, np.nan])), [1.75, np.nan])
