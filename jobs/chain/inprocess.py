"""The whole chain in one process, without Flink or Kafka: the same workers, fed by hand.

For the compiler's warm-up and for tests, which cut and interleave micro-batches as they like. A log is one list of
messages for each shard; what comes out is one list of messages for each partition of each topic.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import schemas
from jobs.chain import plans
from jobs.chain.account import INTENTS, PROGRESS, QUIET, AccountWorker
from jobs.chain.contracts import Contracts
from jobs.chain.messages import NEXT, ROWS, Emission, MicroBatch
from jobs.chain.shard import TICKS, ShardWorker
from udfs.profiles import Profile

Log = list[list[bytes]]


class Memory(dict[str, bytes]):
    """A worker's store in a dictionary."""

    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""
        self[key] = value

    def remove(self, key: str) -> None:
        """Forget a value."""
        self.pop(key, None)


def contracts() -> Contracts:
    """Contracts with made-up schema ids."""
    ids = {name: number for number, name in enumerate(schemas.topics(), 1)}
    return Contracts(ids, {name: {ids[name]: schemas.load(t.schema)} for name, t in schemas.topics().items()})


class Chain:
    """The jobs of one run. `largest` bounds a micro-batch; `seed` decides cuts, interleaving and restarts.

    With `restart` above 0 a worker is thrown away and made again from its store with that probability before each call.
    """

    def __init__(self, profile: Profile, shards: int, largest: int = 1_000_000, seed: int = 0, restart: float = 0.0,
                 taps: tuple[str, ...] = ()) -> None:
        self._profile, self._shards, self._largest, self._restart, self._taps = profile, shards, largest, restart, taps
        self._random = np.random.default_rng(seed)
        self._contracts = contracts()
        self.topics: dict[str, Log] = {}

    def run(self, jobs: Sequence[str], ticks: Log) -> dict[str, Log]:
        """Run these jobs one after another; all topics written."""
        self.topics[TICKS] = ticks
        for job in jobs:
            self._job(job)
        return self.topics

    def _job(self, job: str) -> None:
        plan = plans.shard(job, self._profile, self._contracts, self._shards, self._taps)
        stores = [Memory() for _ in range(self._shards)]
        workers = [ShardWorker(plan, shard, store) for shard, store in enumerate(stores)]
        rows: list[MicroBatch] = []
        for batch in self._interleaved(plan.source, self._read(plan.source)):
            if self._again():
                workers[batch.shard] = ShardWorker(plan, batch.shard, stores[batch.shard])
            for e in workers[batch.shard].process(batch):
                if e.sink == NEXT:
                    rows.append(MicroBatch(ROWS, batch.shard, [e.payload], [0]))
                else:
                    self._write(e, batch.shard)
        if plan.forward:
            self._account(job, rows)

    def _account(self, job: str, rows: list[MicroBatch]) -> None:
        plan, store = plans.account(job, self._profile, self._contracts, self._shards), Memory()
        worker = AccountWorker(plan, store, self._log_ends)
        followed = [self._interleaved(topic, self._read(topic)) for topic in (INTENTS, PROGRESS)] if plan.follow else []
        for batch in self._mixed([iter(rows), *followed]):
            if self._again():
                worker = AccountWorker(plan, store, self._log_ends)
            for e in worker.process(batch):
                self._write(e, 0)
        for _ in range(QUIET):
            for e in worker.idle():
                self._write(e, 0)

    def _log_ends(self) -> list[tuple[int, int]]:
        return [(0, len(part)) for part in self.topics[TICKS]]

    def _again(self) -> bool:
        return self._restart > 0 and self._random.random() < self._restart

    def _read(self, topic: str) -> Log:
        return self.topics.get(topic, [[]])

    def _write(self, e: Emission, shard: int) -> None:
        partitions = schemas.topics()[e.topic].partitions
        log = self.topics.setdefault(e.topic, [[] for _ in range(self._shards if partitions > 1 else 1)])
        log[shard if partitions > 1 else 0].extend(e.values)

    def _interleaved(self, topic: str, log: Log) -> Iterator[MicroBatch]:
        return self._mixed([self._cut(topic, shard, part) for shard, part in enumerate(log)])

    def _cut(self, topic: str, shard: int, part: list[bytes]) -> Iterator[MicroBatch]:
        at = 0
        while at < len(part):
            size = int(self._random.integers(1, self._largest + 1))
            yield MicroBatch(topic, shard, part[at:at + size], range(at, min(at + size, len(part))))
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
