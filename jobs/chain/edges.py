"""What the account's order needs of the broker: how far a log reaches, and the frontiers written so far.

Each operator makes its own clients at its first call; until then this is a value that travels with the job.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors import broker
from jobs.chain.messages import RecordReader, RecordWriter
from udfs.order import Frontier

TIMEOUT_S = 2.0
WRITE_S = 10
LOAD_S = 60.0
"""Longest wait for the frontiers at a start: without them the order could be another than before."""


@dataclass
class BrokerEdges:
    """The ends of a topic of ticks, and frontiers: those of `recorded` topics and of `topic`, which new ones go to."""

    bootstrap: str
    ticks: str
    topic: str
    recorded: tuple[str, ...]
    account: str
    writer: RecordWriter
    reader: RecordReader
    _admin: Any = field(default=None, repr=False)
    _producer: Any = field(default=None, repr=False)

    def ends(self) -> list[tuple[int, int]]:
        """First and next offset of every partition; empty when the broker does not answer within 2 s."""
        if self._admin is None:
            self._admin = AdminClient(broker.client(self.bootstrap))
        try:
            count = len(self._admin.list_topics(self.ticks, timeout=TIMEOUT_S).topics[self.ticks].partitions)
            first, end = self._ask(count, OffsetSpec.earliest()), self._ask(count, OffsetSpec.latest())
            return list(zip(first, end, strict=True))
        except KafkaException:
            return []

    def _ask(self, count: int, spec: OffsetSpec) -> list[int]:
        asked = {TopicPartition(self.ticks, partition): spec for partition in range(count)}
        found = self._admin.list_offsets(asked, request_timeout=TIMEOUT_S)
        return [int(future.result().offset) for _, future in sorted(found.items(), key=lambda item: item[0].partition)]

    def frontiers(self) -> list[Frontier]:
        """All frontiers of this account, the recorded ones first. Raises KafkaException where they cannot be read."""
        rows = [row for topic in (*self.recorded, self.topic) for row in self._rows(topic)]
        return [Frontier(row["partition"], row["offset"], row["ts_order"])
                for row in rows if row["account"] == self.account]

    def _rows(self, topic: str) -> list[dict[str, Any]]:
        at = TopicPartition(topic, 0)
        consumer = Consumer(broker.client(self.bootstrap) | {"group.id": "frontiers", "enable.auto.commit": False,
                                                             "enable.partition.eof": True})
        rows: list[dict[str, Any]] = []
        try:
            _, end = consumer.get_watermark_offsets(at, timeout=LOAD_S)
            consumer.assign([TopicPartition(topic, 0, 0)])
            while consumer.position([at])[0].offset < end:
                message = consumer.poll(LOAD_S)
                if message is None:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
                if message.error() is None:
                    rows.append(self.reader.read(message.value()))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    break
        finally:
            consumer.close()
        return rows

    def write(self, frontiers: Sequence[Frontier]) -> None:
        """Write frontiers. Raises KafkaException where the broker does not confirm them.

        What became of them is then unknown, so the job must not go on but begin again from what the topic holds.
        """
        if self._producer is None:
            self._producer = Producer(broker.client(self.bootstrap) | {
                "acks": "all", "enable.idempotence": True, "linger.ms": 0, "delivery.timeout.ms": 1000 * WRITE_S})
        failed: list[KafkaError] = []
        for f in frontiers:
            record = {"account": self.account, "partition": f.shard, "offset": f.offset, "ts_order": f.ts_order}
            self._producer.produce(self.topic, self.writer.write(record), self.account.encode(), 0,
                                   on_delivery=lambda error, _: failed.append(error) if error else None)
        if self._producer.flush(WRITE_S + 1) or failed:
            raise KafkaException(failed[0] if failed else KafkaError(KafkaError._TIMED_OUT))
