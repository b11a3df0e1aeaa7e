"""How many records each topic holds, how many a job has committed, and how fast counts rise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
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


def committed(admin: AdminClient, group: str, topic: str) -> int:
    """Return the sum of a group's committed offsets in a topic; partitions never committed count as 0.

    Flink commits at each completed checkpoint, so for a job this is how far its results are final.
    """
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT_S)
    return sum(
        max(0, partition.offset)
        for partition in asked[group].result().topic_partitions
        if partition.topic == topic
    )


class Rates:
    """How fast counts rise, by name, over the last few samples.

    >>> rates = Rates()
    >>> rates.sample({"t": 100}, 0.0); rates.sample({"t": 160}, 2.0); rates.per_second()
    {'t': 30.0}
    """

    def __init__(self, samples: int = 6) -> None:
        self._samples: list[tuple[float, Mapping[str, float]]] = []
        self._keep = samples

    def sample(self, counts: Mapping[str, float], now: float) -> None:
        """Take one reading."""
        self._samples = [*self._samples, (now, counts)][-self._keep :]

    def per_second(self) -> dict[str, float]:
        """Return the rate of each count; empty until there are two samples."""
        if len(self._samples) < 2:
            return {}
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return {name: max(0.0, (n - first.get(name, n)) / (end - start)) for name, n in last.items()}
