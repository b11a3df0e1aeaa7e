"""Laws of the tail against published values, SciPy and integration; volatility against arch; bad input."""
from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import integrate, stats

from tests.unit.udfs.test_risk import REFERENCE, vectors
from udfs.risk import cornish_fisher as cf
from udfs.risk import laws, volatility
from udfs.risk.extreme import pareto_fit
from udfs.risk.tail import tail_mean
from udfs.risk.volatility import Garch

MODULES = ("tail", "laws", "volatility", "cornish_fisher", "extreme", "portfolio", "backtest")
TAILS = (0.05, 0.025, 0.01)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"udfs.risk.{name}")).failed == 0


# ------------------------------------------------------------------------------------------------------ closed forms


def by_integration(quantile: object, tail: float) -> float:
    """CVaR of a quantile function of returns."""
    return -integrate.quad(quantile, 0, tail, epsabs=1e-13, epsrel=1e-11, limit=500)[0] / tail


@pytest.mark.parametrize("tail", TAILS)
def test_closed_forms_equal_integrals(tail: float) -> None:
    assert laws.normal(0.1, 2.0, tail)[1] == pytest.approx(
        by_integration(lambda p: stats.norm.ppf(p, 0.1, 2.0), tail), rel=1e-8)
    assert laws.student(3, tail)[1] == pytest.approx(
        by_integration(lambda p: stats.t.ppf(p, 3) / math.sqrt(3), tail), rel=1e-6)
    for shape in (-0.3, 0.0, 0.25, 0.8):
        wanted = by_integration(lambda p, xi=shape: -stats.genpareto.isf(p / 0.05, xi, 2.0, 0.6), tail)
        assert laws.pareto_tail(2.0, shape, 0.6, 0.05, tail)[1] == pytest.approx(wanted, rel=1e-6)


def test_published_closed_forms() -> None:
    wanted = vectors()["cvar_closed_form"]
    for level in ("0.95", "0.975", "0.99"):
        tail = 1 - float(level)
        assert laws.normal(0, 1, tail) == pytest.approx(wanted["normal"][level], abs=5.1e-5)
        for freedom in (3, 5):
            published = wanted[f"student_t{freedom}_unit_variance"][level]
            assert laws.student(freedom, tail) == pytest.approx(published, abs=5.1e-5)
    for level, published in wanted["gpd_tail_u2_xi0.25_beta0.6_pexceed0.05"].items():
        assert laws.pareto_tail(2.0, 0.25, 0.6, 0.05, 1 - float(level)) == pytest.approx(published, abs=1e-6)


def test_published_values_of_performance_analytics() -> None:
    """Their signs are of returns; their historical VaR is the quantile of type 7, their ES the mean up to it."""
    case = next(case for case in vectors()["cvar"] if "gaussian_VaR" in case)
    sheet = pd.read_csv(REFERENCE / "edhec.csv", sep=None, engine="python")
    returns = sheet["Convertible Arbitrage"].iloc[:100]
    if returns.dtype == object:
        returns = returns.str.rstrip("%").astype(float) / 100
    values = returns.to_numpy(float)
    var, cvar = laws.gaussian_tail(values, 0.05)
    assert (-var, -cvar) == pytest.approx((case["gaussian_VaR"], case["gaussian_ES"]), abs=1e-6)
    at = np.quantile(values, 0.05)
    assert (at, values[values <= at].mean()) == pytest.approx((case["historical_VaR"], case["historical_ES"]), abs=1e-6)
    assert tail_mean(np.sort(values), 100, 0.05, False)[1] == pytest.approx(-np.sort(values)[:5].mean(), rel=1e-12)


