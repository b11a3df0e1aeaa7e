"""Faults under load on a live stack: kill -9, freezes and outages of every part while a market runs.

    make chaos    # every fault, each in a run of its own, with the auditor's verdict and a recomputation after each
"""
from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import KafkaException

from connectors import simulate
from connectors.market.simulator import Config
from jobs.chain.options import LIVE_MS
from sigmaflow import probes, supervise, trials
from sigmaflow.errors import Failed
from sigmaflow.output import console
from sigmaflow.programs import base_environment
from sigmaflow.runs import Run
from sigmaflow.settings import Settings, load
from sigmaflow.tally import Tally
from sigmaflow.trials import PROFILE, RATE, busy, kill, pid

FREEZE_S = 14.0
"""Longer than the heartbeat time-out of flink-conf: the cluster gives the frozen part up, and then it comes back."""
RECOVERY_S = 150.0
"""Longest wait for a job to catch up; it settles after that, or the run fails."""


@dataclass(frozen=True)
class Fault:
    """What is done to a run under load.

    The market lasts `load_s` seconds and the fault comes in its second quarter; `options` and `flink_options` are those
    of the job that is disturbed.
    """

    cause: Callable[[Run, random.Random], None]
    load_s: float = 14.0
    options: tuple[str, ...] = ()
    flink_options: tuple[str, ...] = ()


class Impossible(Exception):
    """This machine does not let the fault be caused."""


def chaos(seed: int = 1, rounds: int = 1, only: str = "") -> bool:
    """Every fault `rounds` times, each in a run of its own under load; whether nothing was lost, doubled, different."""
    settings, tally, rng = load(), Tally(), random.Random(seed)
    for number in range(rounds):
        for name, fault in FAULTS.items():
            if not only or name in only.split(","):
                trial(settings, tally, f"{name} {number + 1}", fault, rng)
    print(tally.line(), flush=True)
    return tally.clean


def trial(settings: Settings, tally: Tally, title: str, fault: Fault, rng: random.Random) -> None:
    """One fault in a run of its own under load; what came of it goes into the tally."""
    with Run("chaos", PROFILE, settings=settings, batch_ms=LIVE_MS, options=fault.options,
             flink_options=fault.flink_options) as run:
        with market(run, rng.randrange(1 << 30), fault.load_s):
            time.sleep(fault.load_s * rng.uniform(0.25, 0.5))
            ends, began = run.written(), time.monotonic()
            try:
                fault.cause(run, rng)
            except Impossible as reason:
                console().print(f"[yellow]not tried[/]  {title}: {reason}")
                return
            ended = time.monotonic()
            recovered = _recovery(run, _written(run) or ends)
        run.settle()
        trials.check(tally, title, run, note=f", fault of {ended - began:.0f} s, caught up {recovered:.1f} s after it")


@contextmanager
def market(run: Run, seed: int, seconds: float) -> Iterator[None]:
    """A simulated market of so many seconds in a thread; leaves when it has been sent whole."""
    config = Config(seed=seed, rate=RATE, count=int(RATE * seconds))
    sender = threading.Thread(target=simulate.run, args=(config, run.writer), daemon=True)
    sender.start()
    yield
    sender.join()


def _written(run: Run) -> dict[str, list[int]]:
    """What had been written when the fault was over; empty where the broker does not tell yet."""
    try:
        return run.written()
    except KafkaException:
        return {}


def _recovery(run: Run, ends: dict[str, list[int]]) -> float:
    """Seconds until checkpoints cover these ends."""
    began = time.monotonic()
    while time.monotonic() - began < RECOVERY_S:
        try:
            if run.behind(ends) <= 0:
                break
        except KafkaException:  # the broker may be what was killed
            pass
        time.sleep(0.1)
    return time.monotonic() - began


