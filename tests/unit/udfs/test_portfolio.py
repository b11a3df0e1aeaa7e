"""Weights of least CVaR against published ones, a grid, and every nearby choice."""
from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.unit.udfs.test_risk import REFERENCE, vectors
from udfs.risk.portfolio import minimum_cvar
from udfs.risk.tail import tail_mean


def cvar(returns: np.ndarray, weights: np.ndarray, tail: float) -> float:
    """CVaR of a portfolio."""
    return tail_mean(np.sort(returns @ weights), len(returns), tail, False)[1]


def test_published_weights_of_riskfolio() -> None:
    case = vectors()["min_cvar_portfolio"]
    prices = pd.read_csv(REFERENCE / "riskfolio_stock_prices.csv", index_col=0)[list(case["weights"])]
    returns = prices.pct_change().dropna().to_numpy()[-200:]
    sheet = pd.read_csv(REFERENCE / "riskfolio_min_risk_weights.csv", index_col=0)
    found, published = minimum_cvar(returns, 0.05), sheet.loc[list(case["weights"]), "CVaR"].to_numpy()
    assert published == pytest.approx(np.array(list(case["weights"].values())), abs=1e-9)
    assert found == pytest.approx(published, abs=1e-6)
    assert cvar(returns, published, 0.05) == pytest.approx(case["CVaR_at_weights_recomputed"], rel=1e-9)
    assert cvar(returns, found, 0.05) == pytest.approx(case["CVaR_at_weights_recomputed"], rel=1e-7)


def test_no_weights_nearby_are_better_and_a_cap_holds() -> None:
    rng = np.random.default_rng(1)
    returns = rng.standard_t(4, (150, 4)) @ rng.normal(size=(4, 4)) / 100
    for cap in (1.0, 0.4):
        found = minimum_cvar(returns, 0.1, cap)
        assert found.sum() == pytest.approx(1) and found.min() >= 0 and found.max() <= cap + 1e-9
        best = cvar(returns, found, 0.1)
        for other in rng.dirichlet(np.ones(4), 300):
            if other.max() <= cap:
                mixed = found + 0.05 * (other - found)
                assert cvar(returns, mixed, 0.1) >= best - 1e-12


def test_one_instrument_and_constant_prices() -> None:
    assert minimum_cvar(np.array([[-0.5]]), 0.05).tolist() == [1]
    assert minimum_cvar(np.zeros((10, 3)), 0.05).sum() == pytest.approx(1)


@pytest.mark.parametrize("returns", [np.zeros((0, 2)), np.zeros((2, 0)), np.array([[np.nan, 0.0]])])
def test_what_is_no_scenario_is_refused(returns: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        minimum_cvar(returns, 0.05)


@pytest.mark.parametrize("tail, cap", [(0.0, 1.0), (1.0, 1.0), (0.05, 0.3)])
def test_what_cannot_be_met_is_refused(tail: float, cap: float) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        minimum_cvar(np.zeros((5, 3)), tail, cap)
