"""Micro-batches and messages as one array of bytes each: what crosses between the JVM and the interpreter.

The other sides are in jobs/chain/jvm; all numbers are little endian.
"""
from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.chain.messages import ROWS, Emission, MicroBatch
from schemas.packed import Packed

BATCHES, OPEN, CHECKPOINT = 0, 1, 2
"""What an element tells an operator: to process micro-batches, to begin with a key, to write its state."""

_HEAD = struct.Struct("<4i")
"""Before each micro-batch: the topic's number, -1 for rows, its partition, how many messages, how many bytes."""
WORD = 8
"""Micro-batches begin at multiples of this, so that their numbers do. Unit: bytes."""


def unpack(payload: bytes, topics: Sequence[str]) -> list[MicroBatch]:
    """The micro-batches of a payload; their messages are slices of it. `topics` are by number."""
    held = bytearray(payload)  # may be written to, like all arrays here: kernels are compiled once more for others
    out, at, pool = [], 0, np.frombuffer(held, np.uint8)
    while at < len(held):
        topic, shard, count, size = _HEAD.unpack_from(held, at)
        at += _HEAD.size
        if topic < 0:
            out.append(MicroBatch(ROWS, shard, [payload[at:at + size]]))
        else:
            offsets, stamps, lengths = np.frombuffer(held, np.int64, 3 * count, at).reshape(3, count)
            out.append(MicroBatch(topics[topic], shard, _packed(pool, at + 3 * WORD * count, lengths), offsets, stamps))
        at += size + -size % WORD
    return out


def _packed(pool: NDArray[np.uint8], first: int, lengths: NDArray[np.int64]) -> Packed:
    """Messages of these lengths, one behind the other from `first` on."""
    sizes = np.maximum(lengths, 0)
    starts = sizes.cumsum()
    starts += first
    starts -= sizes
    return Packed(pool, starts, lengths)


def pack_batch(batch: MicroBatch, topics: Sequence[str]) -> bytes:
    """The payload that `unpack` takes, of messages with offsets.

    >>> unpack(pack_batch(MicroBatch("t", 3, [b"a", None], [7, 8], [1, 1]), ["t"]), ["t"])[0].messages[0]
    b'a'
    """
    messages = Packed.of(batch.messages)
    stamps = batch.stamps if len(batch.stamps) else [-1] * len(messages)
    numbers = np.stack([np.asarray(column, np.int64) for column in (batch.offsets, stamps, messages.length)])
    return _framed(topics.index(batch.source), batch.shard, len(messages),
                   numbers.tobytes() + b"".join(messages.values()))


def pack_rows(payload: bytes) -> bytes:
    """The payload that `unpack` takes, of rows for the account."""
    return _framed(-1, 0, 0, payload)


def _framed(topic: int, shard: int, count: int, body: bytes) -> bytes:
    return _HEAD.pack(topic, shard, count, len(body)) + body + bytes(-len(body) % WORD)


def pack(emissions: Iterable[Emission], numbers: Mapping[str, int]) -> bytes:
    """Messages as a payload: a section for each emission, `numbers` gives each topic's number."""
    parts = []
    for e in emissions:
        keys, values = e.keys, e.values.run()
        head = np.array([numbers[e.topic], len(keys), len(keys.pool), len(values)], np.int32)
        table = np.stack([keys.start, keys.length, e.values.length]).astype(np.int32)
        parts += [head.data, table.data, keys.pool.data, values.data]
    return b"".join(parts)
