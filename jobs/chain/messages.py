"""What a worker hands to the operator: messages for topics, or rows for the next operator."""
from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import fastavro

import schemas

HOT, LEDGER, NEXT = 0, 1, 2
"""Where an emission goes: at-least-once topics, exactly-once topics, the next operator."""

ROWS = "rows"

EXACTLY_ONCE = ("intents.v1", "fills.v1", "equity.v1", "decisions.v1")


@dataclass(frozen=True)
class Emission:
    """Messages of one topic with their keys, in order; or a payload for the next operator."""

    sink: int
    topic: str = ""
    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    shard: int = 0
    payload: bytes = b""


@dataclass(frozen=True)
class MicroBatch:
    """What an operator is called with: messages of one partition of one topic, in order, with their offsets.

    `source` is the topic's own name; or ROWS, and the one message is the payload of the operator before.
    """

    source: str
    shard: int
    messages: Sequence[bytes | None]
    offsets: Sequence[int]


def emit(topic: str, keys: list[bytes], values: list[bytes]) -> Emission:
    """Messages for a topic, by the delivery that the topic has."""
    return Emission(LEDGER if topic in EXACTLY_ONCE else HOT, topic, keys, values)


@dataclass(frozen=True)
class RecordWriter:
    """Avro messages from dictionaries, for topics with few messages."""

    topic: str
    schema_id: int

    @cached_property
    def _schema(self) -> Any:
        return fastavro.parse_schema(schemas.load(schemas.topics()[self.topic].schema))

    def write(self, record: Mapping[str, Any]) -> bytes:
        """One message in the Confluent wire format."""
        out = io.BytesIO(struct.pack(">bI", 0, self.schema_id))
        out.seek(5)
        fastavro.schemaless_writer(out, self._schema, record)
        return out.getvalue()
