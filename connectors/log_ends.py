"""How far a topic's log reaches now: what an operator asks before it stops waiting for a quiet partition."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors import broker

TIMEOUT_S = 2.0


@dataclass
class LogEnds:
    """A question to the broker. It travels to the workers; each makes its own client at the first call."""

    bootstrap: str
    topic: str
    _client: Any = field(default=None, repr=False)

    def __call__(self) -> list[tuple[int, int]]:
        """First and next offset of every partition; empty when the broker does not answer within 2 s."""
        if self._client is None:
            self._client = AdminClient(broker.client(self.bootstrap))
        try:
            count = len(self._client.list_topics(self.topic, timeout=TIMEOUT_S).topics[self.topic].partitions)
            first, end = self._ask(count, OffsetSpec.earliest()), self._ask(count, OffsetSpec.latest())
            return list(zip(first, end, strict=True))
        except KafkaException:
            return []

    def _ask(self, count: int, spec: OffsetSpec) -> list[int]:
        asked = {TopicPartition(self.topic, partition): spec for partition in range(count)}
        found = self._client.list_offsets(asked, request_timeout=TIMEOUT_S)
        return [int(future.result().offset) for _, future in sorted(found.items(), key=lambda item: item[0].partition)]
