"""Slow data on a real broker: a topic is its process's memory, and a chain's edge sees what is made of it."""

from __future__ import annotations

import math
import signal
import socket
import time
from collections import Counter
from datetime import date, timedelta
from typing import Any

import numpy as np

from connectors.consume import read_all
from connectors.market.columns import concat
from connectors.market.simulator import Config, generate
from connectors.slow.log import TopicLog
from jobs.chain.chained import Chained
from jobs.chain.commands import group
from jobs.chain.contracts import lookup
from jobs.chain.edges import BrokerEdges, SmallLog
from jobs.chain.messages import COMMANDS, FRONTIERS, INDICATORS, RULINGS, RecordReader, RecordWriter
from jobs.chain.slow import SlowValues
from sigmaflow import verify
from sigmaflow.runs import Run
from sigmaflow.settings import Settings
from tests import commands
from tests.commands import topic
from tests.exposition import scraped
from tests.slow_server import growing
from tests.waiting import PATIENCE_S, wait_for
from udfs import slow
from udfs.slow import NONE, NOT_YET, SPEAKS, STALE, SlowValue

RUN = """
import sys
from connectors.slow import command
from connectors.slow.log import TopicLog
command.TopicLog = lambda settings, topic: TopicLog(settings, topic, sys.argv[2])
command.poll("rss", [sys.argv[1]], 0.05, metrics_port=0)
"""


INDICATE = """
import sys
from connectors.slow import command
from connectors.slow.log import TopicLog
command.TopicLog = lambda settings, topic, key: TopicLog(settings, topic, sys.argv[1], key)
command.indicate("lexicon", ["TEST:1"], 0.2, metrics_port=int(sys.argv[2]))
"""
DAY_NS = 86_400 * 1_000_000_000
SILENCE = ("SPEAKS", "NONE", "NOT_YET", "STALE")
"""Symbols of signals.v1 in the order of the codes of udfs/slow.py."""
ALPHAS = {"macro_gauge": "macro", "news_sentiment": "sentiment"}


def polled(address: str, name: str, number: int) -> None:
    """Poll for a while and end the process by a signal."""
    with commands.started(RUN, address, name) as process:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline()
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)


def test_a_poller_that_is_killed_and_started_again_loses_and_doubles_nothing(stack: Settings) -> None:
    """A foreign record on its topic does not keep it from its start."""
    name = topic(stack, "news.v1")
    commands.send_raw(stack, name, b"foreign")
    with growing() as address:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGTERM):
            polled(address, name, number)
    found = [record.value["guid"] for record in read_all(name, stack, keep_undecodable=True) if record.offset]
    assert len(found) > 8 and found == [f"g{i}" for i in range(1, len(found) + 1)]


def test_an_indicator_becomes_a_ruling_that_the_next_start_reads(stack: Settings) -> None:
    names = {name: topic(stack, name) for name in ("market.ticks.v1", FRONTIERS, RULINGS, COMMANDS, INDICATORS)}
    known = lookup(stack.registry.url, [FRONTIERS, RULINGS, COMMANDS, INDICATORS])

    def small(name: str) -> SmallLog:
        return SmallLog(stack.kafka.bootstrap, names[name], (), "paper",
                        Chained(RecordWriter(name, known.id(name)), group), RecordReader(known.writers(name)))

    def edges() -> BrokerEdges:
        return BrokerEdges(stack.kafka.bootstrap, names["market.ticks.v1"], small(FRONTIERS), small(RULINGS),
                           names[COMMANDS], RecordReader(known.writers(COMMANDS)), names[INDICATORS],
                           RecordReader(known.writers(INDICATORS)))

    made = {"name": "macro", "symbol": "", "value": 0.25, "ts_known": 5, "ts_until": 9, "evidence": 1, "detail": "x"}
    no_numbers = [made | {"value": value, "detail": str(value)} for value in (math.nan, math.inf)]
    TopicLog(stack, INDICATORS, names[INDICATORS], ("name", "symbol")).write([*no_numbers, made])
    held = edges()
    values = SlowValues(held, 1, ("macro",))
    wait_for("a ruling", lambda: values.learn() or held.rulings())
    (ruled,) = edges().rulings()
    assert (ruled.command, ruled.kind, ruled.partition, ruled.first, ruled.value, ruled.known, ruled.until) == (
        2, "indicator", 1, 0, 0.25, 5, 9)


