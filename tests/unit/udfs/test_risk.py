"""Value at risk and its tail mean against a sort, a minimisation, and published values."""
from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.kit import quotes, run, same
from udfs import profiles
from udfs.formulas import FORMULAS
from udfs.profiles import Risk
from udfs.risk.tail import tail_mean
from udfs.stages import risk

REFERENCE = Path(__file__).parents[4] / "shared" / "data" / "reference"
LEVELS = {0.95: "95", 0.975: "975", 0.99: "99"}


def stage(window: int, tail: str) -> object:
    """The risk stage with a window of its own."""
    settings = Risk(window=window, tail=tail)  # type: ignore[arg-type]
    return risk.stage(profiles.DEFAULT.model_copy(update={"risk": settings}))


def tail(returns: np.ndarray, beta: float, whole: bool = False) -> tuple[float, float]:
    """(VaR, CVaR) by sorting, as Rockafellar and Uryasev define them for a sample."""
    ordered, count = np.sort(returns), (1 - beta) * len(returns)
    last = int(np.ceil(count - 1e-9))
    if whole:
        return -ordered[last - 1], -ordered[:last].mean()
    rest = count - (last - 1)
    return -ordered[last - 1], -(ordered[:last - 1].sum() + rest * ordered[last - 1]) / count


def priced(columns: dict) -> dict:
    """Quotes with what risk needs of the stages before it."""
    return columns | {name: FORMULAS[name].over(columns["bid"], columns["ask"]) for name in ("mid", "spread")}


@pytest.mark.parametrize("rule", ["ceil", "rockafellar_uryasev"])
@pytest.mark.parametrize("window", [20, 130])
def test_every_prefix_against_a_sort(rule: str, window: int) -> None:
    ticks = priced(quotes(900, 2))
    found = run(stage(window, rule), ticks)  # type: ignore[arg-type]
    for symbol in range(2):
        at = np.flatnonzero(found["slot"] == symbol)
        changes = np.diff(np.log(found["mid"][at]))
        for n, row in enumerate(at):
            assert found["warm"][row] == (n >= window)
            for beta, name in LEVELS.items():
                var, cvar = tail(changes[max(0, n - window):n], beta, rule == "ceil") if n else (0.0, 0.0)
                assert found[f"var_{name}"][row] == pytest.approx(var, rel=1e-9, abs=1e-15)
                assert found[f"cvar_{name}"][row] == pytest.approx(max(cvar, 1e-9), rel=1e-9)


def test_cvar_is_the_minimum_of_rockafellar_and_uryasev() -> None:
    """CVaR = min over c of c + E[(loss - c)+] / (1 - beta), at one of the losses (Rockafellar and Uryasev 2000)."""
    returns = np.sort(np.random.default_rng(3).standard_t(3, 487))
    for beta in LEVELS:
        least = min(c + np.maximum(-returns - c, 0).mean() / (1 - beta) for c in -returns)
        assert tail_mean(returns, len(returns), 1 - beta, False)[1] == pytest.approx(least, rel=1e-9)


def test_cuts_change_no_bit() -> None:
    ticks = priced(quotes(600, 2))
    s = stage(50, "rockafellar_uryasev")
    same(run(s, ticks, range(7, 600, 7)), run(s, ticks))  # type: ignore[arg-type]


def vectors() -> dict:
    """The published values; the test is skipped where they are not beside the project."""
    file = REFERENCE / "reference_vectors.json"
    if not file.exists():
        pytest.skip(f"{file} is not there: published values lie beside the project, not in it")
    return json.loads(file.read_text())


@pytest.mark.parametrize("place", range(3))
def test_published_values_of_skfolio(place: int) -> None:
    case = vectors()["cvar"][place]
    if isinstance(case["data"], str):
        column = "AAPL" if "AAPL" in case["data"] else "AMD"
        with gzip.open(REFERENCE / "sp500_dataset.csv.gz") as file:
            returns = pd.read_csv(file, index_col=0)[column].pct_change().dropna().to_numpy()
    else:
        returns = np.array(case["data"])
    var, cvar = tail_mean(np.sort(returns), len(returns), 1 - case["beta"], False)
    wanted = case.get("recomputed", [case["VaR"], case["CVaR"]])
    assert (var, cvar) == pytest.approx(wanted, rel=1e-9)
    assert (var, cvar) == pytest.approx((case["VaR"], case["CVaR"]), abs=2e-8)


def test_published_values_of_a_fractional_tail() -> None:
    case = vectors()["cvar_closed_form"]["returns_-0.05..0.04_step_0.01"]
    returns = np.arange(-5, 5) / 100
    for beta in (0.80, 0.85, 0.90):
        assert tail_mean(returns, 10, 1 - beta, False)[1] == pytest.approx(case[f"{beta:.2f}"], abs=1e-9)
