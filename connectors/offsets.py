"""How many records each topic holds, asked from the broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

TIMEOUT_S = 5.0


def end_offsets(admin: AdminClient, topics: Iterable[str]) -> dict[str, int]:
    """Return the sum of the end offsets of each topic's partitions; topics that do not exist are left out.

    On topics written in transactions the commit markers count too: one a transaction and partition.
    Raises KafkaException where the broker does not answer.
    """
    present = admin.list_topics(timeout=TIMEOUT_S).topics
    wanted = {
        TopicPartition(topic, partition): OffsetSpec.latest()
        for topic in topics
        if topic in present
        for partition in present[topic].partitions
    }
    found: Counter[str] = Counter()
    if wanted:
        for partition, future in admin.list_offsets(wanted, request_timeout=TIMEOUT_S).items():
            found[partition.topic] += future.result().offset
    return dict(found)
