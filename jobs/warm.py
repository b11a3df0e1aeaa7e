"""Compiles every kernel once, for every profile, so that no job waits for the compiler: `python -m jobs.warm`.

numba keeps compiled kernels by source and argument types in NUMBA_CACHE_DIR; a TaskManager with the same setting loads
them in milliseconds instead of compiling for half a minute. The ticks here are made up: what they lead to is thrown away.
"""
from __future__ import annotations

import numpy as np

import schemas
from jobs.chain import plans
from jobs.chain.account import AccountWorker
from jobs.chain.contracts import Contracts
from jobs.chain.messages import NEXT, ROWS, Emission, MicroBatch
from jobs.chain.shard import TICKS, ShardWorker
from schemas.codec import Encoder, Text
from udfs import profiles

TICKS_EACH = 700
"""More than the warm-up of any profile, so that orders and fills are made too."""


class Memory(dict[str, bytes]):
    """A worker's store in a dictionary."""

    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""
        self[key] = value

    def remove(self, key: str) -> None:
        """Forget a value."""
        self.pop(key, None)


def contracts() -> Contracts:
    """Contracts with made-up schema ids, for workers outside of Flink."""
    ids = {name: number for number, name in enumerate(schemas.topics(), 1)}
    return Contracts(ids, {name: {ids[name]: schemas.load(t.schema)} for name, t in schemas.topics().items()})


def ticks(count: int, schema_id: int) -> list[bytes]:
    """Messages of a random walk of one symbol, seeded."""
    rng = np.random.default_rng(1)
    mid = 100 + np.cumsum(rng.normal(0, 0.01, count))
    ts = 1_700_000_000_000_000_000 + np.arange(count) * 1_000_000
    zeros = np.zeros(count, np.int64)
    columns = {"venue": Text.table([b"WARM"]).take(zeros), "symbol": Text.table([b"UP"]).take(zeros),
               "seq": np.arange(1, count + 1), "ts_event": ts, "ts_recv": ts, "bid": mid - 0.01, "ask": mid + 0.01,
               "bid_size": rng.uniform(1, 9, count), "ask_size": rng.uniform(1, 9, count),
               "last_price": np.full(count, np.nan), "last_size": np.full(count, np.nan), "last_side": zeros,
               "flags": zeros}
    return list(Encoder(schemas.load("tick"), schema_id).encode(columns, count))


def run(profile: str) -> dict[str, list[bytes]]:
    """The six jobs of a profile one after another on made-up ticks; what each topic was sent."""
    p, held = profiles.get(profile), contracts()
    sent: dict[str, list[bytes]] = {TICKS: [*ticks(TICKS_EACH, held.id(TICKS)), b"bad"]}
    for job in (*plans.JOBS, "pipeline"):
        plan = plans.shard(job, p, held, 1)
        emitted = ShardWorker(plan, 0, Memory()).process(MicroBatch(plan.source, 0, sent[plan.source],
                                                                    range(len(sent[plan.source]))))
        if plan.forward:
            worker = AccountWorker(plans.account(job, p, held, 1), Memory())
            for e in [e for e in emitted if e.sink == NEXT]:
                emitted += worker.process(MicroBatch(ROWS, 0, [e.payload], [0]))
            if job == "fills":
                for topic in ("intents.v1", "progress.v1"):
                    emitted += worker.process(MicroBatch(topic, 0, sent.get(topic, []), []))
        _collect(sent if job != "pipeline" else {}, emitted)
    return sent


def _collect(sent: dict[str, list[bytes]], emitted: list[Emission]) -> None:
    for e in emitted:
        if e.sink != NEXT:
            sent.setdefault(e.topic, []).extend(e.values)


if __name__ == "__main__":
    for name in profiles.names():
        found = run(name)
        print(f"{name}: " + ", ".join(f"{topic} {len(values)}" for topic, values in found.items()))
