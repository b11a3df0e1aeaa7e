"""What crosses between the JVM and the interpreter, as the Java operators read and write it."""
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.chain.messages import ROWS, MicroBatch, emit
from jobs.chain.packing import pack, pack_batch, pack_rows, unpack
from schemas.packed import Packed

TOPICS = ("t", "u")
VALUES = st.lists(st.none() | st.binary(max_size=40), max_size=20)


@given(VALUES)
def test_a_micro_batch_comes_back(values: list[bytes | None]) -> None:
    offsets = list(range(7, 7 + len(values)))
    (batch,) = unpack(pack_batch(MicroBatch("t", 3, values, offsets, offsets), TOPICS), TOPICS)
    assert (batch.source, batch.shard, list(batch.messages)) == ("t", 3, values)
    assert list(batch.offsets) == list(batch.stamps) == offsets


@given(st.lists(VALUES, max_size=4), st.binary(max_size=40))
def test_micro_batches_behind_each_other_come_back_in_order(all_values: list[list[bytes | None]], rows: bytes) -> None:
    """As Gather.java puts them; the messages of all lie in one buffer, with no copy to join them."""
    sent = [MicroBatch(TOPICS[n % 2], n, values, range(len(values))) for n, values in enumerate(all_values)]
    payload = b"".join(pack_batch(batch, TOPICS) for batch in sent) + pack_rows(rows)
    *found, last = unpack(payload, TOPICS)
    assert [(b.source, b.shard, list(b.messages)) for b in found] == [(b.source, b.shard, b.messages) for b in sent]
    assert (last.source, last.messages) == (ROWS, [rows])
    if found:
        joined = Packed.concat([Packed.of(batch.messages) for batch in found])
        assert list(joined) == [value for values in all_values for value in values]
        assert joined.pool is Packed.of(found[0].messages).pool


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
