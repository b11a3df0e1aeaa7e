"""Trials on a live stack: one log computed in many ways, and faults under load. Every one ends in the same two checks:
the auditor finds nothing, and a recomputation of the log gives the same bytes.

    make replay-identity    # as six jobs, at other parallelism and micro-batches, with kills and savepoints in between
    make chaos              # kill -9, freezes and outages of every part while a market runs
"""
from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException

from connectors import simulate
from connectors.market.simulator import Config, generate
from sigmaflow import submit, supervise, verify
from sigmaflow.audit.check import audit
from sigmaflow.audit.log import read as read_log
from sigmaflow.recording import read
from sigmaflow.runs import Run
from sigmaflow.settings import Settings, load
from sigmaflow.stack import console

PROFILE = "default"
RATE = 1_500.0
LOAD_S = 14.0
"""Seconds of market in a chaos trial; the fault comes in the second quarter."""
FREEZE_S = 14.0
"""Longer than the heartbeat time-out of flink-conf: the cluster gives the frozen part up, and then it comes back."""


@dataclass
class Tally:
    """What all trials of a command found; `cases` are messages compared."""

    cases: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    found: int = 0
    began: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        """The JSON line that ends the command."""
        return json.dumps({"cases": self.cases, "lost": self.lost, "doubled": self.doubled,
                           "differing": self.differing, "found": self.found,
                           "seconds": round(time.monotonic() - self.began, 1)})

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or different."""
        return not (self.lost or self.doubled or self.differing or self.found)

    def check(self, title: str, run: Run, inputs: str | None = None, note: str = "") -> None:
        """Audit a settled run and hold it against its recomputation."""
        recorded = read(run.settings, run.namespace, inputs=inputs)
        verdict = verify.compare(recorded, verify.recompute(recorded, verify.profile_of(recorded)))
        report = audit(read_log(run.settings, run.namespace, inputs), complete=True)
        summary = report.summary()
        self.cases += verdict.cases
        self.lost += verdict.missing + int(summary["lost"])
        self.doubled += verdict.doubled + int(summary["doubled"])
        self.differing += len(verdict.differences) + int(summary["differing"])
        self.found += report.found
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
        tally.check("one job, parallelism 1, as recorded", base)
        for jobs, parallelism, batch_ms in (("six", 1, 50), ("six", 2, 20), ("one", 2, 5), ("one", 4, 200)):
            with _again(base, jobs, parallelism, batch_ms) as run:
                run.settle()
                tally.check(f"{jobs}, parallelism {parallelism}, micro-batches of {batch_ms} ms", run, base.namespace)
        with _again(base, "one", 1, 5) as run:
            kill(settings, busy(settings))
            run.settle()
            tally.check("one job, its TaskManager killed", run, base.namespace)
        with _again(base, "one", 1, 5) as run:
            run.move(2)
            run.settle()
            tally.check("one job, stopped with a savepoint, started from it at parallelism 2", run, base.namespace)
    print(tally.line(), flush=True)
    return tally.clean


def _again(base: Run, jobs: str, parallelism: int, batch_ms: int) -> Run:
    return Run("identity", PROFILE, jobs, parallelism, "all", base.settings, batch_ms=batch_ms,
               recorded=base.namespace)


# ------------------------------------------------------------------------------------------------------------- chaos


def chaos(seed: int = 1, rounds: int = 1, only: str = "") -> bool:
    """Every fault `rounds` times, each in a run of its own under load; whether nothing was lost, doubled, different."""
    settings, tally, rng = load(), Tally(), random.Random(seed)
    for number in range(rounds):
        for name, fault in FAULTS.items():
            if not only or name in only.split(","):
                trial(settings, tally, f"{name} {number + 1}", fault, rng)
    print(tally.line(), flush=True)
    return tally.clean


def trial(settings: Settings, tally: Tally, title: str, fault: Callable[[Run], None], rng: random.Random) -> None:
    """One fault in a run of its own under load; what came of it goes into the tally."""
    with Run("chaos", PROFILE, settings=settings, batch_ms=5) as run:
        with market(run, rng.randrange(1 << 30)):
            time.sleep(LOAD_S * rng.uniform(0.25, 0.5))
            ends, began = run.written(), time.monotonic()
            fault(run)
            recovered = _recovery(run, ends, began)
        run.settle()
        tally.check(title, run, note=f", caught up {recovered:.1f} s after the fault")


@contextmanager
def market(run: Run, seed: int) -> Iterator[None]:
    """A simulated market of LOAD_S seconds in a thread; leaves when it has been sent whole."""
    config = Config(seed=seed, rate=RATE, count=int(RATE * LOAD_S))
    sender = threading.Thread(target=simulate.run, args=(config, run.writer), daemon=True)
    sender.start()
    yield
    sender.join()


def _recovery(run: Run, ends: dict[str, list[int]], began: float) -> float:
    """Seconds from the fault until checkpoints cover all that had been written when it came; 120 at most."""
    while time.monotonic() - began < 120:
        try:
            if run.behind(ends) <= 0:
                break
        except KafkaException:  # the broker may be what was killed
            pass
        time.sleep(0.1)
    return time.monotonic() - began


def busy(settings: Settings) -> str:
    """The TaskManager with the fewest free slots: the one that the jobs' tasks run in."""
    found = submit.get_json(f"{settings.flink.rest_url}/taskmanagers")["taskmanagers"]
    return str(min(found, key=lambda t: t["freeSlots"])["id"]).split(":")[0]


def kill(settings: Settings, program: str) -> None:
    """SIGKILL; the supervisor starts it again."""
    os.kill(_pid(settings, program), signal.SIGKILL)


def _pid(settings: Settings, program: str) -> int:
    return int(supervise.states(settings)[program]["pid"])


def freeze(settings: Settings, program: str, seconds: float) -> None:
    """SIGSTOP, and SIGCONT after some seconds."""
    pid = _pid(settings, program)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def _kill(program: str) -> Callable[[Run], None]:
    return lambda run: kill(run.settings, program)


def _registry_away(run: Run) -> None:
    """The registry is down while a TaskManager comes back: a running job has what it needs."""
    supervise.stop_program(run.settings, "registry")
    kill(run.settings, busy(run.settings))
    time.sleep(8)
    supervise.start_program(run.settings, "registry")


def _results_away(run: Run) -> None:
    for program in ("redis", "questdb"):
        kill(run.settings, program)


def _checkpoints_away(run: Run) -> None:
    """No checkpoint can be written for some seconds: a file stands where their directory was."""
    folder = Path(run.settings.data_dir) / "flink" / "checkpoints" / run.job_ids[0]
    aside = folder.with_name(folder.name + "-aside")
    folder.rename(aside)
    folder.write_text("in the way")
    time.sleep(4)
    folder.unlink()
    aside.rename(folder)


def _rescale(run: Run) -> None:
    run.move(2)
    run.move(1)


FAULTS: dict[str, Callable[[Run], None]] = {
    "taskmanager-kill": lambda run: kill(run.settings, busy(run.settings)),
    "taskmanager-freeze": lambda run: freeze(run.settings, busy(run.settings), FREEZE_S),
    "broker-kill": _kill("kafka"),
    "broker-freeze": lambda run: freeze(run.settings, "kafka", FREEZE_S),
    "registry-away": _registry_away,
    "redis-questdb-kill": _results_away,
    "checkpoints-away": _checkpoints_away,
    "rescale": _rescale,
}
"""Faults by name. Python runs inside the TaskManager (thread mode): a killed worker is a killed TaskManager."""
