"""One log computed in many ways on a live stack; every way must leave the same bytes, and the auditor find nothing.

    make replay-identity    # as six jobs, at other parallelism and micro-batches, with kills and savepoints in between
"""
from __future__ import annotations

import os
import signal

from connectors.market.simulator import Config, generate
from sigmaflow import submit, supervise, verify
from sigmaflow.audit.check import audit
from sigmaflow.audit.log import read as read_log
from sigmaflow.output import console
from sigmaflow.runs import Run
from sigmaflow.settings import Settings, load
from sigmaflow.tally import Tally

PROFILE = "default"
RATE = 1_500.0
"""Ticks a second of the simulated market."""


def check(tally: Tally, title: str, run: Run, inputs: str | None = None, note: str = "") -> None:
    """Audit a settled run, hold it against its recomputation, and count what came of it."""
    verdict = verify.check(run.settings, run.namespace, inputs)
    report = audit(read_log(run.settings, run.namespace, inputs), complete=True)
    summary = report.summary()
    tally.cases += verdict.cases
    tally.lost += verdict.missing + int(summary["lost"])
    tally.doubled += verdict.doubled + int(summary["doubled"])
    tally.differing += len(verdict.differences) + int(summary["differing"])
    tally.found += report.found
    good = not (verdict.missing or verdict.doubled or verdict.differences or report.found)
    console().print(f"{'[green]same[/]' if good else '[red]differs[/]'}  {title}: {verdict.cases:,} messages"
                    f"{note}; audit found {report.found}")
    for line in (*verdict.differences[:3], *report.findings[:3]):
        console().print(f"    {line}")


def identity(ticks: int = 20_000, seed: int = 7) -> bool:
    """One log in many ways; whether all gave the same bytes."""
    settings, tally = load(), Tally()
    with Run("identity", PROFILE, taps="all", settings=settings) as base:
        for chunk in generate(Config(seed=seed, rate=RATE, count=ticks)):
            base.writer.write(chunk)
        base.settle()
        check(tally, "one job, parallelism 1, as recorded", base)
        for jobs, parallelism, batch_ms in (("six", 1, 50), ("six", 2, 20), ("one", 2, 5), ("one", 4, 200)):
            with _again(base, jobs, parallelism, batch_ms) as run:
                run.settle()
                check(tally, f"{jobs}, parallelism {parallelism}, micro-batches of {batch_ms} ms", run, base.namespace)
        with _again(base, "one", 1, 5) as run:
            kill(settings, busy(settings))
            run.settle()
            check(tally, "one job, its TaskManager killed", run, base.namespace)
        with _again(base, "one", 1, 5) as run:
            run.move(2)
            run.settle()
            check(tally, "one job, stopped with a savepoint, started from it at parallelism 2", run, base.namespace)
    print(tally.line(), flush=True)
    return tally.clean


def _again(base: Run, jobs: str, parallelism: int, batch_ms: int) -> Run:
    return Run("identity", PROFILE, jobs, parallelism, "all", base.settings, batch_ms=batch_ms,
               recorded=base.namespace)


def busy(settings: Settings) -> str:
    """The TaskManager with the fewest free slots: the one that the jobs' tasks run in."""
    found = submit.get_json(f"{settings.flink.rest_url}/taskmanagers")["taskmanagers"]
    return str(min(found, key=lambda t: t["freeSlots"])["id"]).split(":")[0]


def kill(settings: Settings, program: str) -> None:
    """SIGKILL; the supervisor starts it again."""
    os.kill(pid(settings, program), signal.SIGKILL)


def pid(settings: Settings, program: str) -> int:
    return int(supervise.states(settings)[program]["pid"])
