"""Which schema ids a shard's ticks may have, and from where on.

A version may be registered while a job runs, or between two runs of it. Ticks that came before it was known were
refused, and must be refused by every replay, which knows it from its beginning. So the first refusal for an id is
written as a ruling before it is acted on, and so is the place from which on the id is known: the first tick that was
read with it, or the end that the log had when this attempt began, since earlier attempts may have refused up to there.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.chain.commands import NOBODY, Ruling
from jobs.chain.total_order import Edges
from schemas.codec import HEADER, OK, UNKNOWN_SCHEMA

UNKNOWN, KNOWN = "schema_unknown", "schema_known"
NO_ID = -1


class KnownSchemas:
    """The ids of one partition."""

    def __init__(self, edges: Edges, partition: int) -> None:
        self._edges, self._partition = edges, partition
        self._began = edges.end(partition)
        self.refused: dict[int, list[tuple[int, int | None]]] = {}
        """Spans of offsets in which an id is unknown; the last one may be open."""
        for ruling in edges.rulings():
            if ruling.partition == partition:
                self._take(ruling)

    def _take(self, ruling: Ruling) -> None:
        spans = self.refused.setdefault(ruling.schema_id, [])
        if ruling.kind == UNKNOWN:
            spans.append((ruling.first, None))
        elif ruling.kind == KNOWN:
            spans[-1] = (spans[-1][0], ruling.first)

    def judge(self, messages: Sequence[bytes | None], offsets: NDArray[np.int64], verdict: NDArray[np.uint8]) -> None:
        """Refuse, in `verdict`, ticks of versions that were not known at their place; rule on what is new.

        Does nothing where no version was `refused` so far and none of these messages has an unknown one.
        """
        unknown = verdict == UNKNOWN_SCHEMA
        if not self.refused and not unknown.any():
            return
        ids = schema_ids(messages)
        self._began = self._edges.end(self._partition) if self._began is None else self._began
        if self._began is not None:
            self._rule(KNOWN, [(number, max(self._began, int(offsets[(verdict == OK) & (ids == number)][0])))
                               for number in sorted({*ids[verdict == OK].tolist()} & self._open())])
        for number in {*ids.tolist()} & self.refused.keys():
            for first, last in self.refused[number]:
                within = (offsets >= first) if last is None else (offsets >= first) & (offsets < last)
                verdict[within & (ids == number)] = UNKNOWN_SCHEMA
        fresh = sorted({*ids[unknown].tolist()} - self._open())
        self._rule(UNKNOWN, [(number, int(offsets[unknown & (ids == number)][0])) for number in fresh])

    def _open(self) -> set[int]:
        return {number for number, spans in self.refused.items() if spans and spans[-1][1] is None}

    def _rule(self, kind: str, places: Sequence[tuple[int, int]]) -> None:
        made = [Ruling(NOBODY, kind, "", self._partition, first, number) for number, first in places]
        if made:
            self._edges.rule(made)
        for ruling in made:
            self._take(ruling)


def schema_ids(messages: Sequence[bytes | None]) -> NDArray[np.int64]:
    """Schema id of each message, NO_ID for one that is too short to have any.

    >>> schema_ids([bytes([0, 0, 0, 1, 2, 9]), b"", None]).tolist()
    [258, -1, -1]
    """
    return np.array([int.from_bytes(m[1:HEADER], "big") if m and len(m) >= HEADER else NO_ID for m in messages],
                    np.int64)
