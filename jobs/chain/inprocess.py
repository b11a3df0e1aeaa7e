"""The whole chain in one process, without Flink or Kafka: the same workers, fed by hand.

For the compiler's warm-up and for tests, which cut and interleave micro-batches as they like. A log is one list of
messages for each shard; what comes out is one list of messages for each partition of each topic.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

import schemas
from jobs.chain import plans
from jobs.chain.account import AccountWorker
from jobs.chain.commands import Command, Indicator, Ruling
from jobs.chain.contracts import Contracts
from jobs.chain.messages import NEXT, PROPOSALS, Emission, MicroBatch
from jobs.chain.packing import pack_batch, pack_rows, unpack
from jobs.chain.shard import DEAD, TICKS, ShardPlan, ShardWorker, opened
from jobs.chain.total_order import QUIET
from udfs.models import Models
from udfs.order import Frontier
from udfs.profiles import Profile

Log = list[list[bytes]]
ACCOUNT_JOBS = ("pipeline", "sizing", "fills")


class Memory(dict[str, bytes]):
    """A worker's store in a dictionary."""

    def put(self, key: str, make: Callable[[], bytes]) -> None:
        """Keep a value."""
        self[key] = make()

    def remove(self, key: str) -> None:
        """Forget a value."""
        self.pop(key, None)


class MemoryEdges:
    """Logs of which nothing more is known than what was read; frontiers, commands and rulings in lists."""

    def __init__(self, shards: int, frontiers: list[Frontier], rulings: list[Ruling]) -> None:
        self._shards, self.held, self.ruled = shards, frontiers, rulings
        self.given: list[Command] = []
        self.made: list[Indicator] = []

    def ends(self) -> list[tuple[int, int]]:
        """First and next offset of each partition: no reader is behind them."""
        return [(0, 0)] * self._shards

    def end(self, shard: int) -> int | None:
        """Not known, so that a recomputation comes to no ruling of its own on what a recorded run has refused."""
        return None

    def frontiers(self) -> list[Frontier]:
        """All frontiers so far."""
        return list(self.held)

    def write(self, frontiers: Sequence[Frontier]) -> None:
        """Keep frontiers."""
        self.held += frontiers

    def commands(self) -> list[Command]:
        """Commands given so far."""
        return self.given

    def indicators(self) -> list[Indicator]:
        """Slow values made so far."""
        return self.made

    def rulings(self) -> list[Ruling]:
        """All rulings so far."""
        return list(self.ruled)

    def rule(self, rulings: Sequence[Ruling]) -> None:
        """Keep rulings."""
        self.ruled += rulings

    def last_seq(self) -> int:
        """No other worker has written for the account."""
        return 0


def contracts() -> Contracts:
    """Contracts with made-up schema ids."""
    ids = {name: number for number, name in enumerate(schemas.topics(), 1)}
    return Contracts(ids, {name: {ids[name]: schemas.load(t.schema)} for name, t in schemas.topics().items()})


