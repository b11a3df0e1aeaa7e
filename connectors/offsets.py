"""How many records each topic holds, how many a job has committed, and how fast counts rise."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping

from confluent_kafka import OFFSET_INVALID, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

from connectors import broker

TIMEOUT_S = 5.0
PAUSE_S = 0.05
OUTDATED = (KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION,
            KafkaError.LEADER_NOT_AVAILABLE, KafkaError._NOENT)
"""What a question about offsets ends with where the client, or a broker that has just started, knows too little yet."""


def listed(admin: AdminClient, asked: Mapping[TopicPartition, OffsetSpec], committed: bool = False,
           timeout_s: float = TIMEOUT_S) -> dict[TopicPartition, ListOffsetsResultInfo]:
    """What the broker answers about each partition; with `committed` as readers of committed records see it.

    Raises KafkaException where the broker does not answer. Two habits of the client end here: after a crash of the
    broker it knows no leaders, or has their epochs of before and is refused, until it looks at the topics again some
    minutes later, so it is made to look; and where the connection is lost under a question, it gives the offset that
    means none in place of an error.
    """
    began = time.monotonic()
    while True:
        try:
            return _listed(admin, asked, committed, timeout_s)
        except KafkaException as error:
            if error.args[0].code() not in OUTDATED or time.monotonic() - began > timeout_s:
                raise
        admin.list_topics(timeout=timeout_s)
        time.sleep(PAUSE_S)


def _listed(admin: AdminClient, asked: Mapping[TopicPartition, OffsetSpec], committed: bool, timeout_s: float
            ) -> dict[TopicPartition, ListOffsetsResultInfo]:
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    answers = admin.list_offsets(dict(asked), isolation_level=level, request_timeout=timeout_s)
    found = {at: future.result() for at, future in answers.items()}
    if any(info.offset == OFFSET_INVALID for info in found.values()):
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))
    return found


def bounds(admin: AdminClient, partitions: Mapping[str, int], committed: bool = False,
           timeout_s: float = TIMEOUT_S) -> dict[tuple[str, int], tuple[int, int]]:
    """First and next offset of every partition of topics with so many, in their order.

    Raises KafkaException where the broker does not answer.
    """
    asked = [TopicPartition(topic, partition) for topic, count in partitions.items() for partition in range(count)]
    first, end = (listed(admin, dict.fromkeys(asked, spec), committed, timeout_s)
                  for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
    return {(at.topic, at.partition): (first[at].offset, end[at].offset) for at in asked}


def newest_ms(admin: AdminClient, partitions: Mapping[str, int]) -> int | None:
    """Largest time stamp in topics with so many partitions, ms since 1970; None where they are empty.

    Raises KafkaException where the broker does not answer.
    """
    asked = {TopicPartition(topic, partition): OffsetSpec.max_timestamp()
             for topic, count in partitions.items() for partition in range(count)}
    found = max(info.timestamp for info in listed(admin, asked).values()) if asked else 0
    return found if found > 0 else None


def end_offsets(admin: AdminClient, topics: Iterable[str], committed: bool = False) -> dict[str, int]:
    """Return the sum of the end offsets of each topic's partitions; topics that do not exist are left out.

    With `committed` the end is before the first record of a transaction that is still open.

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
        for partition, info in listed(admin, wanted, committed).items():
            found[partition.topic] += info.offset
    return dict(found)


class Groups:
    """Committed offsets of consumer groups. Flink commits at each completed checkpoint: how far results are final.

    Asked through a consumer for each group: the admin client's call for it can end the process where the broker is so
    young that the group has no coordinator.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumers: dict[str, Consumer] = {}

    def committed(self, group: str, partitions: Mapping[str, int]) -> int:
        """Sum of a group's committed offsets over topics with so many partitions; 0 where it cannot tell."""
        asked = [TopicPartition(topic, partition) for topic, count in partitions.items() for partition in range(count)]
        try:
            return sum(max(0, at.offset) for at in self._consumer(group).committed(asked, timeout=TIMEOUT_S))
        except KafkaException:
            self._consumers.pop(group).close()
            return 0

    def position(self, group: str, topic: str, partition: int) -> int | None:
        """A group's committed offset in one partition; None where it has none or cannot tell."""
        try:
            (at,) = self._consumer(group).committed([TopicPartition(topic, partition)], timeout=TIMEOUT_S)
        except KafkaException:
            self._consumers.pop(group).close()
            return None
        return at.offset if at.offset >= 0 else None

    def _consumer(self, group: str) -> Consumer:
        if group not in self._consumers:
            self._consumers[group] = Consumer(broker.client(self._bootstrap) | {
                "group.id": group, "enable.auto.commit": False})
        return self._consumers[group]

    def close(self) -> None:
        """Let go of all clients."""
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()


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
