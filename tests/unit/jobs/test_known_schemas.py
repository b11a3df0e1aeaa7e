"""A tick that was refused for its version stays refused in every replay, though the version is known by then."""
from __future__ import annotations

import numpy as np

from jobs.chain.commands import Ruling
from jobs.chain.inprocess import MemoryEdges
from jobs.chain.known_schemas import KNOWN, UNKNOWN, KnownSchemas
from schemas.codec import OK, UNKNOWN_SCHEMA

OLD, NEW = 7, 8


class Broker(MemoryEdges):
    """A log whose end is told."""

    def __init__(self, *rulings: Ruling) -> None:
        super().__init__(1, [], list(rulings))
        self.told: int | None = None

    def end(self, shard: int) -> int | None:
        return self.told


def judged(known: KnownSchemas, first: int, ids: list[int], readable: set[int]) -> list[bool]:
    """Whether each tick of a micro-batch is refused for its version."""
    messages = [b"\0" + number.to_bytes(4, "big") + b"tick" for number in ids]
    verdict = np.array([OK if number in readable else UNKNOWN_SCHEMA for number in ids], np.uint8)
    known.judge(messages, np.arange(first, first + len(ids)), verdict)
    return [v == UNKNOWN_SCHEMA for v in verdict.tolist()]


def test_a_version_is_read_from_its_first_tick_on_that_was_read() -> None:
    edges = Broker()
    edges.told = 0
    known = KnownSchemas(edges, 0)
    assert judged(known, 0, [OLD, NEW], {OLD}) == [False, True]
    assert judged(known, 2, [OLD, NEW, NEW], {OLD, NEW}) == [False, False, False]
    assert [(r.kind, r.first) for r in edges.ruled] == [(UNKNOWN, 1), (KNOWN, 3)]


def test_what_an_earlier_attempt_may_have_refused_stays_refused() -> None:
    """The log reached to 5 when this attempt began."""
    edges = Broker()
    edges.told = 5
    known = KnownSchemas(edges, 0)
    assert judged(known, 0, [OLD, NEW, NEW], {OLD}) == [False, True, True]
    assert judged(known, 3, [NEW, OLD, NEW, NEW], {OLD, NEW}) == [True, False, False, False]
    assert [(r.kind, r.schema_id, r.first) for r in edges.ruled] == [(UNKNOWN, NEW, 1), (KNOWN, NEW, 5)]
    again = KnownSchemas(Broker(*edges.ruled), 0)
    assert judged(again, 0, [OLD, NEW, NEW, NEW, OLD, NEW, NEW], {OLD, NEW}) == [
        False, True, True, True, False, False, False]


def test_a_version_stays_unknown_while_the_broker_does_not_tell() -> None:
    edges = Broker()
    known = KnownSchemas(edges, 0)
    judged(known, 0, [NEW], set())
    assert judged(known, 1, [NEW, OLD], {OLD, NEW}) == [True, False]
    assert [r.kind for r in edges.ruled] == [UNKNOWN]


def test_what_was_never_refused_needs_no_ruling() -> None:
    edges = Broker()
    known = KnownSchemas(edges, 0)
    assert judged(known, 0, [OLD, NEW], {OLD, NEW}) == [False, False]
    assert not edges.ruled


def test_damaged_bytes_make_no_version_known() -> None:
    """Only a tick that was read shows that its version is."""
    edges = Broker(Ruling(-1, UNKNOWN, "", 0, 0, NEW))
    edges.told = 9
    known = KnownSchemas(edges, 0)
    verdict = np.array([OK + 3], np.uint8)
    known.judge([b"\1" + NEW.to_bytes(4, "big")], np.array([4]), verdict)
    assert len(edges.ruled) == 1


def test_other_partitions_are_judged_apart() -> None:
    edges = Broker(Ruling(-1, UNKNOWN, "", 1, 0, NEW))
    assert judged(KnownSchemas(edges, 0), 0, [NEW], {NEW}) == [False]
