"""Sizing: each bound binds where it should, and a target changes only when a warm, strong score turns."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jobs.chain.inprocess import Memory
from tests.kit import run, same
from udfs import profiles
from udfs.profiles import NS, Sizing
from udfs.stage import KeyedState
from udfs.stages import sizing

BASE: dict[str, Any] = {"entry": 0.1, "reference_equity": 1e6, "fixed_notional": 1e5, "cvar_budget": 2.5e-4,
                        "kelly_fraction": 0.25, "kelly_shrink": 1.0, "gross_cap": 5e5}


def size(rows: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    """Targets for rows: strong and warm, mu agreeing, no bound but the fixed notional near, unless a row says else.

    One tick a second; `symbols` are as many as the rows name.
    """
    base = {"slot": 0, "score": 0.5, "mu": 1e-3, "sigma": 1e-3, "cvar_975": 1e-4, "warm": 1, "bid": 99.99,
            "ask": 100.01, "ts_order": 0}
    whole = [base | {"mu": np.copysign(1e-3, row.get("score", 1.0)), "ts_order": (1_000 + n) * NS} | row
             for n, row in enumerate(rows)]
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


def market(count: int, symbols: int = 12, seed: int = 6) -> dict[str, Any]:
    """Scores, forecasts and prices at random: two factors move the symbols."""
    rng = np.random.default_rng(seed)
    slot = rng.integers(0, symbols, count)
    ts = 1_000 * NS + np.cumsum(rng.integers(0, NS // 20, count))
    factors = np.cumsum(rng.normal(0, 1e-4, (count, 2)), axis=0)
    mid = 100 * np.exp(factors[np.arange(count), slot % 2] + 1e-5 * rng.normal(size=count))
    return {"slot": slot, "slots": symbols, "score": rng.uniform(-1, 1, count), "ts_order": ts,
            "mu": rng.normal(0, 1e-3, count), "sigma": rng.uniform(1e-5, 1e-2, count),
            "cvar_975": rng.uniform(1e-6, 1e-3, count), "warm": rng.integers(0, 8, count) > 0,
            "bid": mid - 0.01, "ask": mid + 0.01}


def targets(rows: dict[str, Any], found: dict[str, Any]) -> np.ndarray:
    """Target of every symbol after each row, a row for each and a column for each symbol."""
    held = np.zeros((len(rows["slot"]), rows["slots"]))
    now = np.zeros(rows["slots"])
    for row in range(len(held)):
        if found["intent"][row]:
            now[rows["slot"][row]] = found["target_notional"][row]
        held[row] = now
    return held


def test_no_target_is_above_any_bound_and_cuts_change_no_bit() -> None:
    rows, stage, s = market(4_000), sizing.stage(profiles.DEFAULT), profiles.DEFAULT.sizing
    found = run(stage, rows)
    same(run(stage, rows, range(9, 4_000, 9)), found)
    held = targets(rows, found)
    assert np.abs(held).max() <= min(s.fixed_notional, s.symbol_cap)
    assert np.abs(held).sum(axis=1).max() <= s.gross_cap + 1e-6
    assert s.select < (held != 0).sum(axis=1).max() <= s.select_hold
    assert set(found["binding"][found["intent"] > 0]) >= {sizing.BUDGET, sizing.KELLY, sizing.SELECTION}
    at = np.flatnonzero(found["intent"])
    lots = np.abs(found["target_notional"][at]) / (0.5 * (rows["bid"] + rows["ask"])[at] * s.lot)
    assert np.allclose(lots, np.rint(lots), atol=1e-6) and np.abs(held[held != 0]).min() >= s.min_notional


def test_state_that_went_through_bytes_gives_the_same() -> None:
    """Only touched symbols are written back between micro-batches, so ranks of others must not live in their records.
    """
    rows, stage = market(1_500), sizing.stage(profiles.DEFAULT)
    found, store = run(stage, rows), Memory()
    parts = []
    for start in range(0, 1_500, 50):
        kept = KeyedState((stage,))
        kept.open(store)
        for name in range(rows["slots"]):
            kept.slot(b"V:%d" % name)
        part = kept.run({name: v[start:start + 50] if np.ndim(v) else v for name, v in rows.items()})
        kept.save(part["slot"])
        parts.append(part)
    for name in ("intent", "target_notional", "binding", "gate_value"):
        assert np.array_equal(np.concatenate([part[name] for part in parts]), found[name]), name


def test_a_forecast_must_be_worth_the_crossing() -> None:
    """Half the spread over mid is 1e-4 here: a mu below it changes nothing, one above does."""
    assert size([{"mu": 0.99e-4}], cost_ratio=0.5)["intent"].tolist() == [0]
    assert size([{"mu": 1.01e-4}], cost_ratio=0.5)["intent"].tolist() == [1]


def prices(mids: Any) -> list[dict[str, Any]]:
    """A tick a second at these mids, none of them warm but the last."""
    return [{"bid": m - 0.01, "ask": m + 0.01, "cvar_975": 0.001, "warm": n == len(mids) - 1}
            for n, m in enumerate(mids)]


def test_until_there_are_samples_the_budget_goes_by_the_time_between_ticks() -> None:
    """One tick a second: the CVaR over 100 s is ten times that of a tick."""
    found = size(prices(np.full(50, 100.0)), cvar_budget=5e-4, cvar_horizon_s=100.0)
    assert constraint(found) == "cvar_budget"
    assert found["target_notional"][-1] == pytest.approx(0.5 * 1e6 * 5e-4 / (0.001 * 10))


def test_the_budget_is_over_a_horizon_by_sampled_returns() -> None:
    """A walk behind a bounce of as much again: what is sampled every 20 s sees the walk alone."""
    rng = np.random.default_rng(4)
    walk = np.cumsum(rng.normal(0, 1e-4, 4_000))
    mids = 100 * np.exp(walk + 5e-4 * np.where(np.arange(4_000) % 2, 1, -1))
    found = size(prices(mids), cvar_budget=1e-3, cvar_horizon_s=400.0, cvar_sample_s=20.0, symbol_cap=1e9,
                 fixed_notional=1e9, kelly_fraction=1e9, gross_cap=1e9)
    factor = 0.5 * 1e6 * 1e-3 / 0.001 / found["target_notional"][-1]
    tick = np.sqrt(np.mean(np.diff(np.log(mids))[-500:] ** 2))
    assert factor == pytest.approx(np.sqrt(400) * 1e-4 / tick, rel=0.15)  # 100 samples: a standard error of 7 %
    assert factor < np.sqrt(400) / 5


def test_a_horizon_has_at_least_the_cvar_of_a_tick() -> None:
    """Prices that are back at every sample move over no horizon; one tick they do."""
    found = size(prices(100 + 0.1 * (np.arange(400) % 2)), cvar_budget=5e-5, cvar_horizon_s=100.0, cvar_sample_s=2.0)
    assert (constraint(found), found["target_notional"][-1]) == ("cvar_budget", 0.5 * 1e6 * 5e-5 / 0.001)


def test_ticks_at_one_instant_are_a_nanosecond_apart() -> None:
    found = size([{"ts_order": NS, "warm": n == 2} for n in range(3)], cvar_horizon_s=1.0)
    assert constraint(found) == "cvar_budget" and 0 < found["target_notional"][-1] < 100


def test_a_held_target_is_cut_when_its_cvar_leaves_the_band() -> None:
    """Budget 250: a target of 50,000 may have a CVaR of 0.005; at 1.25 times that it is cut, and does not grow again.
    """
    found = size([{"cvar_975": c} for c in (1e-4, 0.006, 0.0063, 0.0063, 0.005, 1e-4)], cvar_band=1.25)
    assert found["intent"].tolist() == [1, 0, 2, 0, 0, 0]
    assert constraint(found, 2) == "cvar_budget" and found["target_notional"][2] == pytest.approx(250 / 0.0063)
    assert found["gate_passed"][2].all() and found["gate_value"][2, sizing.GATES.index("direction")] == 0


def test_caps_lots_and_the_least_notional() -> None:
    capped = size([{"score": -0.9}], symbol_cap=30_000.0)
    assert (constraint(capped), capped["target_notional"][0]) == ("symbol_cap", -30_000.0)
    whole = size([{"score": -0.5}], lot=3.0)
    assert whole["target_notional"][0] == pytest.approx(-(50_000 // 300) * 300)
    assert constraint(whole) == "fixed_notional"
    assert constraint(size([{}], lot=501.0)) == "lot" and size([{}], lot=501.0)["target_notional"][0] == 0
    least = size([{}], min_notional=50_000.1)
    assert (constraint(least), least["target_notional"][0], least["intent"][0]) == ("min_notional", 0.0, 1)


@pytest.mark.parametrize(("changed", "intents", "target"), [
    ({"score": np.nan}, 0, 0.0), ({"mu": np.nan}, 0, 0.0), ({"sigma": np.nan}, 1, 0.0), ({"cvar_975": np.nan}, 1, 0.0),
    ({"sigma": 0.0}, 1, 50_000.0), ({"sigma": 0.0, "mu": 0.0}, 1, 0.0), ({"cvar_975": 0.0}, 1, 0.0),
    ({"cvar_975": 1e-9}, 1, 50_000.0)])
def test_numbers_that_are_none_make_no_position(changed: dict[str, float], intents: int, target: float) -> None:
    """What is not known bets nothing; a sigma of 0 is a certain mu, and the floor of the CVaR binds nothing."""
    found = size([changed])
    assert (found["intent"][0], found["target_notional"][0]) == (intents, target)


RANKED = {"select": 1, "select_hold": 2, "select_bars": 40}


def ranks(found: dict[str, Any]) -> list[float]:
    """Value that the selection gate saw."""
    return found["gate_value"][:, sizing.GATES.index("selection")].tolist()


def test_a_symbol_outside_the_top_takes_no_target() -> None:
    found = size([{"score": 0.5}, {"slot": 1, "score": 0.9}, {"slot": 2, "score": 0.7}], **RANKED)
    assert found["intent"].tolist() == [1, 2, 0] and ranks(found) == [1, 1, 2]
    assert found["gate_limit"][2, sizing.GATES.index("selection")] == 1


def test_a_held_target_closes_when_its_rank_falls_behind_the_buffer() -> None:
    rows = [{"score": 0.5}, {"slot": 1, "score": 0.9}, {"slot": 2, "score": 0.95}, {"score": 0.5}, {"score": 0.5}]
    found = size(rows, **RANKED)
    assert found["intent"].tolist() == [1, 2, 3, 4, 0] and ranks(found)[3:] == [3, 3]
    assert (constraint(found, 3), found["target_notional"][3]) == ("selection", 0.0)


def test_a_turned_score_outside_the_top_closes_only() -> None:
    found = size([{"score": 0.5}, {"slot": 1, "score": 0.9}, {"score": -0.5}, {"score": -0.5}], **RANKED)
    assert (found["intent"][2], constraint(found, 2), found["target_notional"][2]) == (3, "selection", 0.0)
    assert found["intent"][3] == 0


def test_within_a_bar_ranks_are_asked_for_after_a_tenth_of_it() -> None:
    """A bar of 50 s here: the stronger symbol comes 4 s after the ranking, and asks in vain until 5 s have passed."""
    rows = [{"score": 0.5}, *({"slot": 1, "score": 0.9, "ts_order": (1_000 + s) * NS} for s in (4, 5, 6))]
    assert ranks(size(rows, **RANKED, select_bar_ns=50 * NS)) == [1, 3, 1, 1]


def test_all_equal_scores_rank_by_first_seen() -> None:
    found = size([{"slot": n % 4} for n in range(8)], **RANKED | {"select": 2})
    assert ranks(found) == [1, 2, 3, 3, 1, 2, 3, 3] and found["intent"].tolist() == [1, 2] + [0] * 6


def test_symbols_that_move_as_one_take_one_place() -> None:
    """Two symbols with the same returns and a third of its own: the twin ranks behind a weaker stranger."""
    rng = np.random.default_rng(3)
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, (2, 60)), axis=1))
    score = {0: 0.5, 1: 0.49, 2: 0.2}
    rows = [{"slot": k, "score": score[k], "bid": p - 0.01, "ask": p + 0.01, "ts_order": (100 + bar) * NS + k}
            for bar in range(60) for k, p in enumerate(prices[[0, 0, 1], bar])]
    alike = ranks(size(rows, **RANKED | {"select": 3, "select_hold": 3}))
    alone = ranks(size(rows, **RANKED | {"select": 3, "select_hold": 3, "select_penalty": 0.0}))
    assert alike[-3:] == [1, 3, 2] and alone[-3:] == [1, 2, 3]


def test_reference_profile_selects_all() -> None:
    assert np.isinf(run(sizing.stage(profiles.REFERENCE), market(5))["gate_limit"][:, -1]).all()
