"""What a worker hands to the operator: messages for topics, or rows for the next operator."""
from __future__ import annotations

import copy
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

import schemas
from schemas import wire
from schemas.packed import Packed

log = logging.getLogger(__name__)

HOT, LEDGER, NEXT = 0, 1, 2
"""Where an emission goes: at-least-once topics, exactly-once topics, the next operator."""

ROWS = "rows"
"""Source of micro-batches that is no topic: rows that shards give for the account."""

PROPOSALS, INTENTS, FRONTIERS = "proposals.v1", "intents.v1", "frontiers.v1"
COMMANDS, RULINGS, INDICATORS = "commands.v1", "rulings.v1", "indicators.v1"
FILLS, EQUITY, DECISIONS = "fills.v1", "equity.v1", "decisions.v1"
EXACTLY_ONCE = (INTENTS, FILLS, EQUITY, DECISIONS)


EMPTY = Packed.table([])


@dataclass(frozen=True)
class Emission:
    """Messages of one topic with their keys, in order; or a payload for the next operator."""

    sink: int
    topic: str = ""
    keys: Packed = EMPTY
    values: Packed = EMPTY
    payload: bytes = b""


@dataclass(frozen=True)
class MicroBatch:
    """Messages of one partition of one topic, in order, with their offsets. An operator is called with some of these.

    `source` is the topic's own name; or ROWS, and the messages are what shards gave for the account.
    """

    source: str
    shard: int
    messages: Sequence[bytes | None]
    offsets: Sequence[int] | NDArray[np.int64] = ()
    stamps: Sequence[int] | NDArray[np.int64] = ()
    """Kafka timestamps of ticks, seconds since 1970; of other topics nobody asks for them."""


def emit(topic: str, keys: Packed, values: Packed) -> Emission:
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
        out = io.BytesIO()
        out.write(wire.HEADER.pack(0, self.schema_id))
        fastavro.schemaless_writer(out, self._schema, record)
        return out.getvalue()


@dataclass(frozen=True)
class RecordReader:
    """Avro messages to dictionaries, for topics with few messages. `writers` has the schemas by id."""

    writers: Mapping[int, dict[str, Any]]

    @cached_property
    def _schemas(self) -> dict[int, Any]:
        return {number: fastavro.parse_schema(copy.deepcopy(schema)) for number, schema in self.writers.items()}

    def read(self, message: bytes | None) -> dict[str, Any]:
        """One message. Raises ValueError that says why it cannot be read."""
        number, body = wire.split(message)
        if number not in self._schemas:
            raise ValueError(f"unknown schema id {number}")
        return wire.fields(body, number, self._schemas[number])

    def own(self, message: bytes | None, topic: str, partition: int, offset: int) -> dict[str, Any] | None:
        """The same; None, and a word in the log, for what none of our programs can have written. It stays where it is:
        who may write to a topic could else stop a chain for good.
        """
        try:
            return self.read(message)
        except ValueError as error:
            log.warning("chain: %s %d:%d must be a message of its topic's contract, but it is not (%s); passed over, "
                        "find out who wrote it", topic, partition, offset, error)
            return None
