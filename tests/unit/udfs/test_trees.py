"""Trees in arrays: LightGBM's own predictions, bit for bit, whatever the length of the call."""
from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigmaflow.learning import PARAMETERS
from udfs import trees
from udfs.trees import TreeError

FEATURES = 6


def boosters(rows: int = 3_000, seed: int = 1, **changes: object) -> list[lightgbm.Booster]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, FEATURES))
    x[:, 1] = np.rint(x[:, 1])
    y = x[:, 0] * (x[:, 1] > 0) + rng.standard_t(3, rows)
    made = []
    for alpha in (0.05, 0.5, 0.95):
        p = PARAMETERS | {"alpha": alpha} | changes
        made.append(lightgbm.train(p, lightgbm.Dataset(x, y, params=p), 15))
    return made


@pytest.fixture(scope="module")
def trained() -> list[lightgbm.Booster]:
    return boosters()


@pytest.fixture(scope="module")
def forests(trained: list[lightgbm.Booster]) -> trees.Trees:
    return trees.read([b.model_to_string() for b in trained], FEATURES)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([1e-300, 1e-3, 1.0, 1e300]))
def test_predictions_are_lightgbms(trained: list, forests: trees.Trees, seed: int, rows: int, size: float) -> None:
    x = np.random.default_rng(seed).normal(size=(rows, FEATURES)) * size
    wanted = np.stack([b.predict(x, num_threads=1) for b in trained], axis=1)
    np.testing.assert_array_equal(forests.predict(x), wanted)


def test_values_on_thresholds_go_left_as_in_lightgbm(trained: list, forests: trees.Trees) -> None:
    x = np.zeros((len(forests.threshold), FEATURES))
    x[np.arange(len(x)), forests.feature] = forests.threshold
    np.testing.assert_array_equal(forests.predict(x)[:, 1], trained[1].predict(x))


def test_one_row_at_a_time_gives_the_same_bits(forests: trees.Trees) -> None:
    x = np.random.default_rng(2).normal(size=(200, FEATURES))
    np.testing.assert_array_equal(np.vstack([forests.predict(x[i:i + 1]) for i in range(len(x))]), forests.predict(x))


def test_a_target_without_variation_is_one_leaf_a_tree() -> None:
    p = PARAMETERS | {"alpha": 0.5}
    x = np.random.default_rng(1).normal(size=(500, FEATURES))
    booster = lightgbm.train(p, lightgbm.Dataset(x, np.full(500, 2.5), params=p), 3)
    found = trees.read([booster.model_to_string()], FEATURES).predict(x)
    np.testing.assert_array_equal(found[:, 0], booster.predict(x))


def test_no_rows_give_no_predictions(forests: trees.Trees) -> None:
    assert forests.predict(np.empty((0, FEATURES))).shape == (0, 3)


def changed(text: str, start: str, value: str) -> str:
    """The text with the first line that starts so replaced."""
    lines = text.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(start))
    return "\n".join([*lines[:at], start + value, *lines[at + 1:]])


@pytest.mark.parametrize(("start", "value", "says"), [
    ("split_feature=", "0 99" + " 0" * 12, "splits feature 99"),
    ("left_child=", "0" + " 1" * 13, "not nodes behind"),
    ("right_child=", "1 2", "differ in length"),
    ("threshold=", "nan" + " 1" * 13, "not finite"),
    ("leaf_value=", "x", "without a readable field"),
    ("decision_type=", "9" + " 2" * 13, "missing values"),
])
def test_what_is_no_plain_tree_is_refused(trained: list, start: str, value: str, says: str) -> None:
    text = trained[0].model_to_string()
    with pytest.raises(TreeError, match=says):
        trees.read([changed(text, start, value)], FEATURES)


@pytest.mark.parametrize("text", ["", "tree\n", "nonsense", "tree\naverage_output\n\nTree=0\nend of trees"])
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(TreeError):
        trees.read([text], FEATURES)


def test_missing_values_in_training_are_refused() -> None:
    x = np.random.default_rng(1).normal(size=(500, FEATURES))
    x[::3, 0] = np.nan
    p = PARAMETERS | {"use_missing": True}
    booster = lightgbm.train(p, lightgbm.Dataset(x, np.nan_to_num(x[:, 0]), params=p), 3)
    with pytest.raises(TreeError, match="missing values"):
        trees.read([booster.model_to_string()], FEATURES)
