"""The cluster's job graph in an embedded Flink writes the bytes that the same workers write in one process."""
from __future__ import annotations

from pathlib import Path

import pytest

from jobs.chain.inprocess import Chain
from sigmaflow.backtest import embedded, engine, inputs
from sigmaflow.backtest.results import Collector
from sigmaflow.backtest.tick_log import TickLogWriter
from sigmaflow.errors import Failed
from sigmaflow.settings import load
from tests import reference_strategy
from tests.histories import SPOILT, eager
from tests.unit.sigmaflow.test_backtest import SHARDS, log_of, parquet, quiet
from udfs.models import Models


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> inputs.Input:
    """Ticks of several partitions, with some that are none."""
    folder = tmp_path_factory.mktemp("ticks")
    plain = inputs.from_files([parquet(folder / "t.parquet", reference_strategy.ticks(4_000))], folder / "plain", quiet)
    with TickLogWriter(folder / "log", SHARDS) as writer:
        for batch in plain.log.batches():
            for at in range(0, len(batch.messages), 300):
                writer.append(batch.shard, [*batch.messages[at:at + 300], SPOILT])
        return inputs.Input(writer.finish(), "made up", plain.contracts)


def test_both_engines_write_the_same_bytes(given: inputs.Input, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, list[bytes]] = {}
    take = Collector.take

    def keep(self: Collector, emission: engine.Emission) -> None:
        written.setdefault(emission.topic, []).extend(emission.values)
        take(self, emission)

    monkeypatch.setattr(Collector, "take", keep)
    told: list[int] = []
    ran = embedded.run(given, eager(), Models(eager()), load(), told.append)
    whole = Chain(eager(), SHARDS).run(["pipeline"], log_of(given))
    assert len(written["fills.v1"]) > 10 and written.keys() >= {"equity.v1", "decisions.v1", "market.ticks.v1.dlq"}
    for topic in ("intents.v1", "fills.v1", "equity.v1", "decisions.v1"):
        assert written[topic] == whole[topic][0], topic
    assert sorted(written["market.ticks.v1.dlq"]) == sorted(whole["market.ticks.v1.dlq"][0])
    counts = ran.results.counts
    assert counts.ticks == given.log.rows and counts.accepted == 4_000
    assert told and max(told) <= given.log.rows


def test_a_job_that_fails_says_why(given: inputs.Input) -> None:
    broken = load().model_copy(update={"python": Path("/bin/false")})
    with pytest.raises(Failed, match="embedded Flink must run the job to its end, but it said nothing"):
        embedded.run(given, eager(), Models(eager()), broken)
