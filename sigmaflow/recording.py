"""What a run left in Kafka, whole: its input, and what every job wrote, by key and in order.

Order is kept within a key. Topics that are at-least-once may hold a message twice; the first one counts.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import schemas
from connectors.consume import messages
from jobs.chain.commands import Ruling, ruling
from jobs.chain.contracts import Contracts, lookup
from jobs.chain.messages import DECISIONS, EXACTLY_ONCE, FRONTIERS, RULINGS, RecordReader
from jobs.chain.plans import TAPS
from jobs.chain.shard import DEAD, TICKS
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings
from udfs.order import Frontier

OUTPUTS = (*TAPS, DEAD, *EXACTLY_ONCE)
"""Everything that the chain writes and that its input settles."""


class Message(NamedTuple):
    """A value and where it was read."""

    value: bytes
    position: str


Outputs = dict[str, dict[bytes, list[Message]]]
"""Messages by topic and key."""


@dataclass
class Recording:
    """One run. `ticks` and `stamps` have a list for each partition: values, and Kafka timestamps in seconds."""

    namespace: str
    contracts: Contracts
    outputs: Outputs
    ticks: list[list[bytes]] = field(default_factory=list)
    stamps: list[list[int]] = field(default_factory=list)
    frontiers: list[Frontier] = field(default_factory=list)
    rulings: list[Ruling] = field(default_factory=list)

    def name(self, topic: str) -> str:
        """A topic's name in the run."""
        return schemas.in_run(topic, self.namespace)

    def decision(self) -> dict[str, object] | None:
        """The first decision; None where there is none."""
        rows = [held for held in self.outputs.get(DECISIONS, {}).values() if held]
        if not rows:
            return None
        return RecordReader(self.contracts.writers(DECISIONS)).read(rows[0][0].value)


def read(settings: Settings, namespace: str = "", inputs: str | None = None, outputs: bool = True) -> Recording:
    """Read a run up to its present end; `inputs` names the run whose ticks it computed again.

    `outputs` False leaves out what the jobs wrote.

    Results are read before the input, so that all that led to them is there. Raises UserError for a broker, registry or
    topic that is not there, and for a log that does not begin at its first offset.
    """
    known = lookup(settings.registry.url, schemas.topics())
    source = namespace if inputs is None else inputs
    written = {topic: _outputs(settings, schemas.in_run(topic, namespace), topic) for topic in OUTPUTS if outputs}
    ticks, stamps = _ticks(settings, schemas.in_run(TICKS, source))
    return Recording(namespace, known, written, ticks, stamps, *settled(settings, source, known))


def settled(settings: Settings, namespace: str, known: Contracts) -> tuple[list[Frontier], list[Ruling]]:
    """What besides its ticks settles a run: frontiers and rulings. Raises UserError as `read`."""
    frontiers = [Frontier(row["partition"], row["offset"], row["ts_order"])
                 for row in _rows(settings, FRONTIERS, namespace, known)]
    return frontiers, [ruling(row) for row in _rows(settings, RULINGS, namespace, known)]


def _outputs(settings: Settings, name: str, topic: str) -> dict[bytes, list[Message]]:
    found: dict[bytes, dict[bytes, Message] | list[Message]] = {}
    exactly = topic in EXACTLY_ONCE
    for m in messages(name, settings, read_committed=exactly):
        message = Message(m.value() or b"", f"{name}:{m.partition()}:{m.offset()}")
        if exactly:  # a repeat would be a fault, and must stay
            found.setdefault(m.key(), []).append(message)  # type: ignore[union-attr]
        else:
            found.setdefault(m.key(), {}).setdefault(message.value, message)  # type: ignore[union-attr]
    return {key: held if isinstance(held, list) else list(held.values()) for key, held in found.items()}


def _ticks(settings: Settings, name: str) -> tuple[list[list[bytes]], list[list[int]]]:
    log: list[list[bytes]] = [[] for _ in range(schemas.shards())]
    stamps: list[list[int]] = [[] for _ in log]
    for m in messages(name, settings):
        if m.offset() != len(log[m.partition()]):
            raise UserError("replay", f"{name} must hold all of its messages from offset 0 on",
                            f"partition {m.partition()} goes from {len(log[m.partition()])} to {m.offset()}",
                            "replay a run that the topic's retention has not cut, or start it from a savepoint")
        log[m.partition()].append(m.value())
        stamps[m.partition()].append(m.timestamp()[1] // 1_000)
    return log, stamps


def _rows(settings: Settings, topic: str, namespace: str, contracts: Contracts) -> list[dict[str, Any]]:
    reader = RecordReader(contracts.writers(topic))
    return [reader.read(m.value()) for m in messages(schemas.in_run(topic, namespace), settings)]


