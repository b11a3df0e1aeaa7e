"""Bytes in the Confluent wire format to dictionaries: read by the schema of whoever wrote them, given by today's."""
from __future__ import annotations

import copy
import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import fastavro

import schemas
from sigmaflow.audit.log import COMMANDS, DEAD, INTENTS, NO_STAMP, Source

HEADER = 5
"""Bytes before the Avro body: a zero and the schema id."""

CANONICAL = frozenset({COMMANDS, DEAD, INTENTS})
"""Topics whose bytes no hash covers: a record of theirs must also be the only encoding of what it says."""

Row = dict[str, Any]


class Decoded(NamedTuple):
    """A value, or in `fault` why there is none, in the words of dead letters."""

    value: Row | None
    fault: str


class Message(NamedTuple):
    """One record, decoded."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    raw: bytes | None
    row: Row
    """Empty where the record cannot be decoded."""
    fault: str
    stamp: int = NO_STAMP

    @property
    def position(self) -> str:
        """topic:partition:offset."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def body(self) -> bytes:
        """The Avro bytes."""
        return (self.raw or b"")[HEADER:]

    @property
    def schema_id(self) -> int | None:
        """The schema id that the bytes name, readable or not."""
        return struct.unpack_from(">I", self.raw, 1)[0] if self.raw and len(self.raw) >= HEADER else None


class Decoder:
    """Decodes values of the topics of a log. With `remember` a value is decoded once, however often it is asked for."""

    def __init__(self, versions: Mapping[str, Mapping[int, Mapping[str, Any]]], remember: bool = False) -> None:
        self._schemas = {topic: {number: _Version(topic, schema) for number, schema in held.items()}
                         for topic, held in versions.items()}
        self._known: dict[tuple[str, bytes | None], Decoded] | None = {} if remember else None

    def messages(self, log: Source, topic: str, partition: int) -> Iterator[Message]:
        """Every record of a partition, in order."""
        return (self._message(topic, partition, *record) for record in log.stream(topic, partition))

    def decode(self, topic: str, raw: bytes | None) -> Decoded:
        """One value."""
        if self._known is None:
            return self._decode(topic, raw)
        found = self._known.get((topic, raw))
        if found is None:
            found = self._known[topic, raw] = self._decode(topic, raw)
        return found

    def _message(self, topic: str, partition: int, offset: int, key: bytes | None, raw: bytes | None,
                 stamp: int) -> Message:
        value, fault = self.decode(topic, raw)
        return Message(topic, partition, offset, key, raw, value or {}, fault, stamp)

    def _decode(self, topic: str, raw: bytes | None) -> Decoded:
        if raw is None:
            return Decoded(None, "null_value")
        if raw and raw[0] != 0:
            return Decoded(None, "bad_magic")
        if len(raw) < HEADER:
            return Decoded(None, "truncated")
        version = self._schemas.get(topic, {}).get(struct.unpack_from(">I", raw, 1)[0])
        return Decoded(None, "unknown_schema") if version is None else version.decode(raw)


class _Version:
    """One registered schema of a topic."""

    def __init__(self, topic: str, schema: Mapping[str, Any]) -> None:
        self._writer = fastavro.parse_schema(copy.deepcopy(dict(schema)))
        today = schemas.load(schemas.topics()[topic].schema)
        self._reader = None if schema == today else fastavro.parse_schema(today)
        self._canonical = topic in CANONICAL

    def decode(self, raw: bytes) -> Decoded:
        """A value behind its header."""
        stream = io.BytesIO(raw)
        stream.seek(HEADER)
        try:
            value = fastavro.schemaless_reader(stream, self._writer, None)
        except UnicodeDecodeError:
            return Decoded(None, "bad_text")
        except Exception:  # fastavro raises whatever the bytes lead it into
            return Decoded(None, "truncated")
        if stream.tell() != len(raw):
            return Decoded(None, "trailing_bytes")
        if self._canonical and self._encoded(value) != raw[HEADER:]:
            return Decoded(None, "not_canonical")
        return self._resolved(raw) if self._reader else Decoded(value, "")

    def _resolved(self, raw: bytes) -> Decoded:
        stream = io.BytesIO(raw)
        stream.seek(HEADER)
        try:
            return Decoded(fastavro.schemaless_reader(stream, self._writer, self._reader), "")
        except Exception:  # as above
            return Decoded(None, "unresolved")

    def _encoded(self, value: Any) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._writer, value)
        return out.getvalue()
