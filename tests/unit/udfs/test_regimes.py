"""Regimes: states change only where a bound is crossed, and every later stage reads the same names."""
from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from udfs import regimes
from udfs.regimes import CALM, FLAT, NORMAL, STRESSED, TRENDING

ratios = st.lists(st.floats(0, 10), min_size=1, max_size=50)
statistics = st.lists(st.floats(-10, 10), min_size=1, max_size=50)


def test_examples() -> None:
    assert doctest.testmod(regimes) == (0, 3)


@given(ratios)
def test_between_its_bounds_a_volatility_state_stays(ratios: list[float]) -> None:
    stays = {CALM: lambda r: r <= regimes.LEAVE_CALM, STRESSED: lambda r: r >= regimes.LEAVE_STRESSED,
             NORMAL: lambda r: regimes.ENTER_CALM <= r <= regimes.ENTER_STRESSED}
    state = NORMAL
    for ratio in ratios:
        after = regimes.volatility_state(state, ratio)
        assert (after == state) == stays[state](ratio)
        state = after


@given(statistics)
def test_a_trend_is_entered_at_two_standard_errors_and_left_at_one(statistics: list[float]) -> None:
    state = FLAT
    for statistic in statistics:
        after = regimes.trend_state(state, statistic)
        assert after == regimes.trend_state(state, -statistic)
        assert after == (TRENDING if abs(statistic) > 2 or (state == TRENDING and abs(statistic) >= 1) else FLAT)
        state = after


@given(st.integers(0, regimes.REGIMES - 1), st.floats(0, 10), st.floats(-10, 10))
def test_the_pair_has_a_name(regime: int, ratio: float, statistic: float) -> None:
    after = regimes.next_regime(regime, ratio, statistic)
    volatility = ("CALM", "NORMAL", "STRESSED")[regimes.volatility_state(regime % 3, ratio)]
    trend = ("FLAT", "TRENDING")[regimes.trend_state(regime // 3, statistic)]
    assert regimes.NAMES[after] == f"{volatility}_{trend}"


@given(st.integers(0, 2**32 - 1))
def test_without_drift_the_statistic_is_near_a_standard_normal_whatever_the_volatility(seed: int) -> None:
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal((400, 100)) * np.exp(rng.normal(0, 1, (400, 1))) * (rng.random((400, 100)) < 0.3)
    found = returns.sum(1) / np.sqrt((returns**2).sum(1))
    assert (np.abs(found) > regimes.ENTER_TREND).mean() < 0.10


@pytest.mark.parametrize("contract", ["features", "signals", "opportunity", "risk_state"])
def test_contracts_carry_the_names_in_their_order(contract: str) -> None:
    field = next(field for field in schemas.load(contract)["fields"] if field["name"] == "regime")
    assert tuple(field["type"]["symbols"]) == regimes.NAMES
    assert field["type"]["default"] == regimes.NAMES[regimes.START]
