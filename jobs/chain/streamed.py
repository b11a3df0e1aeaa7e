"""The pipeline in one process over logs of any length: ticks go in as they are read, messages come out when made.

The partition that holds the account back goes on next, so that few ticks wait at a time, however long the logs are.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from jobs.chain import plans
from jobs.chain.account import AccountWorker
from jobs.chain.commands import Ruling
from jobs.chain.contracts import Contracts
from jobs.chain.inprocess import Memory, MemoryEdges
from jobs.chain.messages import NEXT, ROWS, Emission, MicroBatch
from jobs.chain.shard import TICKS, opened
from jobs.chain.total_order import QUIET
from udfs.models import Models
from udfs.order import Frontier
from udfs.profiles import Profile


class Tick(NamedTuple):
    """A message of market.ticks.v1 as it lies there; `stamp` is its Kafka timestamp in seconds."""

    value: bytes | None
    offset: int
    stamp: int


class _Frontiers:
    """Those of one shard, handed over when its log comes up to them."""

    def __init__(self, held: Iterator[Frontier]) -> None:
        self._held, self._head = held, next(held, None)

    def up_to(self, offset: int) -> Iterator[Frontier]:
        """Frontiers that hold from this offset on, or from one before."""
        while self._head is not None and self._head.offset <= offset:
            found, self._head = self._head, next(self._held, None)
            yield found


class Streamed:
    """One run of the pipeline, with every tap: `ticks` and `frontiers` of each shard, `largest` ticks at a time."""

    def __init__(self, profile: Profile, known: Contracts, ticks: Sequence[Iterator[Tick]],
                 frontiers: Sequence[Iterator[Frontier]], rulings: Sequence[Ruling], models: Models | None,
                 largest: int) -> None:
        count = len(ticks)
        self._ticks, self._largest = ticks, largest
        self._frontiers = [_Frontiers(held) for held in frontiers]
        edges = MemoryEdges(count, [], list(rulings))
        shard = plans.shard("pipeline", profile, known, count, plans.TAPS, models)
        self._shards = opened(shard, edges, {number: Memory() for number in range(count)})
        self._account = AccountWorker(plans.account("pipeline", profile, known, count, plans.TAPS), Memory(), edges)

    def __iter__(self) -> Iterator[tuple[int, Emission]]:
        """Messages as they are made, with the shard that made them; 0 for the account's."""
        left = list(range(len(self._ticks)))
        for number in left:
            self._reach(number, 0)
        while left:
            number = self._account.held_by(left)
            ticks = list(islice(self._ticks[number], self._largest))
            if not ticks:
                left.remove(number)
                continue
            self._reach(number, ticks[-1].offset + 1)
            batch = MicroBatch(TICKS, number, [t.value for t in ticks], [t.offset for t in ticks],
                               [t.stamp for t in ticks])
            yield from self._step(number, batch)
        for _ in range(QUIET):
            yield from ((0, e) for e in self._account.idle())

    def _reach(self, number: int, offset: int) -> None:
        for frontier in self._frontiers[number].up_to(offset):
            self._account.quiet(frontier)

    def _step(self, number: int, batch: MicroBatch) -> Iterator[tuple[int, Emission]]:
        for e in self._shards.process([batch]):
            if e.sink != NEXT:
                yield number, e
            else:
                made = self._account.process([MicroBatch(ROWS, 0, [e.payload])])
                yield from ((0, m) for m in made)
