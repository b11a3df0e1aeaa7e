"""The input of a run in memory, as training and backtests want it: ticks with Kafka timestamps, frontiers, rulings."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import schemas
from connectors.consume import messages
from jobs.chain.commands import Ruling, ruling
from jobs.chain.contracts import Contracts, lookup
from jobs.chain.messages import FRONTIERS, RULINGS, RecordReader
from jobs.chain.shard import TICKS
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings
from udfs.order import Frontier


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


def settled(settings: Settings, namespace: str, known: Contracts) -> tuple[list[Frontier], list[Ruling]]:
    """What besides its ticks settles a run: frontiers and rulings. Raises UserError as `read`."""
    frontiers = [Frontier(row["partition"], row["offset"], row["ts_order"])
                 for row in _rows(settings, FRONTIERS, namespace, known)]
    return frontiers, [ruling(row) for row in _rows(settings, RULINGS, namespace, known)]


def _rows(settings: Settings, topic: str, namespace: str, contracts: Contracts) -> list[dict[str, Any]]:
    reader = RecordReader(contracts.writers(topic))
    found = (reader.own(m.value(), topic, m.partition(), m.offset())
             for m in messages(schemas.in_run(topic, namespace), settings))
    return [row for row in found if row]