class Chain:
    """The jobs of one run. `largest` bounds a micro-batch, `together` how many of them a call has; `seed` decides
    cuts, interleaving, calls and restarts.

    With `restart` above 0 a worker is thrown away and made again from its store with that probability before each call.
    With `impatient` above 0 the account gives up, with that probability, on every shard that has not sent yet.
    """

    def __init__(self, profile: Profile, shards: int, largest: int = 1_000_000, seed: int = 0, restart: float = 0.0,
                 taps: tuple[str, ...] = (), impatient: float = 0.0, known: Contracts | None = None,
                 models: Models | None = None, together: int = 6) -> None:
        self._profile, self._count, self._taps, self._models = profile, shards, taps, models
        self._largest, self._restart, self._impatient = largest, restart, impatient
        self._random, self._calls = np.random.default_rng(seed), np.random.default_rng((seed, 1))
        self._most = together
        self._contracts = known or contracts()
        self.topics: dict[str, Log] = {}

    def run(self, jobs: Sequence[str], ticks: Log, frontiers: Sequence[Frontier] = (),
            stamps: list[list[int]] | None = None, rulings: Sequence[Ruling] = ()) -> dict[str, Log]:
        """Run these jobs one after another; all topics written.

        `frontiers` and `rulings` are those of the run to compute again.

        `stamps` are the Kafka timestamps of `ticks`, in seconds; without them no tick is held against its own.
        """
        self.topics[TICKS], self._stamps = ticks, stamps
        self.edges = MemoryEdges(self._count, list(frontiers), list(rulings))
        for job in jobs:
            rows = self._shards(job) if job != "fills" else []
            if job in ACCOUNT_JOBS:
                self._account(job, rows)
        return self.topics

    def _shards(self, job: str) -> list[MicroBatch]:
        """Run a job's shards; the rows that they give the account."""
        plan = plans.shard(job, self._profile, self._contracts, self._count, self._taps, self._models)
        stores = [Memory() for _ in range(self._count)]
        worker = self._opened(plan, stores)
        rows: list[MicroBatch] = []
        for batches in self._together(self._interleaved(plan.source)):
            if self._again():
                worker = self._opened(plan, stores)
            made = worker.process(batches)
            homes = {name: shard for shard in range(self._count) for name in worker.symbols(shard)}
            for e in made:
                if e.sink == NEXT:
                    rows += unpack(pack_rows(e.payload), ())
                else:
                    self._write_keyed(e, homes)
        return rows

    def _opened(self, plan: ShardPlan, stores: Sequence[Memory]) -> ShardWorker:
        """A worker of all shards, which it meets in any order."""
        shards = self._calls.permutation(self._count).tolist()
        return opened(plan, self.edges if plan.learns else None, {shard: stores[shard] for shard in shards})

    def _together(self, batches: Iterator[MicroBatch]) -> Iterator[list[MicroBatch]]:
        """One or some at a time."""
        while held := list(islice(batches, int(self._calls.integers(1, self._most + 1)))):
            yield held

    def _account(self, job: str, rows: list[MicroBatch]) -> None:
        plan = plans.account(job, self._profile, self._contracts, self._count, self._taps)
        store, edges = Memory(), self.edges if plan.ordered else None
        worker = AccountWorker(plan, store, edges)
        streams = [iter(rows), self._interleaved(DEAD)] if plan.refused else [iter(rows)]
        for batches in self._together(self._mixed(streams if plan.ordered else [self._interleaved(PROPOSALS)])):
            if self._again():
                worker = AccountWorker(plan, store, edges)
            self._write_all(worker.process(batches))
            if self._random.random() < self._impatient:
                self._give_up(worker)
        self._give_up(worker)

    def _give_up(self, worker: AccountWorker) -> None:
        for _ in range(QUIET):
            self._write_all(worker.idle())

    def _write_all(self, emissions: list[Emission]) -> None:
        for e in emissions:
            self._log(e.topic)[0].extend(e.values.values())

    def _again(self) -> bool:
        return self._restart > 0 and self._random.random() < self._restart

    def _write_keyed(self, e: Emission, homes: Mapping[bytes, int]) -> None:
        """Each message in the shard of its symbol, where the topic has as many partitions."""
        log = self._log(e.topic)
        for key, value in zip(e.keys, e.values.values(), strict=True):
            log[homes[key or b""] if len(log) > 1 else 0].append(value)

    def _log(self, topic: str) -> Log:
        partitions = schemas.topics()[topic].partitions
        return self.topics.setdefault(topic, [[] for _ in range(self._count if partitions > 1 else 1)])

    def _interleaved(self, topic: str) -> Iterator[MicroBatch]:
        return self._mixed([self._cut(topic, shard, part) for shard, part in enumerate(self.topics.get(topic, [[]]))])

    def _cut(self, topic: str, shard: int, part: list[bytes]) -> Iterator[MicroBatch]:
        at = 0
        while at < len(part):
            size = int(self._random.integers(1, self._largest + 1))
            stamps = self._stamps[shard][at:at + size] if self._stamps and topic == TICKS else ()
            batch = MicroBatch(topic, shard, part[at:at + size], range(at, min(at + size, len(part))), stamps)
            yield from unpack(pack_batch(batch, (topic,)), (topic,))
            at += size

    def _mixed(self, streams: Sequence[Iterator[MicroBatch]]) -> Iterator[MicroBatch]:
        """All streams in random turns, each in its own order."""
        left = list(streams)
        while left:
            pick = int(self._random.integers(len(left)))
            try:
                yield next(left[pick])
            except StopIteration:
                left.pop(pick)
