"""Slow values at ticks against a plain search, and slow alphas without them."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit import quotes, run
from udfs import profiles, slow
from udfs.functions import FUNCTIONS
from udfs.slow import NONE, NOT_YET, SPEAKS, STALE, SlowValue
from udfs.stages import alphas, features

VALUES = st.lists(st.builds(SlowValue, st.integers(0, 9), st.integers(0, 50), st.integers(0, 9), st.floats(-1, 1),
                            st.integers(0, 19)), max_size=6).map(sorted)
TICKS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12)


def plain(values: list[SlowValue], offset: int, ts: int) -> tuple[float, int]:
    held = [v for v in values if v.first <= offset]
    public = [v for v in held if v.known <= ts]
    if not public:
        return 0.0, NOT_YET if held else NONE
    return (0.0, STALE) if ts > public[-1].until else (public[-1].value, SPEAKS)


@settings(max_examples=50, deadline=None)
@given(VALUES, TICKS, st.integers(0, 12))
def test_a_tick_reads_the_last_value_that_holds_and_is_public(
        values: list[SlowValue], steps: list[tuple[int, int]], cut: int) -> None:
    offset, ts = (np.cumsum(column) for column in np.array(steps).T)
    found = slow.read(values, offset, ts)
    wanted = [plain(values, int(o), int(t)) for o, t in zip(offset, ts, strict=True)]
    assert list(zip(found.value.tolist(), found.silence.tolist(), strict=True)) == wanted
    assert ((found.life >= 0) & (found.life <= 1)).all()
    cut = min(cut, len(offset) - 1)
    left = slow.living(values, int(offset[cut]), int(ts[cut]))
    again = slow.read(left, offset[cut:], ts[cut:])
    assert again.silence.tolist() == found.silence[cut:].tolist()
    assert again.value.tolist() == found.value[cut:].tolist()


def test_a_slow_alpha_without_a_value_knows_nothing_and_changes_no_other() -> None:
    """The alphas of `default` say the same beside it, bit for bit."""
    ticks = run(features.stage(profiles.DEFAULT), quotes(300, 2, seed=5))
    default, more = (run(alphas.stage(profile), ticks) for profile in (profiles.DEFAULT, profiles.SLOW))
    count = len(profiles.DEFAULT.alphas.names)
    for name in ("score", "mu", "sigma", "confidence", "silence"):
        assert np.array_equal(more[f"signals.{name}"][:, :count], default[f"signals.{name}"])
    assert not more["signals.confidence"][:, count:].any() and not more["signals.mu"][:, count:].any()
    assert (more["signals.silence"][:, count:] == NONE).all()
    assert (more["signals.sigma"][100:, count:] > 0).all()


@pytest.mark.parametrize("silence", [NONE, NOT_YET, STALE])
def test_a_silent_tick_has_confidence_0_and_its_reason_and_a_speaking_one_a_score(silence: int) -> None:
    ticks = run(features.stage(profiles.DEFAULT), quotes(300, 1, seed=5))
    rows = len(ticks["slot"])
    why = np.where(np.arange(rows) % 3 == 0, silence, SPEAKS)
    given_ = {"macro": np.full(rows, 0.5), "macro_life": np.ones(rows), "macro_silence": why,
              "sentiment": np.full(rows, -0.5), "sentiment_life": np.full(rows, 0.5), "sentiment_silence": why}
    found = run(alphas.stage(profiles.SLOW), ticks | given_)
    at = profiles.SLOW.alphas.names.index("macro_gauge")
    assert found["signals.silence"][:, at].tolist() == why.tolist()
    assert found["signals.score"][:, at].tolist() == np.where(why == SPEAKS, 0.5, 0.0).tolist()
    assert found["signals.score"][:, at + 1].tolist() == np.where(why == SPEAKS, -0.25, 0.0).tolist()
    quiet = found["signals.confidence"][:, at] == 0
    assert quiet.tolist() == (why != SPEAKS).tolist()


def test_slow_alphas_are_no_sql_functions() -> None:
    assert not {"macro_gauge", "news_sentiment"} & FUNCTIONS.keys()