@pytest.mark.parametrize("returns", [np.array([]), np.array([0.01, np.nan]), np.array([np.inf])])
def test_what_is_no_sample_is_refused(returns: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        laws.gaussian_tail(returns, 0.05)


def test_one_return_and_constant_returns() -> None:
    assert laws.gaussian_tail(np.array([-0.02]), 0.05) == (0.02, 0.02)
    assert tail_mean(np.array([-0.02]), 1, 0.05, False) == pytest.approx((0.02, 0.02))
    assert laws.gaussian_tail(np.zeros(9), 0.05) == (0, 0)


def test_no_variance_and_no_mean() -> None:
    with pytest.raises(ValueError, match="above 2"):
        laws.student(2, 0.05)
    for shape in (1.0, 1.7):
        assert laws.pareto_tail(1.0, shape, 0.5, 0.1, 0.025)[1] == math.inf


# -------------------------------------------------------------------------------------------------- Cornish and Fisher


def increasing(skew: float, kurt: float) -> bool:
    """Whether the map rises at every z, infinity included: on a fine grid of angles with tangent z, in which its
    derivative over 1 + z^2 is a quadratic form of cosine and sine.
    """
    _, one, two, three = cf.coefficients(skew, kurt)
    angle = np.linspace(0, math.pi, 24_001)
    cos, sin = np.cos(angle), np.sin(angle)
    return bool((one * cos * cos + 2 * two * cos * sin + 3 * three * sin * sin >= -1e-9).all())


@example(skew=0.0, kurt=-0.001953125)  # falls beyond |z| = 64 only
@given(skew=st.floats(-2.5, 2.5), kurt=st.floats(-2, 10))
def test_monotone_is_what_a_grid_says(skew: float, kurt: float) -> None:
    if cf.monotone(skew, kurt):
        assert increasing(skew, kurt)
    elif increasing(skew, kurt):
        assert cf.monotone(skew, kurt + 1e-3) or cf.monotone(skew, kurt - 1e-3) or not increasing(skew * 1.001, kurt)


def test_monotone_at_the_edge_that_maillard_gives() -> None:
    """S within 6 * (sqrt(2) - 1), and K in [0, 8] at S = 0."""
    edge = 6 * (math.sqrt(2) - 1)
    assert cf.monotone(0.0, 0.0) and cf.monotone(0.0, 8.0) and not cf.monotone(0.0, 8.001)
    assert any(cf.monotone(0.999 * edge, k) for k in np.linspace(0, 12, 4_001))
    assert not any(cf.monotone(1.001 * edge, k) for k in np.linspace(0, 12, 4_001))


def test_moments_are_those_of_the_map() -> None:
    for skew, kurt in [(0.0, 0.0), (-0.4, 1.0), (0.8, 3.0)]:
        mapped = np.polynomial.Polynomial(cf.coefficients(skew, kurt))
        z, weight = np.polynomial.hermite_e.hermegauss(20)
        weight = weight / weight.sum()
        values = mapped(z)
        assert weight @ values == pytest.approx(0, abs=1e-12)
        variance = weight @ values**2
        found = (variance, weight @ values**3 / variance**1.5, weight @ values**4 / variance**2 - 3)
        assert cf.moments(skew, kurt) == pytest.approx(found, rel=1e-9, abs=1e-12)


def test_parameters_are_found_again_in_the_whole_monotone_range() -> None:
    """Skewness up to 3.5, excess kurtosis up to 43."""
    inside = [(s, k) for s in np.linspace(-2.4, 2.4, 33) for k in np.linspace(0, 9, 46) if cf.monotone(s, k)]
    assert len(inside) > 800
    for skew, kurt in inside:
        _, skewness, kurtosis = cf.moments(skew, kurt)
        s, k, found = cf.parameters(skewness, kurtosis)
        assert found and (s, k) == pytest.approx((skew, kurt), abs=1e-6)


@pytest.mark.parametrize("moments", [(0.0, -1.0), (0.0, 60.0), (4.0, 1.0), (3.0, 10.0)])
def test_moments_without_a_monotone_map_are_refused(moments: tuple[float, float]) -> None:
    assert not cf.parameters(*moments)[2]


@pytest.mark.parametrize("tail", TAILS)
def test_expansion_tail_equals_an_integral(tail: float) -> None:
    s, k, found = cf.parameters(-0.5, 2.0)
    assert found
    mapped = np.polynomial.Polynomial(cf.coefficients(s, k))
    unit = 0.02 / math.sqrt(cf.moments(s, k)[0])
    var, cvar = cf.expansion_tail(0.001, 0.02, s, k, stats.norm.ppf(tail), tail)
    assert var == pytest.approx(-0.001 - unit * mapped(stats.norm.ppf(tail)), rel=1e-12)
    assert cvar == pytest.approx(by_integration(lambda p: 0.001 + unit * mapped(stats.norm.ppf(p)), tail), rel=1e-6)
    assert cf.expansion_tail(0.001, 0.02, 0.0, 0.0, stats.norm.ppf(tail), tail) == pytest.approx(
        laws.normal(0.001, 0.02, tail), rel=1e-12)


def test_sample_moments_are_scipys() -> None:
    values = np.random.default_rng(2).standard_t(5, 400)
    wanted = values.mean(), values.std(), stats.skew(values), stats.kurtosis(values)
    assert cf.sample_moments(values) == pytest.approx(wanted, rel=1e-10)
    assert cf.sample_moments(np.full(5, 0.3)) == (0.3, 0, 0, 0)


# -------------------------------------------------------------------------------------------------------- Pareto tail


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.25, 0.4])
def test_pareto_fit_finds_the_law(shape: float) -> None:
    sample = np.sort(stats.genpareto.rvs(shape, scale=0.7, size=200_000, random_state=4))
    assert pareto_fit(sample) == pytest.approx((shape, 0.7), abs=0.02)


