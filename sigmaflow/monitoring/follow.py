"""`sigmaflow traces`: follows the chain's topics, sends traces of sampled decisions, and writes decisions as lines.

A process of its own beside the chain, off unless started: the chain knows nothing of it. It begins at the end of the
topics and commits nothing. Only lineage ids are decoded of what is not sampled.
"""
from __future__ import annotations

import json
import logging
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TextIO

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

import schemas
from connectors import broker
from connectors.metrics import Arrivals
from connectors.stopping import on_signals
from jobs.chain.contracts import Contracts, lookup
from jobs.chain.messages import DECISIONS, FILLS, RecordReader
from jobs.chain.shard import TICKS
from schemas import units
from schemas.codec import Decoder
from sigmaflow.monitoring.spans import STAGES, Path, Paths, Record, line, request, sampled, spans
from sigmaflow.settings import Settings, load

log = logging.getLogger("traces")

STAGE = "traces"
READ_MESSAGES = 2_000
TIMEOUT_S = 5.0
AT_ONCE = 200
"""Traces in one request: some 100 KB."""

MAX_WAITING = 1_000
"""Traces kept while the collector does not answer; the oldest go first."""


class Message(NamedTuple):
    """One message as it comes from Kafka."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    value: bytes | None


class Collector:
    """An OTLP/HTTP collector in JSON, `url` without /v1/traces. One that is away costs a warning, and old traces."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/v1/traces"
        self._waiting: list[Path] = []
        self.sent = self.lost = 0

    def send(self, paths: Sequence[Path]) -> bool:
        """Send these and what waits; False where the collector did not take them all."""
        self._waiting += paths
        while self._waiting:
            try:
                self._post(self._waiting[:AT_ONCE])
            except (OSError, urllib.error.URLError) as error:
                self.lost += max(0, len(self._waiting) - MAX_WAITING)
                self._waiting = self._waiting[-MAX_WAITING:]
                log.warning("%s does not take traces (%s); %d wait", self._url, error, len(self._waiting))
                return False
            self.sent += len(self._waiting[:AT_ONCE])
            self._waiting = self._waiting[AT_ONCE:]
        return True

    def _post(self, paths: Sequence[Path]) -> None:
        body = json.dumps(request([span for path in paths for span in spans(path)])).encode()
        post = urllib.request.Request(self._url, body, {"Content-Type": "application/json"}, method="POST")
        urllib.request.urlopen(post, timeout=TIMEOUT_S).close()


class Follower:
    """Turns messages into traces and lines. `ratio` of the ticks are traced; `lines` takes one line a decision."""

    def __init__(self, contracts: Contracts, collector: Collector | None, ratio: float,
                 lines: Callable[[str], object] | None = None) -> None:
        self._arrivals = Arrivals()
        self._paths = Paths(self._arrivals.at)
        self._collector, self._ratio, self._lines = collector, ratio, lines
        self._readers = {topic: RecordReader(contracts.writers(topic)) for topic in STAGES}
        self._decoders = {topic: _lineage(contracts, topic) for topic in STAGES if topic != FILLS}

    def take(self, messages: Sequence[Message]) -> None:
        """Take messages, the ticks before all others: a path begins where its tick arrived."""
        for m in messages:
            if m.topic == TICKS:
                self._arrivals.note(m.partition, m.offset, m.time_ms)
        for topic in STAGES:
            held = [m for m in messages if m.topic == topic and m.value]
            if held and topic == DECISIONS and self._lines:
                for record in self._records(held):
                    self._lines(line(record))
            if held and self._collector:
                for record in self._records(self._chosen(topic, held)):
                    self._paths.add(record)

    def flush(self, now_ms: int) -> None:
        """Send the paths that have ended."""
        if self._collector:
            self._collector.send(self._paths.ended(now_ms))

    def _chosen(self, topic: str, messages: list[Message]) -> list[Message]:
        """Those whose tick is traced; of fills all, because theirs is another tick than their order's."""
        if topic == FILLS:
            return messages
        batch = self._decoders[topic].decode([m.value for m in messages])
        chosen = sampled(batch.columns["tick_id"], self._ratio) & (batch.verdict == 0)
        return [m for m, wanted in zip(messages, chosen.tolist(), strict=True) if wanted]

    def _records(self, messages: list[Message]) -> Iterator[Record]:
        """Those that are of our programs."""
        for m in messages:
            row = self._readers[m.topic].own(m.value, m.topic, m.partition, m.offset)
            if row:
                row = units.plain_row(row, units.names(schemas.topics()[m.topic].schema))
                yield Record(m.topic, m.partition, m.offset, m.time_ms, row)


def _lineage(contracts: Contracts, topic: str) -> Decoder:
    schema = contracts.schema(topic)
    wanted = schema | {"fields": [f for f in schema["fields"] if f["name"] == "tick_id"]}
    return Decoder(wanted, contracts.writers(topic), contracts.later(topic))


def run(otlp: str, ratio: float, lines: bool, namespace: str = "", settings: Settings | None = None,
        out: TextIO = sys.stdout) -> None:
    """Follow until TERM or INT. Raises UserError where broker or registry do not answer at the start."""
    settings, stop = settings or load(), on_signals()
    names = {schemas.in_run(topic, namespace): topic for topic in (TICKS, *STAGES)}
    collector = Collector(otlp) if otlp else None
    follower = Follower(lookup(settings.registry.url, names.values()), collector, ratio,
                        (lambda text: print(text, file=out, flush=True)) if lines else None)
    consumer = Consumer(broker.client(settings.kafka.bootstrap) | {
        "group.id": "sigmaflow-traces",  # required by the client; nothing is ever committed
        "enable.auto.commit": False, "isolation.level": "read_uncommitted", "fetch.queue.backoff.ms": 5})
    try:
        consumer.assign([TopicPartition(name, n, OFFSET_END) for name in names
                         for n in range(broker.partitions(consumer, settings.kafka.bootstrap, name, STAGE))])
        while not stop.is_set():
            found = [m for m in consumer.consume(READ_MESSAGES, timeout=0.2) if m.error() is None]
            follower.take([Message(names[m.topic()], m.partition(), m.offset(), m.timestamp()[1], m.value())
                           for m in found])
            follower.flush(int(time.time() * 1e3))
    finally:
        consumer.close()
