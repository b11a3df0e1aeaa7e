"""One message in the Confluent wire format: a zero, the id of its schema, Avro. For topics with few messages; many are
taken apart at once by schemas/codec.py.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""
from __future__ import annotations

import io
import struct
from typing import Any

import fastavro

HEADER = struct.Struct(">bI")


def split(raw: bytes | None) -> tuple[int, bytes]:
    """The id of a message's schema, and the Avro. Raises ValueError that says why there is none."""
    if raw is None:
        raise ValueError("no value")
    if len(raw) < HEADER.size or raw[0] != 0:
        raise ValueError("not in the Confluent wire format")
    return int(HEADER.unpack_from(raw)[1]), raw[HEADER.size:]


def fields(body: bytes, number: int, parsed: Any) -> dict[str, Any]:
    """A message's fields by its schema, that of this number. Raises ValueError that says why it does not fit."""
    stream = io.BytesIO(body)
    try:
        found: dict[str, Any] = fastavro.schemaless_reader(stream, parsed, None)
    except Exception as error:  # fastavro raises whatever the bytes lead it into
        raise ValueError(f"does not fit schema {number} ({type(error).__name__}: {error})") from None
    if stream.tell() != len(body):
        raise ValueError(f"{len(body) - stream.tell()} bytes after the end of the message")
    return found
