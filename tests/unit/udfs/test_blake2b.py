"""The hash chain's kernel against hashlib, for records of any length, in any cut."""
from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.chain.chained import linked
from schemas.packed import Packed
from udfs.blake2b import BLOCK, HEX, LANES, TAIL, link

SKIP = 5
edges = st.sampled_from([n * BLOCK + k for n in range(1, 4) for k in (-HEX - 1, -HEX, -1, 0, 1)])
lengths = edges | st.integers(0, 3 * BLOCK)
bodies = st.lists(lengths.flatmap(lambda n: st.binary(min_size=n, max_size=n)), min_size=1, max_size=2 * LANES + 1)
SIDE_BY_SIDE = [bytes([n]) * (2 * BLOCK + n) for n in range(2 * LANES + 1)]
"""Two groups of as many records as there are lanes, and one record alone."""


def records(held: list[bytes]) -> Packed:
    """Records of these bodies, with something in front that is not sealed and room for the chain behind."""
    made = Packed.table([bytes(range(SKIP)) + body + bytes(TAIL) for body in held])
    return Packed(made.pool.copy(), made.start, made.length)


def chained(held: list[bytes], previous: bytes) -> list[bytes]:
    values = []
    for body in held:
        previous = linked(previous, body)
        values.append(previous)
    return values


@given(bodies, st.binary(min_size=HEX // 2, max_size=HEX // 2).map(lambda b: b.hex().encode()) | st.just(b""))
@example([b"", b"x" * BLOCK, b"y" * (BLOCK - HEX), b"z" * (2 * BLOCK - HEX), b"w" * (BLOCK - HEX + 1)], b"")
@example([b"x" * BLOCK, b""], b"0" * HEX)
@example(SIDE_BY_SIDE, b"0" * HEX)
@example(SIDE_BY_SIDE, b"")
@example([b"x" * BLOCK] * LANES, b"0" * HEX)
def test_every_record_gets_the_value_that_hashlib_gives(held: list[bytes], previous: bytes) -> None:
    made = records(held)
    last = link(made.pool, made.start, made.length, SKIP, previous)
    values = chained(held, previous)
    assert last == values[-1]
    assert made.values() == [bytes(range(SKIP)) + body + b"\x40" + value
                             for body, value in zip(held, values, strict=True)]


@given(bodies, st.data())
def test_a_chain_may_be_cut_anywhere(held: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(held)))
    whole, first, rest = records(held), records(held[:cut]), records(held[cut:])
    value = link(first.pool, first.start, first.length, SKIP, b"")
    if len(rest):
        value = link(rest.pool, rest.start, rest.length, SKIP, value)
    assert value == link(whole.pool, whole.start, whole.length, SKIP, b"")
    assert np.array_equal(np.concatenate([first.run(), rest.run()]) if len(rest) else first.pool, whole.pool)
