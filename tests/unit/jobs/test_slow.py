"""Slow values in the chain: they hold from places that are in the log, and every replay reads the same."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from jobs.chain import inprocess, plans
from jobs.chain.commands import Indicator, Ruling, ruling
from jobs.chain.inprocess import Chain, Log, MemoryEdges, contracts
from jobs.chain.plans import TAPS
from jobs.chain.slow import INDICATOR, SlowValues
from schemas.codec import Decoder
from tests import reference_strategy
from tests.unit.jobs.test_chain import RESULTS, log
from udfs import profiles
from udfs.profiles import Profile
from udfs.slow import NONE, NOT_YET, SPEAKS, STALE

SHARDS = 2
ROWS = 2_400
NAMES = profiles.SLOW.alphas.names
MACRO, NEWS = NAMES.index("macro_gauge"), NAMES.index("news_sentiment")


class Growing(MemoryEdges):
    """Logs that have an end, as a broker's have: `told` says how far each partition goes at each question."""

    ends_at = 0

    def end(self, shard: int) -> int | None:
        """The end of the log at this moment."""
        return self.ends_at


def edges(*made: Indicator, end: int = 7) -> Growing:
    found = Growing(1, [], [])
    found.made, found.ends_at = list(made), end
    return found


def at(offsets: list[int], times: list[int]) -> dict[str, Any]:
    return {"offset": np.array(offsets), "ts_order": np.array(times), "slot": np.zeros(len(offsets), np.int64)}


def test_a_value_holds_from_the_end_of_the_log_on_and_only_while_it_is_public_and_fresh() -> None:
    held = edges(Indicator(0, "macro", "", 0.5, 100, 200))
    values = SlowValues(held, 0, ("macro",))
    values.learn()
    values.learn()
    assert held.ruled == [Ruling(0, INDICATOR, "", 0, 7, 0, "macro", "", 0.5, 100, 200)]
    found = values.columns(at([6, 7, 8, 9, 10], [99, 99, 100, 200, 201]), [b"V:S"])
    assert found["macro_silence"].tolist() == [NONE, NOT_YET, SPEAKS, SPEAKS, STALE]
    assert found["macro"].tolist() == [0, 0, 0.5, 0.5, 0] and found["macro_life"].tolist() == [0, 0, 1, 0, 0]


def test_a_symbol_s_own_value_goes_before_the_one_for_all() -> None:
    values = SlowValues(edges(Indicator(0, "sentiment", "", 0.1, 0, 99), Indicator(1, "sentiment", "S", 0.9, 5, 99)), 0,
                        ("sentiment",))
    values.learn()
    columns = at([7, 8, 9, 10], [4, 4, 5, 5]) | {"slot": np.array([0, 1, 0, 1])}
    assert values.columns(columns, [b"V:S", b"V:T"])["sentiment"].tolist() == [0.1, 0.1, 0.9, 0.1]


def test_a_restart_takes_the_places_that_were_ruled_and_others_names_and_partitions_do_not_count() -> None:
    held = edges(Indicator(0, "macro", "", 0.5, 0, 99), Indicator(1, "other", "", 0.5, 0, 99))
    SlowValues(held, 0, ("macro",)).learn()
    SlowValues(held, 1, ("macro",)).learn()
    held.ends_at = 50
    again = SlowValues(held, 0, ("macro",))
    again.learn()
    assert [(r.partition, r.first) for r in held.ruled] == [(0, 7), (1, 7)]
    assert again.columns(at([7], [1]), [b"V:S"])["macro"].tolist() == [0.5]


def test_a_ruling_is_a_message_and_one_of_before_has_no_value() -> None:
    made = Ruling(3, INDICATOR, "", 2, 1_000, 0, "macro", "S", 0.5, 7, 9)
    assert ruling(made.record("paper")) == made
    old = {name: value for name, value in Ruling(1, "halt", "", -1, 4).record("paper").items()
           if name in ("command", "kind", "model_digest", "partition", "first", "schema_id")}
    assert ruling(old) == Ruling(1, "halt", "", -1, 4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.floats(-1, 1), st.integers(0, 40)), max_size=10),
       st.lists(st.integers(0, 3), min_size=60, max_size=60), st.integers(1, 20))
def test_cuts_do_not_move_a_value(told: list[tuple[int, int, float, int]], steps: list[int], size: int) -> None:
    """Values told while micro-batches of one size run, read again with other cuts and after restarts."""
    times, held = np.cumsum(steps), edges()
    told.sort(key=lambda row: row[0])

    def run(size: int, live: bool, restart: bool = False) -> list[tuple[float, int]]:
        values, out = SlowValues(held, 0, ("macro",)), list[tuple[float, int]]()
        for first in range(0, 60, size):
            held.ends_at = first + size                     # the log is ahead of what is read
            while live and told and told[0][0] <= first:
                _, known, value, life = told.pop(0)
                held.made.append(Indicator(len(held.made), "macro", "", value, known, known + life))
            if restart:
                values = SlowValues(held, 0, ("macro",))
            values.learn()
            rows = np.arange(first, min(60, first + size))
            found = values.columns(at(rows.tolist(), times[rows].tolist()), [b"V:S"])
            out += zip(found["macro"].tolist(), found["macro_silence"].tolist(), strict=True)
        return out

    live = run(size, True)
    held.made = held.made[:len({r.command for r in held.ruled})]
    assert live == run(60, False) == run(7, False, restart=True)


