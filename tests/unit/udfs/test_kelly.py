"""Kelly bets against the reference answers, against growth maximised by SciPy, and where they are not defined."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

from udfs import kelly

REFERENCE = Path(__file__).parents[4] / "shared" / "data" / "reference"


@pytest.mark.skipif(not REFERENCE.exists(), reason="no reference answers beside the project")
def test_reference_answers() -> None:
    wanted = json.loads((REFERENCE / "reference_vectors.json").read_text())["kelly"]["recomputed"]
    table = pd.read_csv(REFERENCE / "managers.csv", index_col=0)
    first = (table.iloc[:, 0] - 0.04 / 12).dropna().to_numpy()
    assert kelly.ratio(first) / 2 == pytest.approx(wanted[0], rel=1e-9)
    for number, name in enumerate(f"HAM{n}" for n in range(1, 7)):
        both = table[[name, table.columns[9]]].dropna().to_numpy()
        assert kelly.ratio(both[:, 0], both[:, 1]) / 2 == pytest.approx(wanted[1 + number], rel=1e-9), name


def test_fraction_maximises_the_expected_logarithm() -> None:
    """A small bet at even odds: log growth by SciPy, whose maximum the second order meets to the next one."""
    up, step = 0.51, 1e-3
    mu, sigma = (2 * up - 1) * step, step * np.sqrt(1 - (2 * up - 1) ** 2)
    growth = minimize_scalar(lambda f: -(up * np.log1p(f * step) + (1 - up) * np.log1p(-f * step)),
                             bounds=(0, 900), method="bounded", options={"xatol": 1e-6})
    assert kelly.fraction(mu, sigma) == pytest.approx(growth.x, rel=1e-3)


def test_shrinkage_maximises_growth_under_the_error_of_mu() -> None:
    """E over mu_hat = mu + error of k mu_hat mu - (k mu_hat)^2 / 2 is highest at k = mu^2 / (mu^2 + error^2)."""
    mu, error = 0.7, 0.4
    best = minimize_scalar(lambda k: -(k * mu * mu - 0.5 * k * k * (mu * mu + error * error)))
    assert kelly.shrinkage(mu, error) == pytest.approx(best.x, rel=1e-6)


@pytest.mark.parametrize("bad", [(0.0, 0.0), (np.nan, 1.0), (1.0, np.nan), (0.0, 1.0)])
def test_nothing_known_bets_nothing(bad: tuple[float, float]) -> None:
    assert kelly.fraction(*bad) == 0.0 and kelly.shrinkage(*bad) == 0.0


def test_records_without_risk_have_no_bet() -> None:
    for returns in ([], [0.1], [0.0, 0.0]):
        assert np.isnan(kelly.ratio(np.array(returns)))
