"""What operators need of the broker beside their input: how far a log reaches, and small logs of what was learnt.

Each operator makes its own clients at its first call; until then this is a value that travels with the job.
"""
from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors import broker
from connectors.confirmed import ConfirmedWriter
from connectors.offsets import bounds
from jobs.chain.chained import Chained
from jobs.chain.commands import Command, Indicator, Ruling, command, ruling
from jobs.chain.messages import RecordReader
from udfs.order import Frontier

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
WRITE_S = 10
LOAD_S = 60.0
"""Longest wait for a log at a start: without it the order could be another than before."""
TAILS = (64, 65_536, 2**62)
"""Offsets looked through for the last message of a topic, each where the one before it showed foreign ones only. The
very last ones may be markers of transactions.
"""


@dataclass
class SmallLog:
    """A topic of one partition with few messages, written by one operator and read whole at its start.

    `recorded` are topics of the same kind whose messages count as if they stood before its own.
    """

    bootstrap: str
    topic: str
    recorded: tuple[str, ...]
    account: str
    chained: Chained
    reader: RecordReader
    _writer: ConfirmedWriter | None = field(default=None, repr=False)

    def read(self) -> list[dict[str, Any]]:
        """All messages of this account, the recorded ones first. Raises KafkaException where they cannot be read.

        The writer is made now: a client's first message takes half a second, in which it gets its producer id.
        """
        if self._writer is None:
            self._writer = ConfirmedWriter(self.bootstrap, WRITE_S, {"linger.ms": 0})
        recorded = [record for topic in self.recorded for record in self._records(topic)]
        own = self._records(self.topic)
        for record in own:
            self.chained.note(record)
        return [*recorded, *own]

    def _records(self, topic: str) -> list[dict[str, Any]]:
        found = (_own(self.reader, m) for m in messages(self.bootstrap, topic, 0))
        return [record for record in found if record and record["account"] == self.account]

    def write(self, records: Sequence[dict[str, Any]]) -> None:
        """Append messages, once the log was read. Raises KafkaException where the broker does not confirm them.

        What became of them is then unknown, so the job must not go on but begin again from what the topic holds.
        """
        assert self._writer is not None
        key = self.account.encode()
        self._writer.write(self.topic, [(key, self.chained.write(record)) for record in records], 0)


def messages(bootstrap: str, topic: str, first: int) -> Iterator[Message]:
    """Messages of partition 0 up to its present end, uncommitted ones too; a negative `first` counts from the end."""
    consumer = Consumer(broker.client(bootstrap) | {
        "group.id": "sigmaflow-edges", "enable.auto.commit": False, "enable.partition.eof": True,
        "isolation.level": "read_uncommitted"})
    try:
        low, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=LOAD_S)
        consumer.assign([TopicPartition(topic, 0, max(low, end + first if first < 0 else first))])
        while end > low:
            message = consumer.poll(LOAD_S)
            if message is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            if message.error() is None:
                yield message
            if message.error() is not None or message.offset() >= end - 1:
                break
    finally:
        consumer.close()


