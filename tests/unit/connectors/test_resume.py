"""Where numbering goes on: the newest record of each key, however far back it lies."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from connectors import resume
from connectors.resume import newest
from sigmaflow.dead_letters import REPLAYED_FROM

Log = list[tuple[bytes | None, bytes | None]]


def searched(log: Log, keys: set[bytes]) -> tuple[dict[bytes, bytes], int]:
    """What is found, and how many records were read."""
    read = 0

    def window(first: int, end: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        nonlocal read
        read += end - first
        yield from log[first:end]

    return newest(keys, 0, len(log), window), read


@given(st.lists(st.sampled_from([b"a", b"b", b"c", None]), max_size=60), st.sets(st.sampled_from([b"a", b"b", b"z"])))
def test_the_newest_value_of_each_key_is_found(order: list[bytes | None], keys: set[bytes]) -> None:
    log: Log = [(key, str(i).encode()) for i, key in enumerate(order)]
    found, _ = searched(log, keys)
    assert found == {key: value for key, value in dict(log).items() if key in keys}


def test_no_more_is_read_than_needed() -> None:
    log: Log = [(b"a", b"1"), *[(b"b", b"2")] * 10_000]
    assert searched(log, {b"b"}) == ({b"b": b"2"}, resume.FIRST_WINDOW)
    assert searched(log, {b"a", b"b"}) == ({b"a": b"1", b"b": b"2"}, len(log))
    assert searched(log, set()) == ({}, 0)


def test_a_key_that_is_not_there_is_given_up() -> None:
    log: Log = [(b"b", b"2")] * (resume.SEARCHED + 5_000)
    found, read = searched(log, {b"z"})
    assert found == {} and read == resume.SEARCHED


def test_dead_letters_sent_again_are_told_by_the_header_that_is_written() -> None:
    assert resume.REPLAYED == REPLAYED_FROM
