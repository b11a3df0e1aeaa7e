"""Learning: purged splits, the same digest for the same input, metrics against their definitions, bad input."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from sigmaflow import __main__ as program
from sigmaflow import learning, train
from sigmaflow.errors import UserError
from tests.models import example
from udfs import profiles
from udfs.stages import alphas, features

DEFAULT = profiles.DEFAULT


@settings(deadline=None)
@given(st.integers(10, 300), st.integers(1, 6), st.integers(0, 20), st.integers(0, 2**32))
def test_no_outcome_of_a_training_row_reaches_its_test(rows: int, folds: int, embargo: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = np.cumsum(rng.integers(0, 3, rows))
    end = start + rng.integers(0, 30, rows)
    tested = []
    for early, test in learning.walk_forward(start, end, folds, embargo):
        assert (end[early] + embargo < start[test[0]]).all()
        before = np.arange(test[0])
        assert set(before[end[before] + embargo < start[test[0]]]) == set(early.tolist())
        tested += test.tolist()
    assert tested == list(range(rows * 1 // (folds + 1), rows))


def test_the_same_input_gives_the_same_digest(tmp_path: Path) -> None:
    made = example()
    again = learning.train(DEFAULT, made.signals, "a test", tmp_path, folds=1, rounds=8)
    assert again.digest == made.digest
    other = learning.train(DEFAULT, made.signals, "another", tmp_path, folds=1, rounds=8)
    assert other.digest != made.digest
    for file in sorted((made.folder / made.digest).iterdir()):
        assert (tmp_path / made.digest / file.name).read_bytes() == file.read_bytes()


def test_signals_are_those_of_the_stages() -> None:
    made = example()
    at = np.flatnonzero(made.signals["slot"] == 0)
    assert made.signals["slots"] == 3
    assert (np.diff(made.signals["ts_order"]) >= 0).all()
    assert made.signals["history"][at].tolist() == list(range(len(at)))
    from tests.kit import run

    own = ("slot", "ts_order", "bid", "ask", "bid_size", "ask_size", "last_price", "last_size", "last_side")
    ticks = {name: made.signals[name] for name in own}
    wanted = run(alphas.stage(DEFAULT), run(features.stage(DEFAULT), ticks))
    np.testing.assert_array_equal(made.signals["signals.mu"], wanted["signals.mu"])


def test_outcomes_are_of_the_same_symbol() -> None:
    slot = np.array([0, 1, 0, 1, 0])
    found, end = learning.outcomes(slot, np.array([1.0, 10.0, 2.0, 30.0, 8.0]), np.arange(5), 1)
    np.testing.assert_allclose(found, [np.log(2), np.log(3), np.log(4), np.nan, np.nan])
    assert end.tolist() == [2, 3, 4, 4, 4]


@pytest.mark.parametrize(("y", "mu", "sigma"), [(0.3, 0.0, 1.0), (-2.0, 0.5, 0.7), (0.0, 0.0, 2.0)])
def test_crps_is_the_integral_that_defines_it(y: float, mu: float, sigma: float) -> None:
    wanted = quad(lambda x: norm.cdf(x, mu, sigma) ** 2, -30, y)[0]
    wanted += quad(lambda x: norm.sf(x, mu, sigma) ** 2, y, 30)[0]
    found = learning.crps(np.array([y]), np.array([mu]), np.array([sigma]))
    assert found[0] == pytest.approx(wanted, abs=1e-7)


def test_too_little_input_is_said_so(tmp_path: Path) -> None:
    made = example()
    few = {name: held[:1_000] if np.ndim(held) else held for name, held in made.signals.items()}
    with pytest.raises(UserError, match="warm signals"):
        learning.train(DEFAULT, few, "few", tmp_path)
    with pytest.raises(UserError, match="rows to learn from"):
        learning.train(DEFAULT, made.signals, "many folds", tmp_path, folds=8)
    with pytest.raises(UserError, match="ticks that are admitted"):
        learning.signals(DEFAULT, [[b"no tick"]])
    with pytest.raises(UserError, match="adaptive intervals"):
        learning.train(profiles.REFERENCE, made.signals, "reference", tmp_path)


@pytest.mark.parametrize(("arguments", "says"), [
    ((None, [], None, 10, "default"), "0 are"), (("", ["x.gz"], None, 10, "default"), "2 are"),
    ((None, [], 1, 10, "nobody"), "strategy profile"), ((None, ["absent.gz"], None, 10, "default"), "absent.gz"),
])
def test_the_command_says_what_is_wrong(arguments: tuple, says: str) -> None:
    with pytest.raises(UserError, match=says):
        train.run(*arguments)


def test_the_command_trains_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SIGMAFLOW_MODEL_DIR", str(tmp_path))
    assert program.run(["model", "list"]) == 0
    assert "no model in" in capsys.readouterr().out
    assert program.run(["train", "--seed", "3", "--ticks", "30000", "--folds", "1", "--json"]) == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    assert program.run(["model", "list", "--json"]) == 0
    assert [row["digest"] for row in json.loads(capsys.readouterr().out)["models"]] == [digest]
    assert program.run(["model", "list"]) == program.run(["model", "show", digest]) == 0
    shown = capsys.readouterr().out
    assert digest in shown and "simulator, seed 3, 30000 ticks" in shown
