"""Indicators are folds of the logs: against plain NumPy, whatever the cuts, and each told once."""
from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.slow.indicators import DAY_NS, HALF_LIFE_NS, WINDOW_NS, Macro, Maker, Sentiment, signs
from sigmaflow.errors import UserError
from tests.slow_server import NOW


def score(known: int, value: float | None, confidence: float = 0.5, symbols: str = "BTCUSDT", age: int = 0,
          model: str = "lexicon") -> dict[str, Any]:
    return {"model": model, "score": value, "confidence": confidence, "symbols": symbols, "ts_known": known,
            "ts_published": known - age}


def observation(series: str, day: int, value: float | None, known: int | None = None) -> dict[str, Any]:
    return {"series": series, "date": str(date(2025, 1, 1) + timedelta(days=day)), "value": value,
            "ts_known": NOW + day * DAY_NS if known is None else known}


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4 * WINDOW_NS), st.floats(-1, 1), st.floats(0.1, 1)), min_size=1, max_size=30))
def test_sentiment_is_a_weighted_mean_of_the_last_hours(rows: list[tuple[int, float, float]]) -> None:
    rows.sort()
    fold = Sentiment("lexicon")
    for at, value, confidence in rows:
        fold.add(score(NOW + at, value, confidence))
    market, own = fold.take()
    known, values, weights = (np.array(column, float) for column in zip(*rows, strict=True))
    near = known >= known[-1] - WINDOW_NS
    weights = weights * 0.5 ** ((known[-1] - known) / HALF_LIFE_NS)
    assert market["value"] == pytest.approx(np.average(values[near], weights=weights[near]), abs=1e-9)
    assert (market["symbol"], own["symbol"]) == ("", "BTCUSDT") and market["value"] == own["value"]
    assert market["ts_known"] == NOW + rows[-1][0] and market["ts_until"] == market["ts_known"] + WINDOW_NS


def test_scores_that_are_none_and_those_of_others_do_not_count() -> None:
    fold = Sentiment("lexicon")
    fold.add(score(NOW, None))
    fold.add(score(NOW, 1.0, model="other"))
    assert fold.take() == []
    fold.add(score(NOW, 1.0, confidence=0.0))
    assert fold.take() == []                                # no feeling in any word: nothing is known
    fold.add(score(NOW, 1.0, age=2 * WINDOW_NS))
    assert fold.take() == []                                # old when it was read


def test_macro_is_the_deviation_of_the_newest_value_of_what_was_known() -> None:
    fold, rng = Macro({"A": 1, "B": -1}), np.random.default_rng(1)
    a, b = rng.normal(size=40), rng.normal(size=40)
    for day in range(40):
        fold.add(observation("A", day, a[day]))
        fold.add(observation("B", day, b[day]))
    (found,) = fold.take()
    z = [(x[-1] - x[:-1].mean()) / x[:-1].std() for x in (a, b)]
    assert found["value"] == pytest.approx((np.tanh(z[0] / 2) - np.tanh(z[1] / 2)) / 2)
    assert found["ts_until"] == found["ts_known"] + 7 * DAY_NS and found["evidence"] == 2
    assert fold.take() == []


def test_a_stale_series_does_not_count_and_too_few_values_tell_nothing() -> None:
    fold = Macro({"A": 1, "B": 1})
    for day in range(12):
        fold.add(observation("A", day, float(day % 3)))
    fold.add(observation("B", 100, 1.0))
    assert fold.take() == []
    for day in range(100, 112):
        fold.add(observation("B", day, float(day % 5)))
    (found,) = fold.take()
    assert found["evidence"] == 1 and found["detail"].startswith("B ")


@pytest.mark.parametrize("values", [[], [1.0], [2.0] * 30, [None] * 30])
def test_nothing_one_equal_or_missing_values(values: list[float | None]) -> None:
    fold = Macro({"A": 1})
    for day, value in enumerate(values):
        fold.add(observation("A", day, value))
    assert fold.take() == []


@given(st.lists(st.integers(0, 39), max_size=6), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_restart_tells_no_indicator_again(cuts: list[int], history: bool) -> None:
    """A process that folds in parts and is started again between them; its log is what it told."""
    rng = np.random.default_rng(2)
    macro = [observation("VIXCLS", day, float(rng.normal())) for day in range(40)]
    log: list[dict[str, Any]] = []
    for end in [*sorted(cuts), 40]:
        log += Maker("lexicon", signs([]), log, history).take(macro[:end], [])
    known = [record["ts_known"] for record in log]
    assert known == sorted(set(known)) and Maker("lexicon", signs([]), log, history).take(macro, []) == []
    if history:
        assert log == Maker("lexicon", signs([]), [], True).take(macro, [])


def test_what_says_nothing_new_is_not_told() -> None:
    maker = Maker("lexicon", signs([]), [])
    assert len(maker.take([], [score(NOW, 0.5, symbols="")])) == 1
    assert maker.take([], [score(NOW + 1, 0.51, symbols="")]) == []
    assert len(maker.take([], [score(NOW + 2, -0.5, symbols="")])) == 1
    assert len(maker.take([], [score(NOW + 2 + WINDOW_NS, 0.0, symbols="")])) == 1


def test_what_series_must_read() -> None:
    with pytest.raises(UserError, match="--series must read SERIES"):
        signs(["VIXCLS"])
