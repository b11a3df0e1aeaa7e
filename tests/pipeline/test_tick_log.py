"""Ticks through a real broker: nothing lost, nothing changed, and whatever else lies in the log is told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from confluent_kafka import Producer

import schemas
from connectors import broker, monitor, ticks, topics
from connectors.consume import Record, Undecodable, follow, read_all
from connectors.market.columns import Ticks, concat
from connectors.market.simulator import Config, generate
from connectors.ticks import TickWriter
from sigmaflow.errors import UserError
from sigmaflow.settings import ROOT, Settings
from tests.waiting import PATIENCE_S

COUNT = 20_000


@pytest.fixture
def topic(stack: Settings) -> Iterator[str]:
    """An empty topic for ticks; the contract's own topics are there too."""
    topics.setup(stack, quiet=True)
    row = replace(schemas.topics()["market.ticks.v1"], name=f"test.{uuid.uuid4().hex}")
    topics.setup(stack, [row], quiet=True)
    yield row.name


def market(count: int = COUNT) -> Ticks:
    return concat(generate(Config(count=count)))


def write(stack: Settings, topic: str, *chunks: Ticks) -> None:
    writer = TickWriter(stack, topic)
    for chunk in chunks:
        writer.write(chunk)
    writer.flush()


def producer(stack: Settings, **settings: object) -> Producer:
    return Producer(broker.client(stack.kafka.bootstrap) | settings)


def test_what_is_written_is_read_back_in_order(stack: Settings, topic: str) -> None:
    ticks_ = market()
    write(stack, topic, ticks_.take(slice(0, 7_000)), ticks_.take(slice(7_000, None)))
    records = list(read_all(topic, stack))
    assert len(records) == COUNT
    for i, (venue, symbol) in enumerate(ticks_.instruments):
        of, key = ticks_.take(np.flatnonzero(ticks_.instrument == i)), f"{venue}:{symbol}".encode()
        mine = [record for record in records if record.key == key]
        assert [record.value["seq"] for record in mine] == of.seq.tolist()
        assert [record.value["bid"] for record in mine] == of.bid.tolist()
        assert [record.value["ts_event"] for record in mine] == of.ts_event.tolist()
        assert len({record.partition for record in mine}) == 1
    sides = Counter(record.value["last_side"] for record in records)
    assert set(sides) <= {"UNKNOWN", "BUY", "SELL"} and sides["UNKNOWN"] == np.isnan(ticks_.last_price).sum()


def test_keys_go_where_java_clients_put_them(stack: Settings, topic: str) -> None:
    """murmur2 of the key, made positive, modulo the number of partitions (BuiltInPartitioner of the Java client)."""
    write(stack, topic, market(1_000))
    for record in read_all(topic, stack):
        assert record.partition == (murmur2(record.key or b"") & 0x7FFFFFFF) % 4


def test_a_full_queue_waits_and_loses_nothing(stack: Settings, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ticks.PRODUCER, "queue.buffering.max.messages", 500)
    write(stack, topic, market())
    assert sum(1 for _ in read_all(topic, stack)) == COUNT


def test_a_topic_that_is_not_there_is_told(stack: Settings, topic: str) -> None:
    with pytest.raises(UserError, match=r"topic test\.nothing must exist"):
        TickWriter(stack, "test.nothing")
    with pytest.raises(UserError, match=r"topic test\.nothing must exist"):
        next(read_all("test.nothing", stack))


def test_an_empty_topic_has_no_message(stack: Settings, topic: str) -> None:
    assert list(read_all(topic, stack)) == []


def test_unreadable_values_are_told_apart(stack: Settings, topic: str) -> None:
    write(stack, topic, market(1))
    whole = next(read_all(topic, stack))
    raw = producer(stack)
    for value in (None, b"", b"hello", b"\0\0\x0f\xff\xff", b"\0\0\0\0"):
        raw.produce(topic, value, whole.key, whole.partition)
    raw.flush()
    with pytest.raises(UserError, match=r"partition \d offset 1 is not: no value"):
        list(read_all(topic, stack))
    kept = list(read_all(topic, stack, keep_undecodable=True))
    reasons = [record.value.reason for record in kept if isinstance(record.value, Undecodable)]
    assert reasons == ["no value", *["not in the Confluent wire format"] * 2, "unknown schema id 1048575",
                       "not in the Confluent wire format"]


def test_committed_reads_end_behind_markers_and_leave_out_what_was_aborted(stack: Settings, topic: str) -> None:
    write(stack, topic, market(1))
    key = next(read_all(topic, stack)).key
    writing = producer(stack, **{"transactional.id": topic})
    writing.init_transactions(30)
    for commit in (True, False):
        writing.begin_transaction()
        writing.produce(topic, b"committed" if commit else b"aborted", key)
        writing.flush()
        writing.commit_transaction(30) if commit else writing.abort_transaction(30)
    committed = list(read_all(topic, stack, read_committed=True, keep_undecodable=True))
    assert [r.value.raw for r in committed if isinstance(r.value, Undecodable)] == [b"committed"]
    assert sum(1 for _ in read_all(topic, stack, keep_undecodable=True)) == 3


def test_follow_gives_what_comes_after_it_began(stack: Settings, topic: str) -> None:
    write(stack, topic, market(10))
    flowing = follow(topic, stack)
    assert next(flowing) == []
    write(stack, topic, market(5))
    seen: list[Record] = []
    while len(seen) < 5:
        seen += next(flowing)
    assert len(seen) == 5


def test_monitor_prints_plain_lines(stack: Settings, topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(stack, topic, market(100))
    assert monitor.monitor(topic, stack, limit=20, from_beginning=True) == 20
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert all(line.startswith(f"{topic}[") and "SIM:" in line and "bid=" in line for line in lines)


def test_the_simulator_flushes_when_it_is_stopped(stack: Settings, topic: str) -> None:
    before = sum(1 for _ in read_all("market.ticks.v1", stack, keep_undecodable=True))
    process = subprocess.Popen(
        [stack.python, "-u", "-m", "connectors.simulate", "--rate", "500", "--symbols", "3"], cwd=ROOT, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert "3 symbols, 500 ticks/s" in process.stdout.readline()
    flowing = follow("market.ticks.v1", stack, from_beginning=True)
    seen = 0
    while seen <= before:
        seen += len(next(flowing))
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    sent = int(said.split(" ticks sent and confirmed")[0].split()[-1].replace(",", ""))
    assert sum(1 for _ in read_all("market.ticks.v1", stack, keep_undecodable=True)) - before == sent > 0


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 (org.apache.kafka.common.utils.Utils.murmur2)."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