@pytest.fixture(scope="module")
def ticks() -> Log:
    return log(reference_strategy.ticks(ROWS), SHARDS)


def rulings(ticks: Log) -> list[Ruling]:
    """As if a process had told three values while the ticks came."""
    times = reference_strategy.ticks(ROWS)["ts"]
    middle, last = int(times[ROWS // 2]), int(times[-1])
    made = [(0, "macro", "", 0.5, int(times[0]), last), (1, "sentiment", "", 0.8, middle, last + 1),
            (2, "sentiment", "SYM0", -0.8, middle, middle + (last - middle) // 2)]
    return [Ruling(command, INDICATOR, "", shard, 100 * (command + 1), 0, name, symbol, value, known, until)
            for shard in range(SHARDS) for command, name, symbol, value, known, until in made]


def signals(topics: dict[str, Log]) -> dict[str, Any]:
    schema = schemas.load("signals")
    messages = [m for part in topics["signals.v1"] for m in part]
    return Decoder(schema, {contracts().id("signals.v1"): schema}).decode(messages).columns


def test_replays_with_other_cuts_jobs_and_restarts_write_the_same_bytes(ticks: Log) -> None:
    ruled = rulings(ticks)
    whole = Chain(profiles.SLOW, SHARDS, taps=TAPS).run(["pipeline"], ticks, rulings=ruled)
    again = Chain(profiles.SLOW, SHARDS, 60, 3, restart=0.05, taps=TAPS).run(["pipeline"], ticks, rulings=ruled)
    six = Chain(profiles.SLOW, SHARDS, 200, 4, restart=0.02).run(plans.JOBS, ticks, rulings=ruled)
    for topic in (*TAPS, *RESULTS):
        assert again.get(topic) == whole.get(topic) == six.get(topic), topic
    found = signals(whole)
    silence, confidence = found["signals.silence"], found["signals.confidence"]
    assert {NONE, SPEAKS} == set(silence[:, MACRO].tolist())
    assert {NONE, NOT_YET, SPEAKS, STALE} == set(silence[:, NEWS].tolist())
    assert not silence[:, :MACRO].any()
    quiet = silence != SPEAKS
    assert not confidence[quiet].any() and (confidence[~quiet] >= 0.5).all()
    assert not found["signals.mu"][quiet].any() and not found["signals.score"][quiet].any()
    nothing = Chain(profiles.SLOW, SHARDS, taps=TAPS).run(["pipeline"], ticks)
    for topic in ("signals.v1", "opportunities.v1", "decisions.v1"):
        assert nothing[topic] != whole[topic], topic
    assert set(signals(nothing)["signals.silence"][:, MACRO:].ravel().tolist()) == {NONE}


def test_a_live_run_writes_rulings_and_its_replay_the_same_bytes(ticks: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The live run learns of values while it goes, from logs that are ahead of it; the replay knows rulings alone."""
    class Live(Growing):
        """Each question is asked a little later: the log has grown, and something new may have been told."""

        def indicators(self) -> list[Indicator]:
            self.ends_at += 37
            count = min(6, self.ends_at // 400)
            self.made += [Indicator(n, "macro", "", 0.1 * n - 0.3, 0, 2**62) for n in range(len(self.made), count)]
            return self.made

    monkeypatch.setattr(inprocess, "MemoryEdges", Live)
    live = Chain(profiles.SLOW, SHARDS, 50, 1, restart=0.05, taps=TAPS)
    made = live.run(["pipeline"], ticks)
    ruled = [r for r in live.edges.ruled if r.kind == INDICATOR]
    assert len(ruled) > 4
    monkeypatch.undo()
    replay = Chain(profiles.SLOW, SHARDS, 900, 2, taps=TAPS)
    again = replay.run(["pipeline"], ticks, live.edges.held, rulings=live.edges.ruled)
    for topic in (*TAPS, *RESULTS):
        assert again.get(topic) == made.get(topic), topic


@pytest.mark.parametrize("profile", [profiles.REFERENCE, profiles.DEFAULT])
def test_other_profiles_ask_for_nothing(profile: Profile) -> None:
    for job in ("pipeline", "alphas"):
        assert plans.shard(job, profile, contracts(), SHARDS).slow == ()
    assert not plans.shard("alphas", profile, contracts(), SHARDS).learns
    assert plans.shard("alphas", profiles.SLOW, contracts(), SHARDS).learns
