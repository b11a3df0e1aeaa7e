"""Micro-batches and messages as one array of bytes each: what crosses between the JVM and the interpreter.

The other sides are in jobs/chain/jvm; all numbers are little endian.
"""
from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import numpy as np

from jobs.chain.messages import ROWS, Emission, MicroBatch
from schemas.packed import Packed

WORD = 8
SHARD = 8


def unpack(source: str, shard: int, payload: bytes) -> MicroBatch:
    """The micro-batch of a payload; the messages are slices of it."""
    if source == ROWS:
        return _rows(payload)
    count = int.from_bytes(payload[:WORD], "little")
    offsets, stamps, lengths = np.frombuffer(payload, np.int64, 3 * count, WORD).reshape(3, count)
    sizes = np.maximum(lengths, 0)
    starts = WORD + 3 * WORD * count + np.cumsum(sizes) - sizes
    return MicroBatch(source, shard, Packed(np.frombuffer(payload, np.uint8), starts, lengths), offsets, stamps)


def pack_batch(batch: MicroBatch) -> bytes:
    """The payload that `unpack` takes, of messages with offsets.

    >>> unpack("t", 3, pack_batch(MicroBatch("t", 3, [b"a", None], [7, 8], [1, 1]))).messages[0]
    b'a'
    """
    messages = Packed.of(batch.messages)
    stamps = batch.stamps if len(batch.stamps) else [-1] * len(messages)
    numbers = np.stack([np.asarray(column, np.int64) for column in (batch.offsets, stamps, messages.length)])
    return len(messages).to_bytes(WORD, "little") + numbers.tobytes() + b"".join(messages.values())


def _rows(payload: bytes) -> MicroBatch:
    """What shards gave for the account: shard and length, of 4 bytes each, and so many bytes, again and again."""
    shards, parts, at = [], [], 0
    while at < len(payload):
        shard, length = struct.unpack_from("<ii", payload, at)
        at += SHARD
        shards.append(shard)
        parts.append(payload[at:at + length])
        at += length
    return MicroBatch(ROWS, 0, parts, shards)


def pack(emissions: Iterable[Emission], numbers: Mapping[str, int]) -> bytes:
    """Messages as a payload: a section for each emission, `numbers` gives each topic's number."""
    parts = []
    for e in emissions:
        keys, values = e.keys, e.values.run()
        head = np.array([numbers[e.topic], len(keys), len(keys.pool), len(values)], np.int32)
        table = np.stack([keys.start, keys.length, e.values.length]).astype(np.int32)
        parts += [head.data, table.data, keys.pool.data, values.data]
    return b"".join(parts)
