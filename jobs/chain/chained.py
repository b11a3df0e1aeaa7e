"""Small logs whose records are each sealed over the one before, so that none can be changed, dropped or moved unseen.

One hash chain for each `scope` of the records: what one worker writes, since two cannot know of each other's.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.chain.messages import RecordWriter
from schemas.codec import HEADER

CHAIN = "chain"
"""The field that holds the value of the chain, the last one: 32 characters behind their length, a zigzag integer."""


def linked(previous: bytes, body: bytes | memoryview) -> bytes:
    """Value of the chain behind a record: `previous` is the value before, `body` the record's Avro bytes without it.

    >>> linked(b"", b"a")
    b'27c35e6e9373877f29e562464e46497e'
    """
    value = hashlib.blake2b(body, digest_size=16)
    value.update(previous)
    return value.hexdigest().encode()


@dataclass
class Chained:
    """Writes records of a topic, and knows those that are there already."""

    writer: RecordWriter
    scope: Callable[[Mapping[str, Any]], object]
    _last: dict[object, bytes] = field(default_factory=dict)

    def note(self, record: Mapping[str, Any]) -> None:
        """Go on from a record that was written before."""
        self._last[self.scope(record)] = record.get(CHAIN, "").encode()

    def write(self, record: Mapping[str, Any]) -> bytes:
        """The next message of its scope."""
        scope = self.scope(record)
        body = self.writer.write({**record, CHAIN: ""})[:-1]
        self._last[scope] = linked(self._last.get(scope, b""), body[HEADER:])
        return body + b"\x40" + self._last[scope]
