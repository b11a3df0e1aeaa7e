"""Compiles every kernel once, for every profile, so that no job waits for the compiler: `python -m jobs.warm`.

numba keeps compiled kernels by source and argument types in NUMBA_CACHE_DIR; a TaskManager with the same setting
loads them in milliseconds instead of compiling for half a minute, while ticks wait. The ticks here are made up: what
they lead to is thrown away.
"""
from __future__ import annotations

import numpy as np

import schemas
from connectors.market import simulator
from jobs.chain import plans
from jobs.chain.inprocess import Chain, contracts
from jobs.chain.plans import TAPS
from jobs.chain.shard import TICKS
from schemas.codec import Encoder
from schemas.packed import Text
from udfs import profiles, trees
from udfs.calibration import Isotonic
from udfs.models import QUANTILES, Model, Models, inputs, signals_of
from udfs.profiles import Profile

LEAF = "tree\n\nTree=0\nnum_leaves=1\nleaf_value=0\n\n\nend of trees\n"
"""A LightGBM text model of one leaf."""

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


def model(profile: Profile) -> Models:
    """A model that says nothing, so that the loops that run one are compiled too; none for a profile that takes none.
    """
    known = Models(profile)
    if profile.ensemble.intervals == "adaptive":
        about = {"signals": signals_of(profile), "inputs": inputs(profile.alphas.names)}
        forests = trees.read([LEAF] * len(QUANTILES), len(about["inputs"]))
        made = Model(f"{1:016x}", about, forests, Isotonic(np.array([0.0, 1.0]), np.array([0.4, 0.6])))
        known.add(made)
        known.first = made.digest
    return known


if __name__ == "__main__":
    next(simulator.generate(simulator.Config(count=TICKS_EACH)))
    for name in profiles.names():
        p = profiles.get(name)
        for jobs in (plans.JOBS, ("pipeline",)):
            taps = TAPS if jobs == ("pipeline",) else ()
            chain = Chain(p, shards=2, largest=100, taps=taps, models=model(p))
            found = chain.run(jobs, [ticks(TICKS_EACH), []])
        print(f"{name}: " + ", ".join(f"{topic} {sum(map(len, log))}" for topic, log in found.items()))
