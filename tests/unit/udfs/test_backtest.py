"""Backtests against published values, closed forms and simulation under forecasts that are right and wrong."""
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from udfs.risk import backtest as bt
from udfs.risk import laws

TAIL = 0.025


def rows(count: int, seed: int, scale: float = 1.0, freedom: float | None = None) -> tuple[np.ndarray, ...]:
    """Returns with forecasts of a standard normal law; `scale` and `freedom` make the returns another's."""
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal(count) if freedom is None else rng.standard_t(freedom, count)
    var, cvar = laws.normal(0, 1, TAIL)
    return scale * returns, np.full(count, var), np.full(count, cvar)


@given(count=st.integers(1, 2_000), part=st.floats(0, 1), tail=st.sampled_from([0.01, 0.025, 0.05]))
def test_kupiec_is_the_binomial_likelihood_ratio(count: int, part: float, tail: float) -> None:
    hit = int(part * count)
    wanted = 2 * (stats.binom.logpmf(hit, count, hit / count) - stats.binom.logpmf(hit, count, tail))
    found = bt.kupiec(np.arange(count) < hit, tail)
    assert found.value == pytest.approx(wanted, rel=1e-6, abs=1e-6)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.value, 1))


def test_published_example_of_clustered_hits() -> None:
    """J.P. Morgan 1998 (Jorion 2006, chapter 6): 20 hits in 252 days, 6 right after another."""
    assert bt._from_transitions(218, 14, 14, 6).value == pytest.approx(9.53, abs=0.005)
    assert bt.kupiec(np.arange(252) < 20, 0.05).value == pytest.approx(3.91, abs=0.005)


def test_conditional_coverage_is_the_sum() -> None:
    hits = np.random.default_rng(1).random(500) < 0.04
    found = bt.conditional_coverage(hits, TAIL)
    assert found.value == pytest.approx(bt.kupiec(hits, TAIL).value + bt.independence(hits).value)
    assert found.p_value == pytest.approx(math.exp(-found.value / 2))


def test_size_and_power_of_the_tests() -> None:
    """At level 5 % right forecasts fail about so often, and forecasts at half the risk nearly always."""
    right, wrong = [], []
    for seed in range(200):
        for scale, found in ((1.0, right), (2.0, wrong)):
            report = bt.backtest(*rows(1_000, seed, scale), TAIL)
            found.append([p < 0.05 for p in (report.kupiec.p_value, report.coverage.p_value, report.z2.p_value)])
    assert max(np.mean(right, axis=0)) < 0.13
    assert min(np.mean(wrong, axis=0)) > 0.99


def test_clusters_are_found() -> None:
    hits = np.zeros(1_000, bool)
    hits[200:225] = True
    assert bt.kupiec(hits, TAIL).p_value == pytest.approx(1)
    assert bt.independence(hits).p_value < 1e-6


def test_acerbi_szekely_are_zero_on_the_mean_and_tell_a_fatter_tail() -> None:
    right, fat = rows(400_000, 2), rows(400_000, 2, math.sqrt(1 / 3), 3)
    assert bt.z1(*right) == pytest.approx(0, abs=0.01)
    assert bt.z2(*right, TAIL).value == pytest.approx(0, abs=0.03)
    ranks = stats.norm.cdf(right[0][:100_000])
    assert bt.z3(ranks, TAIL, stats.norm.ppf) == pytest.approx(0, abs=0.01)
    assert bt.z1(*fat) < -0.1 and bt.z2(*fat, TAIL).value < -0.1
    assert bt.z3(stats.norm.cdf(fat[0][:100_000]), TAIL, stats.norm.ppf) < -0.1


def test_z2_terms_by_hand() -> None:
    returns, var, cvar = np.array([0.01, -0.04, 0.0, -0.01]), np.full(4, 0.02), np.full(4, 0.05)
    assert bt.z2(returns, var, cvar, 0.25).value == pytest.approx(-0.04 / (4 * 0.25 * 0.05) + 1)
    assert bt.z1(returns, var, cvar) == pytest.approx(1 - 0.8)


def test_z3_mean_over_small_samples_is_zero() -> None:
    """Its normaliser is exact for few rows too: mean over samples of 80."""
    rng = np.random.default_rng(3)
    values = [bt.z3(rng.random(80), 0.05, stats.norm.ppf) for _ in range(60)]
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / math.sqrt(60))


@settings(max_examples=25, deadline=None)
@given(move=st.floats(-0.5, 0.5).filter(lambda x: abs(x) > 0.02), stretch=st.floats(0.7, 1.5))
def test_loss_is_least_at_the_truth(move: float, stretch: float) -> None:
    returns, var, cvar = rows(60_000, 4)
    truth = bt.fissler_ziegel(returns, var, cvar, TAIL).mean()
    other = bt.fissler_ziegel(returns, var * (1 + move), cvar * (1 + move) * stretch, TAIL).mean()
    assert truth <= other + 5e-3


def test_loss_of_one_row_is_the_formula() -> None:
    """Patton, Ziegel and Chen (2019), equation 6, in their signs: v and e are negative returns."""
    v, e, y = -0.02, -0.03, -0.05
    wanted = -1 / (TAIL * e) * (v - y) + v / e + math.log(-e) - 1
    found = bt.fissler_ziegel(np.array([y]), np.array([-v]), np.array([-e]), TAIL)
    assert found[0] == pytest.approx(wanted, rel=1e-12)


def test_bad_input() -> None:
    one = np.array([0.01])
    with pytest.raises(ValueError, match="at least one row"):
        bt.backtest(one[:0], one[:0], one[:0], TAIL)
    with pytest.raises(ValueError, match="finite"):
        bt.backtest(np.array([np.nan]), one, one, TAIL)
    with pytest.raises(ValueError, match="above 0"):
        bt.backtest(one, one, np.array([0.0]), TAIL)
    with pytest.raises(ValueError, match="none in a tail"):
        bt.z3(np.full(10, 0.5), TAIL, stats.norm.ppf)
    report = bt.backtest(one, one, one, TAIL)
    assert (report.hits, report.independence) == (0, bt.Statistic(0.0, 1.0)) and math.isnan(report.z1)
    assert len(report.lines()) == 5


def test_no_hit_and_only_hits() -> None:
    assert bt.kupiec(np.zeros(250, bool), 0.01).value == pytest.approx(-500 * math.log(0.99))
    assert bt.kupiec(np.ones(10, bool), 0.01).value == pytest.approx(-20 * math.log(0.01))
    assert bt.independence(np.ones(10, bool)).value == 0
