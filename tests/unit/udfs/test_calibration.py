"""Isotonic calibration: reference answers, scikit-learn's predictions, and what bad input gives."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from udfs import calibration
from udfs.calibration import Isotonic

VECTORS = Path(__file__).parents[4] / "shared" / "data" / "reference" / "reference_vectors.json"


@pytest.mark.skipif(not VECTORS.exists(), reason="the reference vectors are not beside the project")
def test_reference_vectors() -> None:
    cases = json.loads(VECTORS.read_text())["isotonic"]["cases"]
    assert len(cases) == 3
    for case in cases:
        x = np.arange(len(case["y"]), dtype=float)
        bounds = case.get("y_min", -np.inf), case.get("y_max", np.inf)
        found = calibration.fit(x, case["y"], case.get("w"), *bounds)(x)
        np.testing.assert_allclose(found, case["out"], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_lookup_is_scikit_learns(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.rint(rng.normal(size=rows) * 4) / 4, rng.integers(0, 2, rows)
    oracle = IsotonicRegression(y_min=0.02, y_max=0.98, out_of_bounds="clip").fit(x, y)
    at = np.concatenate([rng.normal(size=50) * 2, x, [-99.0, 99.0]])
    found = calibration.fit(x, y)(at)
    np.testing.assert_allclose(found, oracle.predict(at), atol=1e-12)
    assert (np.diff(found[np.argsort(at, kind="stable")]) >= 0).all()
    assert ((found >= 0.02) & (found <= 0.98)).all()


def test_all_outcomes_alike_are_no_certainty() -> None:
    always = calibration.fit(np.arange(5.0), np.ones(5))
    assert always(np.array([-1.0, 2.0, 9.0])).tolist() == [0.98] * 3


def test_equal_inputs_give_their_mean() -> None:
    assert calibration.fit(np.zeros(4), [0, 1, 1, 1])(np.array([-1.0, 0.0, 1.0])).tolist() == [0.75] * 3


def test_nothing_asked_gives_nothing() -> None:
    assert Isotonic(np.array([0.0]), np.array([0.5]))(np.empty(0)).shape == (0,)
