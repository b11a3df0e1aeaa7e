"""What the auditor reads: the records of six topics, as they lie in Kafka.

A `Log` is plain bytes in memory, so that a test or a mutation needs no broker; `read` fills one from a running broker.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

import schemas
from connectors import broker
from connectors.consume import messages
from connectors.registry import Registry, RegistryError
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings

TICKS, DEAD = "market.ticks.v1", "market.ticks.v1.dlq"
INTENTS, FILLS, EQUITY, DECISIONS = "intents.v1", "fills.v1", "equity.v1", "decisions.v1"

TOPICS = (DECISIONS, FILLS, EQUITY, INTENTS, DEAD, TICKS)
"""In the order they are read: what a committed decision speaks of is then already in the topics read after it."""

COMMITTED = frozenset({INTENTS, FILLS, EQUITY, DECISIONS})
"""Topics written in transactions; of these only what is committed counts, and their offsets have gaps."""


class Record(NamedTuple):
    """One record of a partition."""

    offset: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Log:
    """Records by topic (its own name, without a namespace) and partition, and the schemas that wrote them, by id.

    `starts` has the first offset still kept of partitions where retention has removed some; 0 where it is left out.
    """

    records: Mapping[str, Mapping[int, list[Record]]]
    schemas: Mapping[str, Mapping[int, Mapping[str, Any]]]
    starts: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def partitions(self, topic: str) -> list[tuple[int, list[Record]]]:
        """Partitions of a topic in order, empty where the log has none of it."""
        return sorted(self.records.get(topic, {}).items())

    @property
    def size(self) -> int:
        """Records in all."""
        return sum(len(part) for topic in self.records.values() for part in topic.values())


def read(settings: Settings, namespace: str = "", inputs: str | None = None) -> Log:
    """The log as the broker gives it now, each topic up to its end at the time it is read.

    `inputs` names the run whose ticks this one computed again; left out, its ticks are its own.
    Raises UserError for an unreachable broker or registry, or a missing topic.
    """
    records, starts = {}, dict[tuple[str, int], int]()
    versions = _versions(Registry(settings.registry.url))
    for topic in TOPICS:
        owner = inputs if inputs is not None and topic == TICKS else namespace
        name = schemas.in_run(topic, owner)
        records[topic] = _records(name, settings, topic in COMMITTED)
        starts |= {(topic, partition): first for partition, first in _starts(name, settings).items()}
    return Log(records, versions, starts)


def _versions(registry: Registry) -> dict[str, dict[int, dict[str, Any]]]:
    try:
        return {topic: registry.versions(schemas.topics()[topic].subject) for topic in TOPICS}
    except RegistryError as error:
        raise UserError("audit", "the schemas of all topics must be registered", str(error),
                        "run `make setup-topics`") from None


def _records(name: str, settings: Settings, committed: bool) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for message in messages(name, settings, committed):
        found.setdefault(message.partition(), []).append(Record(message.offset(), message.key(), message.value()))
    return found


def _starts(name: str, settings: Settings) -> dict[int, int]:
    admin = AdminClient(broker.client(settings.kafka.bootstrap))
    count = broker.partitions(admin, settings.kafka.bootstrap, name, "audit")
    asked = admin.list_offsets({TopicPartition(name, p): OffsetSpec.earliest() for p in range(count)})
    return {at.partition: future.result().offset for at, future in asked.items()}