@dataclass
class BrokerEdges:
    """The edges of the operators of one job. `written` are topics that the account's messages go to, with readers."""

    bootstrap: str
    ticks: str
    frontier_log: SmallLog
    ruling_log: SmallLog
    command_topic: str
    command_reader: RecordReader
    indicator_topic: str
    indicator_reader: RecordReader
    written: tuple[tuple[str, RecordReader], ...] = ()
    _admin: Any = field(default=None, repr=False)
    _consumer: Any = field(default=None, repr=False)
    _commands: list[Command] = field(default_factory=list)
    _indicator_consumer: Any = field(default=None, repr=False)
    _indicators: list[Indicator] = field(default_factory=list)
    _rulings: list[Ruling] | None = None

    def ends(self) -> list[tuple[int, int]]:
        """First and next offset of every partition; empty when the broker does not answer within 2 s."""
        if self._admin is None:
            self._admin = AdminClient(broker.client(self.bootstrap))
        try:
            count = len(self._admin.list_topics(self.ticks, timeout=TIMEOUT_S).topics[self.ticks].partitions)
            return list(bounds(self._admin, {self.ticks: count}, timeout_s=TIMEOUT_S).values())
        except KafkaException:
            return []

    def end(self, shard: int) -> int | None:
        """Next offset of a partition; None when the broker does not answer within 2 s."""
        ends = self.ends()
        return ends[shard][1] if ends else None

    def frontiers(self) -> list[Frontier]:
        """All frontiers of this account, the recorded ones first."""
        return [Frontier(row["partition"], row["offset"], row["ts_order"]) for row in self.frontier_log.read()]

    def write(self, frontiers: Sequence[Frontier]) -> None:
        """Write frontiers."""
        self.frontier_log.write([{"account": self.frontier_log.account, "partition": f.shard, "offset": f.offset,
                                  "ts_order": f.ts_order} for f in frontiers])

    def commands(self) -> Sequence[Command]:
        """All commands that have arrived by now; never waits."""
        if self._consumer is None:
            self._consumer = self._from_beginning(self.command_topic)
        while (message := self._consumer.poll(0)) is not None:
            record = _own(self.command_reader, message) if message.error() is None else None
            if record and record["account"] == self.ruling_log.account:
                self._commands.append(command(message.offset(), message.value(), record))
        return self._commands

    def indicators(self) -> Sequence[Indicator]:
        """All slow values that have arrived by now; never waits."""
        if self._indicator_consumer is None:
            self._indicator_consumer = self._from_beginning(self.indicator_topic)
        while (message := self._indicator_consumer.poll(0)) is not None:
            r = _own(self.indicator_reader, message) if message.error() is None else None
            if r and not math.isfinite(r["value"]):
                log.warning("chain: an indicator must be a finite number, but %s at %s %d is %s; passed over, find out "
                            "who wrote it", r["name"], message.topic(), message.offset(), r["value"])
            elif r:
                self._indicators.append(Indicator(message.offset(), r["name"], r["symbol"], r["value"], r["ts_known"],
                                                  r["ts_until"]))
        return self._indicators

    def _from_beginning(self, topic: str) -> Consumer:
        consumer = Consumer(broker.client(self.bootstrap) | {
            "group.id": "sigmaflow-edges", "enable.auto.commit": False, "fetch.wait.max.ms": 500,
            "auto.offset.reset": "earliest"})
        consumer.assign([TopicPartition(topic, 0, 0)])
        return consumer

    def rulings(self) -> list[Ruling]:
        """All rulings for this account, the recorded ones first.

        Read once for all workers of an operator: what concerns one of them only its earlier attempts have written.
        """
        if self._rulings is None:
            self._rulings = [ruling(record) for record in self.ruling_log.read()]
        return list(self._rulings)

    def rule(self, rulings: Sequence[Ruling]) -> None:
        """Write rulings."""
        before = self.rulings()
        self.ruling_log.write([r.record(self.ruling_log.account) for r in rulings])
        self._rulings = [*before, *rulings]

    def last_seq(self) -> int:
        """The last account_seq that any message of the account has had, whoever wrote it; 0 where there is none."""
        return max((self._last_seq(topic, reader) for topic, reader in self.written), default=0)

    def _last_seq(self, topic: str, reader: RecordReader) -> int:
        for looked in TAILS:
            found = (_own(reader, message) for message in messages(self.bootstrap, topic, -looked))
            last = max((record["account_seq"] if record else 0 for record in found), default=None)
            if last is None:  # an empty topic
                break
            if last:
                return last
        return 0


def _own(reader: RecordReader, message: Message) -> dict[str, Any] | None:
    return reader.own(message.value(), message.topic(), message.partition(), message.offset())