def test_pareto_fit_is_the_moments_equations() -> None:
    """Mean and first weighted moment of the fitted law (Hosking and Wallis 1987, equation 7) are the sample's."""
    sample = np.sort(stats.genpareto.rvs(0.2, scale=2.0, size=50, random_state=5))
    shape, scale = pareto_fit(sample)
    weighted = np.mean(sample * (len(sample) - 1 - np.arange(len(sample))) / (len(sample) - 1))
    assert stats.genpareto.mean(shape, scale=scale) == pytest.approx(sample.mean(), rel=1e-9)
    assert scale / (2 * (2 - shape)) == pytest.approx(weighted, rel=1e-9)


def test_pareto_fit_of_equal_losses_is_none() -> None:
    assert pareto_fit(np.full(20, 0.5))[0] == -math.inf
    assert pareto_fit(np.zeros(20))[0] == -math.inf
    assert pareto_fit(np.append(np.zeros(19), 5.0))[0] == pytest.approx(1)


# --------------------------------------------------------------------------------------------------------- volatility


def garch_returns(count: int) -> np.ndarray:
    """Returns of a GARCH(1,1) of a known kind."""
    rng, variance, out = np.random.default_rng(6), 1e-6, np.empty(count)
    for k in range(count):
        out[k] = math.sqrt(variance) * rng.standard_normal()
        variance = 1e-6 * 0.05 + 0.10 * out[k] ** 2 + 0.85 * variance
    return out


def test_ewma_is_pandas() -> None:
    returns = np.random.default_rng(7).normal(0, 0.01, 300)
    found = volatility.ewma_path(returns, 0.94)
    smoothed = pd.Series(returns[99:] ** 2)
    smoothed.iloc[0] = found[100] ** 2
    assert found[100:] == pytest.approx(np.sqrt(smoothed.ewm(alpha=0.06, adjust=False).mean()), rel=1e-12)
    assert found[10] == pytest.approx(math.sqrt(np.mean(returns[:10] ** 2)), rel=1e-12)


def test_garch_is_archs() -> None:
    arch = pytest.importorskip("arch")
    returns = garch_returns(4_000)
    model = volatility.fit(returns)
    assert (model.alpha, model.beta) == pytest.approx((0.10, 0.85), abs=0.04)
    assert model.long_run == pytest.approx(1e-6, rel=0.2)
    scaled = returns * 1_000
    fixed = arch.arch_model(scaled, mean="Zero").fix(
        [model.long_run * 1e6 * (1 - model.alpha - model.beta), model.alpha, model.beta])
    found = volatility.garch_path(returns, model)[:-1] * 1_000
    assert found[500:] == pytest.approx(fixed.conditional_volatility[500:], rel=1e-9)


@pytest.mark.parametrize("returns", [np.zeros(300), np.full(300, np.nan), np.ones(10), np.array([])])
def test_garch_refuses_what_it_cannot_fit(returns: np.ndarray) -> None:
    with pytest.raises(ValueError, match="GARCH"):
        volatility.fit(returns)


def test_paths_of_nothing_and_of_constant_prices() -> None:
    assert volatility.ewma_path(np.zeros(0), 0.94).tolist() == [0]
    assert not volatility.ewma_path(np.zeros(50), 0.94).any()
    assert volatility.garch_path(np.zeros(900), Garch(0.1, 0.8, 1.0))[-1] == pytest.approx(math.sqrt(0.1 / 0.2))
