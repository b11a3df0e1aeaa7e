"""A sweep: the same results with any number of processes, in the order of the grid; and what the best of many is worth.
"""
from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from sigmaflow import __main__ as program
from sigmaflow.backtest import engine, figures, inputs, overrides, sharpe, sweep, sweep_page
from sigmaflow.backtest.sweep import Trial
from tests import reference_strategy
from tests.unit.sigmaflow.test_backtest import parquet, quiet
from udfs import profiles
from udfs.models import Models

GRID = ["sizing.entry=0.3,0.6", "risk.window=400,500"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ticks = reference_strategy.ticks(6_000)
    slow = ticks | {"ts": ticks["ts"][0] + 300 * (ticks["ts"] - ticks["ts"][0])}  # minutes: a bar is a second
    return parquet(tmp_path_factory.mktemp("ticks") / "ticks.parquet", slow)


@pytest.fixture(scope="module")
def trials(file: Path) -> list[Trial]:
    given = inputs.from_files([file], file.parent / "log", quiet)
    made = [(overrides.apply(profiles.REFERENCE, change), change) for change in overrides.grid(GRID)]
    return [sweep.trial(given, profile, Models(profile), change) for profile, change in made]


def swept(file: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What the command prints with --json; nothing else is printed."""
    page = file.parent / "sweep.html"
    grid = [word for values in GRID for word in ("--grid", values)]
    assert program.run(["sweep", str(file), "--profile", "reference", *grid, "--out", str(page), "--json", *words]) == 0
    told = capsys.readouterr()
    assert not told.err
    found: dict[str, Any] = json.loads(told.out)
    return found


def test_processes_change_nothing(file: Path, trials: list[Trial], capsys: pytest.CaptureFixture[str]) -> None:
    found = swept(file, capsys, "--processes", "2")
    assert [row["settings"] for row in found["runs"]] == overrides.grid(GRID)
    wanted = json.loads(json.dumps(sweep.comparison(trials)["runs"]))
    assert found["runs"] == wanted
    assert len({row["fills"] for row in wanted}) > 1
    page = (file.parent / "sweep.html").read_text()
    assert page.count("<circle") == 8 and page.count('class="cell"') == 4 and "sizing.entry=0.3" in page


def test_a_trial_has_the_figures_of_its_backtest(file: Path, trials: list[Trial]) -> None:
    given = inputs.from_files([file], file.parent / "again", quiet)
    ran = engine.run(given, profiles.REFERENCE)
    held = figures.frames(ran, ran.results.frames["fills.v1"].whole())
    alone = sweep.trial(given, profiles.REFERENCE, Models(profiles.REFERENCE), {})
    assert alone.figures == figures.of(ran, held, profiles.REFERENCE)
    assert alone.digest not in {trial.digest for trial in trials}
    assert alone.curve[-1] == held.equity["equity"].iloc[-1]


def test_earlier_trials_deflate_too(trials: list[Trial]) -> None:
    once, more = sweep.comparison(trials), sweep.comparison(trials, earlier=1_000)
    assert more["trials"] == 1_004 and more["best"] == once["best"]
    assert more["expected_best_sharpe"] > once["expected_best_sharpe"]
    assert all(a["deflated_sharpe"] >= b["deflated_sharpe"] for a, b in zip(once["runs"], more["runs"], strict=True))


def test_runs_that_never_traded_are_told_as_such(trials: list[Trial]) -> None:
    still = replace(trials[0], figures=replace(trials[0].figures, sharpe=math.nan, sharpe_error=math.nan))
    found = sweep.comparison([still, still]) | {"source": "s", "profile": "p", "settings": {}}
    assert found["best"] is None and found["deflated_sharpe"] is None
    assert list(sweep.verdict(found)) == [sweep.NO_RATIO]
    assert sweep.NO_RATIO in sweep_page.build(found, [(t.ts_ns, t.curve) for t in (still, still)])
    mixed = sweep.comparison([still, trials[1]])
    assert mixed["best"] == 1 and mixed["trials"] == 2


def test_luck_is_warned_of(trials: list[Trial]) -> None:
    def row(ratio: float) -> Trial:
        return replace(trials[0], skew=0.0, kurtosis=3.0, figures=replace(
            trials[0].figures, sharpe=ratio, bars=400, sharpe_error=0.05))

    noise = sweep.comparison([row(ratio) for ratio in (0.05, -0.05, 0.03, -0.02)])
    assert any(line.startswith("Warning") for line in sweep.verdict(noise))
    skill = sweep.comparison([row(ratio) for ratio in (0.5, 0.49, 0.48, 0.47)])
    assert skill["deflated_sharpe"] > 0.95 and not any("Warning" in line for line in sweep.verdict(skill))


# ------------------------------------------------------------------------------------------------- the deflated ratio


@pytest.mark.parametrize("trials", [5, 20, 200])
def test_the_best_of_worthless_trials_is_as_expected(trials: int) -> None:
    best = np.random.default_rng(1).normal(0, 0.1, (20_000, trials)).max(axis=1)
    assert sharpe.best_of(trials, 0.01) == pytest.approx(best.mean(), rel=0.04)


@pytest.mark.parametrize("mean", [0.0, 0.3])
def test_the_error_is_the_spread_of_ratios(mean: float) -> None:
    """Of a law with skewness 2 and kurtosis 9."""
    sample = np.random.default_rng(2).exponential(1.0, (8_000, 250)) - 1 + mean
    ratios = sample.mean(axis=1) / sample.std(axis=1, ddof=1)
    assert sharpe.error(mean, 250, 2.0, 9.0) == pytest.approx(ratios.std(), rel=0.06)


@examples(st.lists(st.floats(-100, 100), max_size=30))
def test_any_changes_have_an_error_or_none(changes: list[float]) -> None:
    made = np.array(changes)
    error = sharpe.error_of(made)
    assert math.isnan(error) or error >= 0
    assert 0 <= sharpe.deflated(0.1, 50, *sharpe.moments(made), 10, 0.01) <= 1 or len(made) >= 2