def tell(stack: Settings, known: int) -> None:
    """Eleven days of a series, and a score of a headline; both are public from `known` on."""
    days = [str(date(2024, 1, 1) + timedelta(days=n)) for n in range(11)]
    TopicLog(stack, "macro.v1").write([
        {"id": f"test{n}", "series": "TEST", "date": day, "value": float(n % 3), "realtime_start": day,
         "ts_known": known - (10 - n) * DAY_NS, "ts_recv": known} for n, day in enumerate(days)])
    TopicLog(stack, "sentiment.v1").write([
        {"id": "test", "topic": "news.v1", "offset": 0, "item_id": "x", "symbols": "", "model": "lexicon",
         "model_digest": "", "score": -0.5, "confidence": 1.0, "answer": "", "error": "", "ts_published": known,
         "ts_known": known}])


def ruled(stack: Settings, name: str) -> dict[tuple[int, str], list[SlowValue]]:
    """The rulings on indicators by partition and name."""
    found: dict[tuple[int, str], list[SlowValue]] = {}
    for record in read_all(name, stack):
        r = record.value
        found.setdefault((r["partition"], r["indicator"]), []).append(
            SlowValue(r["ts_known"], r["command"], r["first"], r["value"], r["ts_until"]))
    return found


def signals(stack: Settings, name: str) -> dict[int, list[dict[str, Any]]]:
    """Messages of signals.v1 by partition, in the order of their ticks."""
    found: dict[int, list[dict[str, Any]]] = {}
    for record in read_all(name, stack):
        found.setdefault(record.value["partition"], []).append(record.value)
    return {partition: sorted(rows, key=lambda row: row["offset"]) for partition, rows in found.items()}


def test_the_profile_slow_knows_what_the_indicators_say_and_nothing_when_they_are_stale(stack: Settings) -> None:
    """Series and scores, through the process of slow data, a cluster's rulings, and into the signals."""
    ticks = concat(generate(Config(count=4_000)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Run("slow", "slow", taps="signals.v1", settings=stack) as r:
        r.writer.write(ticks.take(slice(0, 500)))
        r.writer.flush()
        wait_for("a signal for every tick", lambda: r.ends()["signals.v1"] == 500)
        tell(stack, int(ticks.ts_event[2_500]))
        with commands.started(INDICATE, r.topic(INDICATORS), str(port)) as process:
            sent, partitions = 500, np.count_nonzero(r.written()["market.ticks.v1"])
            while r.ends()[RULINGS] < len(ALPHAS) * partitions:
                r.writer.write(ticks.take(slice(sent, sent + 20)))
                r.writer.flush()
                sent += 20
                assert sent < 2_400
                time.sleep(0.1)
            wait_for("two indicators", lambda: scraped(port)["sigmaflow_slow_items_total", ("indicators",)] == 2)
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=PATIENCE_S)[0]
        r.writer.write(ticks.take(slice(sent, 3_500)))
        r.writer.write(ticks.take(slice(3_500, 4_000)).later(30 * DAY_NS))
        r.settle()
        rulings, rows = ruled(stack, r.topic(RULINGS)), signals(stack, r.topic("signals.v1"))
        verdict = verify.check(stack, r.namespace)
    assert "2 new records" in said
    assert sum(map(len, rows.values())) == 4_000
    silences = Counter[int]()
    for partition, messages in rows.items():
        offset, ts_order = (np.array([row[name] for row in messages]) for name in ("offset", "ts_order"))
        for alpha, name in ALPHAS.items():
            expected = slow.read(rulings[partition, name], offset, ts_order)
            found = [next(s for s in row["signals"] if s["alpha_id"] == alpha) for row in messages]
            assert [s["silence"] for s in found] == [SILENCE[code] for code in expected.silence]
            assert not any(s["confidence"] for s in found if s["silence"] != "SPEAKS")
            weight = expected.life if name == "sentiment" else 1.0
            assert [s["score"] for s in found] == (expected.value * weight).tolist()
            silences.update(expected.silence.tolist())
    assert set(silences) == {NONE, NOT_YET, SPEAKS, STALE} and silences[SPEAKS] > 1_000 and silences[STALE] == 1_000
    assert verdict.cases > 4_000 and not verdict.differences and not verdict.missing
