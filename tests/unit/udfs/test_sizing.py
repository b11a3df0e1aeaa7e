"""Sizing: each bound binds where it should, and a target changes only when a warm, strong score turns."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kit import run, same
from udfs import profiles
from udfs.profiles import Sizing
from udfs.stages import sizing

BASE: dict[str, Any] = {"entry": 0.1, "reference_equity": 1e6, "fixed_notional": 1e5, "cvar_budget": 250.0,
                        "kelly_fraction": 0.25, "kelly_shrink": 1.0, "gross_cap": 5e5}


def size(rows: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    """Targets for rows: strong and warm, mu agreeing, no bound but the fixed notional near, unless a row says else."""
    base = {"slot": 0, "score": 0.5, "mu": 1e-3, "sigma": 1e-3, "cvar_975": 1e-4, "warm": 1, "bid": 99.99,
            "ask": 100.01}
    whole = [base | {"mu": np.copysign(1e-3, row.get("score", 1.0))} | row for row in rows]
    columns = {name: np.array([row[name] for row in whole]) for name in base}
    stage = sizing.stage(profiles.DEFAULT.model_copy(update={"sizing": Sizing(**(BASE | changed))}))
    return run(stage, columns | {"slots": 1 + int(columns["slot"].max())})


def constraint(found: dict[str, Any], row: int = -1) -> str:
    return sizing.CONSTRAINTS[found["binding"][row]]


def test_fixed_notional_binds_and_is_scaled_by_the_score() -> None:
    found = size([{}])
    assert (constraint(found), found["target_notional"][0]) == ("fixed_notional", 0.5 * 1e5)


def test_cvar_budget_binds_where_the_tail_is_heavy() -> None:
    found = size([{"cvar_975": 0.01}])
    assert constraint(found) == "cvar_budget"
    assert found["target_notional"][0] == pytest.approx(0.5 * 250 / 0.01)


def test_kelly_binds_where_mu_is_small_and_is_shrunk_by_its_uncertainty() -> None:
    mu, sigma = 1e-5, 1e-3
    found = size([{"mu": mu, "sigma": sigma}])
    shrink = mu**2 / (mu**2 + sigma**2)
    assert constraint(found) == "kelly"
    assert found["target_notional"][0] == pytest.approx(0.5 * 1e6 * 0.25 * mu / sigma**2 * shrink)
    certain = size([{"mu": mu, "sigma": sigma}], kelly_shrink=0.0, kelly_fraction=0.001)
    assert certain["target_notional"][0] == pytest.approx(0.5 * 1e6 * 0.001 * mu / sigma**2)


def test_kelly_bets_nothing_against_its_own_mu() -> None:
    found = size([{"mu": -1e-3}])
    assert (constraint(found), found["target_notional"][0]) == ("kelly", 0.0)


def test_gross_cap_leaves_the_room_that_others_leave() -> None:
    found = size([{"slot": 0}, {"slot": 1, "score": -0.5}, {"slot": 2}, {"slot": 3}], gross_cap=120_000.0)
    assert found["target_notional"].tolist() == [50_000.0, -50_000.0, 20_000.0, 0.0]
    assert [constraint(found, row) for row in range(4)] == ["fixed_notional"] * 2 + ["gross_cap"] * 2


def test_a_symbol_does_not_take_its_own_room() -> None:
    found = size([{}, {"score": -0.9}], gross_cap=100_000.0)
    assert found["target_notional"].tolist() == [50_000.0, -90_000.0]


@pytest.mark.parametrize("row", [{"warm": 0}, {"score": 0.0999}, {"score": 0.0}])
def test_no_intent_without_warmth_or_strength(row: dict[str, Any]) -> None:
    assert size([row])["intent"].tolist() == [0]


def test_intents_are_numbered_and_come_only_when_the_direction_turns() -> None:
    found = size([{"score": s} for s in (0.2, 0.9, -0.05, -0.2, -0.9, 0.1)])
    assert found["intent"].tolist() == [1, 0, 0, 2, 0, 3]


def test_no_target_is_above_any_bound_and_cuts_change_no_bit() -> None:
    rng = np.random.default_rng(6)
    count = 2_000
    rows = {"slot": rng.integers(0, 8, count), "slots": 8, "score": rng.uniform(-1, 1, count),
            "mu": rng.normal(0, 1e-3, count), "sigma": rng.uniform(1e-5, 1e-2, count),
            "cvar_975": rng.uniform(1e-6, 1e-2, count), "warm": rng.integers(0, 2, count),
            "bid": np.full(count, 99.99), "ask": np.full(count, 100.01)}
    stage = sizing.stage(profiles.DEFAULT)
    found = run(stage, rows)
    same(run(stage, rows, range(9, count, 9)), found)
    s, target = profiles.DEFAULT.sizing, np.zeros(8)
    for row in np.flatnonzero(found["intent"]):
        target[rows["slot"][row]] = found["target_notional"][row]
        assert abs(found["target_notional"][row]) <= min(s.fixed_notional, s.cvar_budget / rows["cvar_975"][row]) + 1e-9
        assert np.abs(target).sum() <= s.gross_cap + 1e-6


def test_a_forecast_must_be_worth_the_crossing() -> None:
    """Half the spread over mid is 1e-4 here: a mu below it changes nothing, one above does."""
    assert size([{"mu": 0.99e-4}], cost_ratio=0.5)["intent"].tolist() == [0]
    assert size([{"mu": 1.01e-4}], cost_ratio=0.5)["intent"].tolist() == [1]
