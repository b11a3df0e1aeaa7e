"""The job `pipeline` over a log that has an end, in one process: the same workers, fed a micro-batch at a time.

What comes out can be used at once, so memory holds what waits in the account and nothing else. The end of every
partition is known, so that nothing waits for a silent one: the order is that of a cluster which has read all of it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from jobs.chain import plans
from jobs.chain.account import AccountWorker
from jobs.chain.commands import Ruling
from jobs.chain.contracts import Contracts
from jobs.chain.inprocess import MemoryEdges
from jobs.chain.messages import NEXT, ROWS, Emission, MicroBatch
from jobs.chain.shard import opened
from udfs.models import Models
from udfs.order import Frontier
from udfs.profiles import Profile

AFTER_ALL = 2**62
"""Order time that no tick has: nanoseconds of the year 2116."""


class BoundedEdges(MemoryEdges):
    """Edges of a log whose partitions end at `ends`; frontiers of the run that recorded it hold up to there."""

    def __init__(self, ends: Sequence[int], frontiers: Sequence[Frontier] = (), rulings: Sequence[Ruling] = ()) -> None:
        within = [frontier for frontier in frontiers if frontier.offset < ends[frontier.shard]]
        last = [Frontier(shard, end, AFTER_ALL) for shard, end in enumerate(ends)]
        super().__init__(len(ends), [*within, *last], list(rulings))


class Forgetful:
    """A store for workers that are never made again: it keeps nothing."""

    def get(self, key: str) -> bytes | None:
        """Nothing is there."""
        return None

    def put(self, key: str, make: Callable[[], bytes]) -> None:
        """Keep nothing."""

    def remove(self, key: str) -> None:
        """Nothing is there."""


class Pipeline:
    """The workers of one run. `accepted` counts ticks that were admitted so far."""

    def __init__(self, profile: Profile, contracts: Contracts, edges: BoundedEdges, shards: int,
                 models: Models | None = None) -> None:
        store = Forgetful()
        plan = plans.shard("pipeline", profile, contracts, shards, models=models)
        self._shards = opened(plan, edges, dict.fromkeys(range(shards), store))
        self._account = AccountWorker(plans.account("pipeline", profile, contracts, shards), store, edges)
        self.accepted = 0

    def process(self, batch: MicroBatch) -> Iterator[Emission]:
        """Messages that a micro-batch of market.ticks.v1 leads to, topic by topic and each in order."""
        for emission in self._shards.process([batch]):
            if emission.sink == NEXT:
                yield from self._account.process([MicroBatch(ROWS, 0, [emission.payload])])
            else:
                yield emission
        self.accepted += self._shards.seen.ticks
