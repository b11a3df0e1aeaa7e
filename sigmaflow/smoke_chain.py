"""What the smoke test asks of Flink, the chain and the report: a span of simulated ticks, on topics of their own.

The market is short, seeded and faulty on purpose, so that every verdict of admission is needed to make the counts meet.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sigmaflow.errors import UserError
from sigmaflow.settings import Settings

if TYPE_CHECKING:
    from sigmaflow.runs import Run

TICKS, SYMBOLS, RATE = 6_000, 2, 500.0
"""Twelve seconds of market; 500 of a symbol's ticks pass before it may trade."""
FAULTS = {"duplicates": 0.01, "crossed": 0.01, "gaps": 0.005}
CHECKPOINT_S = 30.0
PROFILE = "reference"
TOLERANCE = 1e-6
"""Quote currency; sums of doubles in another order differ by less."""


@dataclass
class Bench:
    """What the layers share: settings, the tear sheet's path, and the run that Flink starts and the chain uses."""

    settings: Settings
    report: Path
    cleanup: ExitStack
    run: Run | None = None

    def started(self) -> Run:
        """The run, which is there when the Flink layer was ok."""
        assert self.run is not None
        return self.run


def flink(bench: Bench) -> str:
    """Every TaskManager is there, the chain is submitted, all its tasks run, a checkpoint completes."""
    from sigmaflow import probes, submit
    from sigmaflow.runs import Run

    s = bench.settings
    seen = probes.get_json(f"{s.flink.rest_url}/overview")
    if seen["taskmanagers"] < s.flink.taskmanagers:
        raise UserError("flink", f"{s.flink.taskmanagers} TaskManagers must be there", f"{seen['taskmanagers']} are",
                        "run make start; the logs: make logs PROGRAM=taskmanager-1")
    if not seen["slots-available"]:
        raise UserError("flink", "a slot must be free", f"all {seen['slots-total']} are taken",
                        f"cancel a job in the web UI, {s.flink.rest_url}")
    bench.run = bench.cleanup.enter_context(Run("smoke", PROFILE, taps="features.v1", settings=s, servers=False))
    job = bench.run.job_ids[0]
    deadline = time.monotonic() + CHECKPOINT_S
    while not submit.checkpoints(job, s):
        if time.monotonic() > deadline:
            raise UserError("flink", f"a checkpoint must complete within {CHECKPOINT_S:.0f} s", "none did",
                            f"look at {s.flink.rest_url}/#/job/running/{job}/checkpoints")
        time.sleep(0.1)
    return f"{seen['taskmanagers']} TaskManagers, {seen['slots-total']} slots; job RUNNING, checkpoints complete"


def chain(bench: Bench) -> str:
    """Ticks in, fills and equity out; every offset has one verdict, and the ledger adds up."""
    from connectors.market.faults import Faults
    from connectors.market.simulator import Config, generate
    from sigmaflow.replay import dead_letters, distinct

    run = bench.started()
    for ticks in generate(Config(symbols=SYMBOLS, rate=RATE, count=TICKS, faults=Faults(**FAULTS))):
        run.writer.write(ticks)
    run.settle()
    offsets, dead = run.ends()["market.ticks.v1"], dead_letters(run)
    accepted, duplicate = distinct(run, "features.v1"), dead.pop("duplicate", 0)
    rejected = sum(dead.values())
    _must("accepted + duplicate + rejected must be the offsets", accepted + duplicate + rejected, offsets)
    _must("the simulator's ticks must all be in Kafka", offsets, run.writer.written)
    fills, equity = _ledger(run)
    return (f"{offsets:,} ticks = {accepted:,} accepted + {duplicate} duplicate + {rejected} rejected; "
            f"{fills} fills, equity {equity:,.2f}; the ledger adds up")


def _ledger(run: Run) -> tuple[int, float]:
    """(fills, last equity), after cash, positions and counts were held against each other."""
    from udfs import profiles

    fills = _columns(run, "fills.v1", ("side", "quantity", "price", "fee", "cash"))
    marks = _columns(run, "equity.v1", ("cash", "net", "equity", "fills"))
    count = len(fills["quantity"])
    if not count:
        raise UserError("chain", "some ticks must lead to fills", "none did", "run make replay to see a longer market")
    flow = np.where(fills["side"] == 0, -1.0, 1.0) * fills["quantity"] * fills["price"] - fills["fee"]
    cash = profiles.get(PROFILE).fills.initial_cash + np.cumsum(flow)
    gap = np.abs(marks["cash"] + marks["net"] - marks["equity"]).max()
    _must("cash after each fill must be the sum of all fills", float(np.abs(cash - fills["cash"]).max()), 0.0)
    _must("equity must be cash plus positions", float(gap), 0.0)
    _must("equity must count every fill", int(marks["fills"][-1]), count)
    return count, float(marks["equity"][-1])


def _columns(run: Run, topic: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Some columns of all committed messages of a topic of the run."""
    from connectors.read_columns import read_columns

    chunks = list(read_columns(topic, run.settings, run.namespace, read_committed=True))
    return {name: np.concatenate([np.zeros(0), *(np.asarray(c[name]) for c in chunks)]) for name in names}


def _must(rule: str, found: float, wanted: float) -> None:
    if abs(found - wanted) > TOLERANCE:
        raise UserError("chain", rule, f"{found:,} is not {wanted:,}", "keep the logs and report it: this is a bug")


def report(bench: Bench) -> str:
    """The tear sheet of that run."""
    from sigmaflow import report as module

    file = module.run(bench.report, namespace=bench.started().namespace)
    return f"{file}, {file.stat().st_size / 1e3:.0f} kB"
