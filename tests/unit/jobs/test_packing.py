"""What crosses between the JVM and the interpreter, as the Java operators read and write it."""
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.chain.messages import ROWS, MicroBatch, emit
from jobs.chain.packing import pack, pack_batch, unpack
from schemas.packed import Packed

VALUES = st.lists(st.none() | st.binary(max_size=40), max_size=20)


@given(VALUES)
def test_a_micro_batch_comes_back(values: list[bytes | None]) -> None:
    offsets = list(range(7, 7 + len(values)))
    batch = unpack("t", 3, pack_batch(MicroBatch("t", 3, values, offsets, offsets)))
    assert (batch.source, batch.shard, list(batch.messages)) == ("t", 3, values)
    assert list(batch.offsets) == list(batch.stamps) == offsets


def sections(payload: bytes) -> list[tuple[int, list[bytes], list[bytes]]]:
    """Topic, keys and values of each section, read as Messages.java reads them."""
    out, at = [], 0
    while at < len(payload):
        topic, count, key_bytes, value_bytes = np.frombuffer(payload, np.int32, 4, at).tolist()
        start, length, size = np.frombuffer(payload, np.int32, 3 * count, at + 16).reshape(3, count).tolist()
        keys = at + 16 + 12 * count
        value = keys + key_bytes
        ends = [value + sum(size[:n + 1]) for n in range(count)]
        out.append((topic, [payload[keys + s:keys + s + n] for s, n in zip(start, length, strict=True)],
                    [payload[end - n:end] for end, n in zip(ends, size, strict=True)]))
        at = value + value_bytes
    return out


@given(st.lists(st.lists(st.binary(max_size=40), max_size=20), max_size=3))
def test_messages_of_several_topics(topics: list[list[bytes]]) -> None:
    key = Packed.of([b"account", b"other"])
    emissions = [emit(f"t{n}", key.take(np.arange(len(held)) % 2), Packed.of(held)) for n, held in enumerate(topics)]
    wanted = [(n, [(b"account", b"other")[i % 2] for i in range(len(held))], held) for n, held in enumerate(topics)]
    assert sections(pack(emissions, {f"t{n}": n for n in range(3)})) == wanted


def test_rows_of_several_shards() -> None:
    parts = ((2, b"abc"), (0, b""))
    payload = b"".join(np.array([shard, len(part)], np.int32).tobytes() + part for shard, part in parts)
    batch = unpack(ROWS, 0, payload)
    assert (list(batch.offsets), list(batch.messages)) == ([2, 0], [b"abc", b""])
