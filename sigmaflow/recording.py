"""The input of a run in memory, as training wants it: every tick of every partition, with its Kafka timestamp."""
from __future__ import annotations

from dataclasses import dataclass

import schemas
from connectors.consume import messages
from jobs.chain.contracts import Contracts, lookup
from jobs.chain.shard import TICKS
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings


@dataclass
class Recording:
    """`ticks` and `stamps` have a list for each partition: values, and Kafka timestamps in seconds."""

    contracts: Contracts
    ticks: list[list[bytes]]
    stamps: list[list[int]]


def read(settings: Settings, namespace: str = "") -> Recording:
    """Read a run's ticks up to their present end.

    Raises UserError for a broker, registry or topic that is not there, and for a log that does not begin at its first
    offset.
    """
    name = schemas.in_run(TICKS, namespace)
    made = Recording(lookup(settings.registry.url, schemas.topics()), [[] for _ in range(schemas.shards())],
                     [[] for _ in range(schemas.shards())])
    for m in messages(name, settings):
        part = made.ticks[m.partition()]
        if m.offset() != len(part):
            raise UserError("replay", f"{name} must hold all of its messages from offset 0 on",
                            f"partition {m.partition()} goes from {len(part)} to {m.offset()}",
                            "use a run that the topic's retention has not cut")
        part.append(m.value())
        made.stamps[m.partition()].append(m.timestamp()[1] // 1_000)
    return made
