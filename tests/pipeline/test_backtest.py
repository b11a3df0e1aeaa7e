"""A backtest of a run's log writes the bytes that the cluster wrote, and places ticks where Kafka placed them."""
from __future__ import annotations

from pathlib import Path

from connectors.consume import messages
from connectors.market.simulator import Config, generate
from jobs.chain.messages import EXACTLY_ONCE
from schemas.codec import HEADER
from sigmaflow import recording
from sigmaflow.backtest import inputs
from sigmaflow.errors import UserError
from sigmaflow.runs import Run, send
from sigmaflow.settings import Settings
from tests.unit.sigmaflow.test_backtest import log_of, written
from udfs import profiles

TICKS = 20_000


def test_a_backtest_of_a_log_writes_what_the_cluster_wrote(stack: Settings, tmp_path: Path) -> None:
    market = list(generate(Config(seed=3, count=TICKS)))
    with Run("backtest", "default", settings=stack, servers=False) as run:
        send(run.writer, market, TICKS)
        run.settle()
        recorded = recording.read(stack, run.namespace)
        wrote = {topic: [m.value() for m in messages(run.topic(topic), stack, True)] for topic in EXACTLY_ONCE}
        given = inputs.from_log(stack, run.namespace, tmp_path / "log", None, None)
        stamps = [stamp for part in recorded.stamps for stamp in part]
        until = max(min(stamps) + 1, max(stamps))  # a quick machine sends all of them within a second
        part = inputs.from_log(stack, run.namespace, tmp_path / "part", min(stamps), until)
        try:
            inputs.from_log(stack, run.namespace, tmp_path / "none", max(stamps) + 60, None)
            raise AssertionError("a span without ticks must be refused")
        except UserError as error:
            assert "must hold ticks" in str(error)
    assert part.log.rows == sum(min(stamps) <= stamp < until for stamp in stamps)
    found = written(given, profiles.DEFAULT)
    assert len(found["decisions.v1"]) == TICKS
    for topic in EXACTLY_ONCE:
        assert found.get(topic, []) == wrote[topic], topic
    placed = log_of(inputs.write(market, tmp_path / "files", "simulator"))
    assert [[m[HEADER:] for m in part] for part in placed] == [[m[HEADER:] for m in part] for part in recorded.ticks]
