"""What it costs as the load grows: more symbols, a higher rate, more time, more slots."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import schemas
from connectors.market.simulator import Config, generate
from jobs.chain.messages import DECISIONS
from jobs.chain.options import LIVE_MS
from jobs.chain.shard import TICKS
from sigmaflow import submit
from sigmaflow.bench import cpu, figures, load, throughput
from sigmaflow.bench.throughput import Case
from sigmaflow.runs import Run
from sigmaflow.settings import Settings

RATE = 2_000.0
"""Ticks a second of the run over time, and the pace at which symbols' markets were made."""
SATURATED_MS = 1_000.0
"""Half of the ticks take longer than this only where more come than are worked off: their queue grows by the second."""
AT_A_RATE = ("cpu_us_per_tick", "cpu_us_by_program", "opportunity", "decision")
SAMPLE_S = 5.0
SETTLED_S = 300.0
"""What is there after five minutes must be there after an hour."""


def symbols(settings: Settings, count: int, ticks: int, profile: str = "default") -> dict[str, Any]:
    """Throughput over a market of so many symbols, checked against its recomputation."""
    chunks = generate(Config(seed=5, symbols=count, rate=RATE, count=ticks))
    return throughput.measure(settings, Case("one", profile), chunks, ticks, throughput.recomputed)


def rates(measure: Callable[[float], Mapping[str, Any]], rising: Sequence[float]) -> dict[str, Any]:
    """Cost and latency at rising rates, as latency.measure gives them, up to the first that is not kept up with."""
    found: dict[str, Any] = {}
    for rate in rising:
        measured = measure(rate)
        found[f"{rate:.0f}"] = {name: measured[name] for name in AT_A_RATE}
        if measured["opportunity"]["p50"] > SATURATED_MS:
            break
    return found


def over_time(settings: Settings, minutes: float, profile: str = "default") -> dict[str, Any]:
    """A market of 2,000 ticks a second for so long: state, memory and checkpoints, and whether they stay flat."""
    config = Config(seed=3, rate=RATE, count=int(RATE * minutes * 60))
    processes = cpu.stack_processes(settings)
    with Run("bench", profile, settings=settings, servers=False, batch_ms=LIVE_MS) as run:
        sender, began, samples = load.send(config, run.topic(TICKS)), time.monotonic(), list[dict[str, float]]()
        while time.monotonic() - began < minutes * 60:
            time.sleep(SAMPLE_S)
            samples.append({"at_s": round(time.monotonic() - began, 1), **sample(settings, run, processes)})
        sender.wait()
        run.settle()
        decided = run.ends()[DECISIONS]
    at = [s["at_s"] for s in samples]
    names = [name for name in samples[-1] if name not in ("at_s", "cpu_s")]
    settled = min(SETTLED_S, minutes * 60 / 5)
    flat = {name: figures.flatness(at, [s[name] for s in samples], settled) for name in names}
    return {"minutes": minutes, "rate": RATE, "decisions": decided, "flatness": flat, "samples": samples}


def sample(settings: Settings, run: Run, processes: cpu.Processes) -> dict[str, float]:
    """The newest checkpoint's size and duration, and resident memory of each program."""
    found = processes.found()
    memory: dict[str, float] = {}
    for program, size in cpu.resident(found).items():
        name = f"{cpu.by_program(program, '')}_mb"
        memory[name] = memory.get(name, 0.0) + size / 2**20
    newest = submit.newest_checkpoint(run.job_ids[0], settings)
    return {"checkpoint_bytes": float(newest.get("state_size", 0)),
            "checkpoint_ms": float(newest.get("end_to_end_duration", 0)),
            **{name: round(size, 1) for name, size in sorted(memory.items())}}


def slots(result: Mapping[str, Any]) -> dict[str, Any]:
    """What more slots should give, from the cost of each thread in a run of one slot a part."""
    threads: Mapping[str, float] = result["cpu_us_by_thread"]
    work = {name.removeprefix("taskmanagers: "): us for name, us in threads.items() if name.startswith("taskmanagers")}
    shard = sum(us for name, us in work.items() if name.startswith("Python operator: admit"))
    single = max(us for name, us in work.items() if not name.startswith(("Python operator: admit", "compiler")))
    programs: Mapping[str, float] = result["cpu_us_by_program"]
    cost = figures.Cost(shard, single, programs["taskmanagers"], programs.get("kafka", 0.0))
    return figures.cluster_estimate(cost, schemas.shards())
