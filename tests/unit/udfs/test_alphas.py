"""Alphas: scores in bounds; beta, sigma and confidence against a NumPy replay of what was known at each tick."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tests.kit import quotes, run, same
from udfs import profiles
from udfs.alphas import REGISTRY
from udfs.profiles import Alphas
from udfs.stages import alphas, features

NAMES = ("book_pressure", "order_flow", "mean_reversion_50")
HORIZON = 8


def stage(memory: int = 5_000) -> Any:
    """The alphas stage with a short horizon."""
    made = Alphas(names=NAMES, horizon=HORIZON, memory=memory)
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
        evidence = max(0, t - HORIZON)
        square = (x[:known] ** 2).sum(0)
        beta = np.divide((x[:known] * y).sum(0), square, out=np.zeros(3), where=square > 0)
        mu[t] = beta * evidence / (evidence + 200) * x[t]
        error = ((y - mu[:known]) ** 2).mean(0) if known else np.zeros(3)
        sigma = np.sqrt((evidence * error + 200 * volatility[t] ** 2 * HORIZON) / (evidence + 200))
        np.testing.assert_allclose(found["signals.score"][at[t]], x[t], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found["signals.mu"][at[t]], mu[t], rtol=1e-7, atol=1e-15)
        np.testing.assert_allclose(found["signals.sigma"][at[t]], sigma, rtol=1e-7, atol=1e-15)
        if (sigma > 0).all():
            wanted = norm.cdf(np.abs(mu[t]) / sigma)
            np.testing.assert_allclose(found["signals.confidence"][at[t]], wanted, rtol=1e-7)


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
    same(run(stage(), ticks, range(11, 700, 11)), run(stage(), ticks))


number = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-9, 1e6)


@settings(max_examples=200, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", REGISTRY)
def test_every_alpha_is_finite_and_in_bounds(name: str, data: st.DataObject) -> None:
    alpha = REGISTRY[name]
    inputs = [data.draw(positive if i in ("mid", "volatility", "spread") else number, label=i) for i in alpha.inputs]
    assert -1.0 <= float(alpha.score(*inputs)) <= 1.0


def test_an_unknown_alpha_is_named() -> None:
    wrong = profiles.DEFAULT.model_copy(update={"alphas": Alphas(names=("tea_leaves",))})
    with pytest.raises(KeyError, match="tea_leaves"):
        alphas.stage(wrong)
