"""What the auditor reads: the records of nine topics, as they lie in Kafka.

A `Log` is plain bytes in memory, so that a test or a mutation needs no broker; `read` gives the log of a running
broker, whose partitions are streamed whenever they are asked for, up to the ends that they had when it was opened.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from confluent_kafka.admin import AdminClient

import schemas
from connectors import broker, consume
from connectors.offsets import bounds
from connectors.registry import Registry, RegistryError
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings

TICKS, DEAD = "market.ticks.v1", "market.ticks.v1.dlq"
INTENTS, FILLS, EQUITY, DECISIONS = "intents.v1", "fills.v1", "equity.v1", "decisions.v1"
FRONTIERS, RULINGS, COMMANDS = "frontiers.v1", "rulings.v1", "commands.v1"

LEARNT = (FRONTIERS, RULINGS, COMMANDS)
"""Topics of what a chain learnt. Where a run computes another one again, partition 0 is that run's, 1 its own."""

TOPICS = (DECISIONS, FILLS, EQUITY, INTENTS, RULINGS, FRONTIERS, COMMANDS, DEAD, TICKS)
"""In the order in which their ends are asked: what a committed decision speaks of lies before the others' ends."""

COMMITTED = frozenset({INTENTS, FILLS, EQUITY, DECISIONS})
"""Topics written in transactions; of these only what is committed counts, and their offsets have gaps."""

NO_STAMP = -1


class Record(NamedTuple):
    """One record of a partition. `stamp` is its Kafka timestamp, whole seconds since 1970."""

    offset: int
    key: bytes | None
    value: bytes | None
    stamp: int = NO_STAMP


class Source(Protocol):
    """A log by topic (its own name, without a namespace) and partition, and the schemas that wrote it, by id.

    `starts` has the first offset still kept of partitions where retention has removed some; 0 where it is left out.
    """

    @property
    def schemas(self) -> Mapping[str, Mapping[int, Mapping[str, Any]]]:
        """Registered schemas of each topic."""

    @property
    def starts(self) -> Mapping[tuple[str, int], int]:
        """First offsets that are kept."""

    def partitions(self, topic: str) -> list[int]:
        """Partitions of a topic in order, empty where the log has none of it."""

    def stream(self, topic: str, partition: int) -> Iterator[Record]:
        """Records of a partition in order; may be asked for again."""


@dataclass(frozen=True)
class Log:
    """A Source in memory."""

    records: Mapping[str, Mapping[int, list[Record]]]
    schemas: Mapping[str, Mapping[int, Mapping[str, Any]]]
    starts: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def partitions(self, topic: str) -> list[int]:
        """Partitions of a topic in order."""
        return sorted(self.records.get(topic, {}))

    def stream(self, topic: str, partition: int) -> Iterator[Record]:
        """Records of a partition in order."""
        return iter(self.records[topic][partition])


class Place(NamedTuple):
    """Where a partition lies in the broker, and the part of it that is read."""

    name: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True)
class BrokerLog:
    """A Source in a broker, as it was when it was opened."""

    settings: Settings
    schemas: Mapping[str, Mapping[int, Mapping[str, Any]]]
    places: Mapping[tuple[str, int], Place]

    @property
    def starts(self) -> Mapping[tuple[str, int], int]:
        """First offsets that are kept."""
        return {at: place.start for at, place in self.places.items()}

    def partitions(self, topic: str) -> list[int]:
        """Partitions of a topic in order."""
        return sorted(partition for name, partition in self.places if name == topic)

    def stream(self, topic: str, partition: int) -> Iterator[Record]:
        """Records of a partition in order, a few at a time."""
        place = self.places[topic, partition]
        for m in consume.partition(*place, self.settings, topic in COMMITTED):
            yield Record(m.offset(), m.key(), m.value(), m.timestamp()[1] // 1_000)


def read(settings: Settings, namespace: str = "", inputs: str | None = None,
         topics: Sequence[str] = TOPICS) -> BrokerLog:
    """The log as the broker gives it now, each topic up to its end at the time of the call, in the order of `topics`.

    `inputs` names the run whose ticks this one computed again; left out, its ticks are its own.
    Raises UserError for an unreachable broker or registry, or a missing topic.
    """
    versions = _versions(Registry(settings.registry.url), topics)
    admin = AdminClient(broker.client(settings.kafka.bootstrap))
    places: dict[tuple[str, int], Place] = {}
    for topic in topics:
        own, recorded = schemas.in_run(topic, namespace), schemas.in_run(topic, inputs or "")
        names = [own]
        if inputs is not None and topic in (TICKS, *LEARNT):
            names = [recorded] if topic == TICKS else [recorded, own]
        held = [place for name in names for place in _places(admin, settings, name, topic == DECISIONS)]
        places |= {(topic, n): place for n, place in enumerate(held)}
    return BrokerLog(settings, versions, places)


def _versions(registry: Registry, topics: Sequence[str]) -> dict[str, dict[int, dict[str, Any]]]:
    try:
        return {topic: registry.versions(schemas.topics()[topic].subject) for topic in topics}
    except RegistryError as error:
        raise UserError("audit", "the schemas of all topics must be registered", str(error),
                        "run `make setup-topics`") from None


def _places(admin: AdminClient, settings: Settings, name: str, committed: bool) -> list[Place]:
    """Partitions of a topic with their first and next offsets; `committed` ends where a transaction is still open."""
    count = broker.partitions(admin, settings.kafka.bootstrap, name, "audit")
    return [Place(name, p, *ends) for (_, p), ends in bounds(admin, {name: count}, committed, timeout_s=20).items()]
