"""Compiles every kernel once, for every profile, so that no job waits for the compiler: `python -m jobs.warm`.

numba keeps compiled kernels by source and argument types in NUMBA_CACHE_DIR; a TaskManager with the same setting
loads them in milliseconds instead of compiling for half a minute. The ticks here are made up: what they lead to is
thrown away.
"""
from __future__ import annotations

import numpy as np

import schemas
from jobs.chain import plans
from jobs.chain.inprocess import Chain, contracts
from jobs.chain.plans import TAPS
from jobs.chain.shard import TICKS
from schemas.codec import Encoder, Text
from udfs import profiles

TICKS_EACH = 700
"""More than the warm-up of any profile, so that orders and fills are made too."""


def ticks(count: int) -> list[bytes]:
    """Messages of a random walk of one symbol, seeded, and one that is none."""
    rng = np.random.default_rng(1)
    mid = 100 + np.cumsum(rng.normal(0, 0.01, count))
    ts = 1_700_000_000_000_000_000 + np.arange(count) * 1_000_000
    zeros = np.zeros(count, np.int64)
    columns = {"venue": Text.table([b"WARM"]).take(zeros), "symbol": Text.table([b"UP"]).take(zeros),
               "seq": np.arange(1, count + 1), "ts_event": ts, "ts_recv": ts, "bid": mid - 0.01, "ask": mid + 0.01,
               "bid_size": rng.uniform(1, 9, count), "ask_size": rng.uniform(1, 9, count),
               "last_price": np.full(count, np.nan), "last_size": np.full(count, np.nan), "last_side": zeros,
               "flags": zeros}
    return [*Encoder(schemas.load("tick"), contracts().id(TICKS)).encode(columns, count), b"no tick"]


if __name__ == "__main__":
    for name in profiles.names():
        for jobs in (plans.JOBS, ("pipeline",)):
            taps = TAPS if jobs == ("pipeline",) else ()
            found = Chain(profiles.get(name), shards=2, largest=100, taps=taps).run(jobs, [ticks(TICKS_EACH), []])
        print(f"{name}: " + ", ".join(f"{topic} {sum(map(len, log))}" for topic, log in found.items()))
