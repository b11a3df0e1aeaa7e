"""The contracts: every message as Avro (`*.avsc`), every topic in `topics.yaml`. Nothing else defines either."""
from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Topic:
    """One row of topics.yaml. `retention_hours` is -1 for ever; `schema` names the .avsc file without its ending."""

    name: str
    schema: str
    key: str
    partitions: int
    retention_hours: int
    replication_factor: int
    cleanup_policy: str
    compression: str
    max_message_bytes: int

    @property
    def subject(self) -> str:
        """Registry subject of the value (TopicNameStrategy)."""
        return f"{self.name}-value"


@cache
def text(name: str) -> str:
    """The schema's JSON text exactly as it is registered."""
    return json.dumps(json.loads((FOLDER / f"{name}.avsc").read_text()))


def load(name: str) -> dict[str, Any]:
    """The parsed Avro schema `name` (`tick`, `features`, …), a new one at each call: Avro libraries write into theirs.

    >>> load("tick")["name"]
    'Tick'
    """
    found: dict[str, Any] = json.loads(text(name))
    return found


@cache
def topics() -> dict[str, Topic]:
    """Every topic by name, in the order of topics.yaml.

    >>> topics()["market.ticks.v1"].schema
    'tick'
    """
    raw = yaml.safe_load((FOLDER / "topics.yaml").read_text())
    return {name: Topic(name=name, **(raw["defaults"] | row)) for name, row in raw["topics"].items()}


def in_run(topic: str, namespace: str) -> str:
    """A topic's name in a run: a run apart puts its namespace in front, the live one has none.

    >>> in_run("fills.v1", "test"), in_run("fills.v1", "")
    ('test.fills.v1', 'fills.v1')
    """
    return f"{namespace}.{topic}" if namespace else topic


def shards() -> int:
    """Number of partitions of every topic keyed by venue:symbol, which is the number of shards."""
    return topics()["market.ticks.v1"].partitions