def freeze(settings: Settings, program: str, seconds: float) -> None:
    """SIGSTOP, and SIGCONT after some seconds."""
    process = pid(settings, program)
    os.kill(process, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(process, signal.SIGCONT)


def _killed(program: str) -> Fault:
    return Fault(lambda run, rng: kill(run.settings, program))


def _kill_taskmanager(run: Run, rng: random.Random) -> None:
    kill(run.settings, busy(run.settings))


def _kill_taskmanagers(run: Run, rng: random.Random) -> None:
    """Twenty times at random moments, some of them in the middle of a recovery."""
    for _ in range(20):
        kill(run.settings, f"taskmanager-{rng.randint(1, run.settings.flink.taskmanagers)}")
        time.sleep(rng.uniform(2, 14))


def _kill_worker(run: Run, rng: random.Random) -> None:
    """SIGKILL for every Python process of Apache Beam under the TaskManagers."""
    workers, began = list[psutil.Process](), time.monotonic()
    while not workers and time.monotonic() - began < RECOVERY_S:
        workers = [process for process in supervise.processes(run.settings) if _is_worker(process)]
        time.sleep(0.1)
    if not workers:
        raise Failed("chaos", "a job in process mode must have Python workers", f"none came in {RECOVERY_S:.0f} s",
                     f"read the TaskManagers' logs in {run.settings.log_dir}")
    for process in workers:
        process.kill()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "pyflink.fn_execution.beam.beam_boot" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def _freeze_broker(run: Run, rng: random.Random) -> None:
    freeze(run.settings, "kafka", 60)


def _freeze_taskmanager(run: Run, rng: random.Random) -> None:
    freeze(run.settings, busy(run.settings), FREEZE_S)


def _registry_away(run: Run, rng: random.Random) -> None:
    """The registry is down while a TaskManager comes back: a running job has what it needs."""
    supervise.stop_program(run.settings, "registry")
    kill(run.settings, busy(run.settings))
    time.sleep(8)
    supervise.start_program(run.settings, "registry")


def _results_away(run: Run, rng: random.Random) -> None:
    for program in ("redis", "questdb"):
        kill(run.settings, program)


def _checkpoints(run: Run) -> Path:
    return run.settings.checkpoint_dir / run.job_ids[0]


def _checkpoints_away(run: Run, rng: random.Random, seconds: float = 4) -> None:
    """No checkpoint can be written for some seconds: a file stands where their directory was."""
    folder = _checkpoints(run)
    aside = folder.with_name(folder.name + "-aside")
    folder.rename(aside)
    folder.write_text("in the way")
    time.sleep(seconds)
    folder.unlink()
    aside.rename(folder)


def _disk_full(run: Run, rng: random.Random) -> None:
    """The checkpoints' directory is a full disk for some seconds: a small one is mounted over it."""
    folder = _checkpoints(run)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False,
                             capture_output=True, text=True)
    if mounted.returncode:
        raise Impossible(f"a small disk cannot be mounted ({mounted.stderr.strip()})")
    try:
        (folder / "filler").write_bytes(bytes(64 * 1024))
        time.sleep(6)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _transaction_timed_out(run: Run, rng: random.Random) -> None:
    """No checkpoint for longer than a transaction may last and than the broker's look at such ones, every 10 s."""
    _checkpoints_away(run, rng, seconds=25)


def _rescaled(run: Run, rng: random.Random) -> None:
    run.move(2)
    run.move(1)


def _changed_code(run: Run, rng: random.Random) -> None:
    """Stop with a savepoint, put other code in place, restart the TaskManagers, go on; then back in the same way."""
    settings = run.settings
    copy = settings.data_dir / "changed"
    shutil.rmtree(copy, ignore_errors=True)
    for package in ("jobs", "udfs", "schemas", "connectors", "sigmaflow", "docker"):
        shutil.copytree(settings.root / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "udfs" / "stages" / "fills.py").open("a") as source:
        source.write("\n# A release later.\n")
    here, there = base_environment(settings)["PYTHONPATH"], f"{copy}:{base_environment(settings)['PYTHONPATH']}"
    for old, new in ((here, there), (there, here)):
        run.move(1, between=lambda old=old, new=new: _deploy(settings, old, new))  # type: ignore[misc]
        time.sleep(3)


def _deploy(settings: Settings, old: str, new: str) -> None:
    """Change the path that the cluster finds its code on, and restart what runs code."""
    managers = [f"taskmanager-{n}" for n in range(1, settings.flink.taskmanagers + 1)]
    for program in (*managers, "flink"):
        script = settings.data_dir / "bin" / program
        script.write_text(script.read_text().replace(f"PYTHONPATH={old}\n", f"PYTHONPATH={new}\n"))
    for program in managers:
        supervise.stop_program(settings, program)
        supervise.start_program(settings, program)
    while not probes.answers(probes.flink, settings):
        time.sleep(0.2)


FAULTS = {
    "taskmanager-kill": Fault(_kill_taskmanager),
    "taskmanager-kill-20": Fault(_kill_taskmanagers, load_s=240),
    "taskmanager-freeze": Fault(_freeze_taskmanager),
    "jobmanager-kill": _killed("jobmanager"),
    "worker-kill": Fault(_kill_worker, flink_options=("-Dpython.execution-mode=process",)),
    "broker-kill": _killed("kafka"),
    "broker-freeze": Fault(_freeze_broker),
    "registry-away": Fault(_registry_away),
    "redis-questdb-kill": Fault(_results_away),
    "checkpoints-away": Fault(_checkpoints_away),
    "disk-full": Fault(_disk_full),
    "transaction-timeout": Fault(_transaction_timed_out, options=("--transaction-s", "5")),
    "rescale": Fault(_rescaled),
    "changed-code": Fault(_changed_code),
}
"""Faults by name. In thread mode Python runs inside the TaskManager, so only `worker-kill` has a worker to kill."""
