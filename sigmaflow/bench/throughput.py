"""Ticks a second of a backlog, and the processor time of each; results checked.

One job finds its ticks in Kafka. The clock is Kafka's own: from the timestamp of the first message that the chain
writes to that of the last decision, one decision a tick. What the first operator has read when the first message
leaves, some hundred ticks, is counted as done in it.

Six jobs start one after another, so that the first would be done before the last is there: they run already, the first
half of the ticks comes as in a live market, and the other half, which is measured, at once. The clock begins when it is
sent; what is on its way by then counts against the chain.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from connectors.consume import Seeker
from connectors.market.columns import Ticks, concat
from connectors.ticks import TickWriter
from jobs.chain.messages import DECISIONS
from sigmaflow import reference, submit, verify
from sigmaflow.bench import cpu, figures
from sigmaflow.errors import Failed
from sigmaflow.runs import Run, send
from sigmaflow.settings import Settings

LIVE_RATE = 10_000.0
"""Ticks a second of the market before a backlog."""
Check = Callable[[Run], list[str]]
"""What is wrong with a settled run's results; nothing where they are right."""


@dataclass(frozen=True)
class Case:
    """One way to run the chain."""

    jobs: str
    profile: str
    parallelism: int = 1

    @property
    def name(self) -> str:
        """Its place in the results.

        >>> Case("one", "reference").name, Case("six", "default", 2).name
        ('pipeline/reference', 'six/default/2')
        """
        jobs = "pipeline" if self.jobs == "one" else self.jobs
        return f"{jobs}/{self.profile}" + (f"/{self.parallelism}" if self.parallelism > 1 else "")


def sums(total: int, wanted: dict[str, float]) -> Check:
    """The checksums of bench/SEMANTICS.md must be there, from one decision a tick."""
    def check(run: Run) -> list[str]:
        found = reference.checksums(run)
        rows = [] if found["rows"] == total else [f"{found['rows']} decisions, not {total}"]
        return rows + figures.differences(found, wanted)

    return check


def recomputed(run: Run) -> list[str]:
    """Every message must be the one that a recomputation in one process gives."""
    verdict = verify.check(run.settings, run.namespace)
    counts = {"missing": verdict.missing, "doubled": verdict.doubled}
    return [str(d) for d in verdict.differences] + [f"{n} messages {what}" for what, n in counts.items() if n]


def measure(settings: Settings, case: Case, chunks: Iterable[Ticks], total: int, check: Check) -> dict[str, Any]:
    """One run. Raises Failed where its results are wrong: speed never buys a wrong answer."""
    with Run("bench", case.profile, case.jobs, case.parallelism, settings=settings, servers=False, submit=False) as run:
        with cpu.Sampler(cpu.stack_processes(settings)) as sampler:
            began, ticks = None, total
            if case.jobs == "six":
                started = run.start()
                began, ticks = _half_live(run.writer, chunks, total), total - total // 2
            else:
                send(run.writer, chunks, total)
                started = run.start()
            run.settle()
        checkpoints = [submit.checkpoint_summary(job_id, settings) for job_id in run.job_ids]
        first, last = span(settings, run.topic(DECISIONS))
        wrong = check(run)
    if wrong:
        raise Failed("bench", f"{case.name} must give the right results", "; ".join(wrong[:3]), "correct it first")
    first = began or first
    used = sampler.between(first, last)
    return {"ticks": ticks, "ticks_per_s": round(ticks / (last - first), 1), "seconds": round(last - first, 3),
            **cost(used, ticks), "start_s": round(started, 1), **_checkpoints(checkpoints)}


def _half_live(writer: TickWriter, chunks: Iterable[Ticks], total: int) -> float:
    """Send half of the ticks at LIVE_RATE, then the others at once; when those began, s since 1970."""
    ticks, half = concat(chunks), total // 2
    live, backlog = ticks.take(slice(half)), ticks.take(slice(half, total))
    seconds = (int(live.ts_recv[-1]) - int(live.ts_recv[0])) / 1e9
    send(writer, [live], half, speed=LIVE_RATE * seconds / half)
    began = time.time()
    send(writer, [backlog], len(backlog))
    return began


def cost(used: cpu.Times, ticks: int) -> dict[str, Any]:
    """Processor time a tick: in all, by program, by language, by thread."""
    return {"cpu_us_per_tick": round(sum(used.values()) * 1e6 / ticks, 2),
            "cpu_us_by_program": figures.per_tick(cpu.grouped(used, cpu.by_program), ticks),
            "cpu_us_by_language": figures.per_tick(cpu.grouped(used, cpu.by_language), ticks),
            "cpu_us_by_thread": figures.per_tick(cpu.grouped(used, cpu.by_thread), ticks, least=0.05)}


def span(settings: Settings, decisions: str) -> tuple[float, float]:
    """Kafka timestamps of the first and the last decision, s since 1970. Raises Failed where there is none."""
    seeker = Seeker(settings)
    low, high = seeker.bounds(decisions, 0)
    first, last, back = seeker.at(decisions, 0, low) if high > low else None, None, 1
    while last is None and back < 2 * (high - low):  # markers of transactions, which are no messages, end the log
        last, back = seeker.at(decisions, 0, max(low, high - back)), 2 * back
    if first is None or last is None:
        raise Failed("bench", f"{decisions} must hold decisions", "it holds none", "look at the jobs in Flink's web UI")
    return first.timestamp()[1] / 1e3, last.timestamp()[1] / 1e3


def _checkpoints(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Largest size and longest duration of a completed checkpoint of any job."""
    return {"checkpoint_bytes": max(int(s["state_size"]["max"]) for s in summaries),
            "checkpoint_ms": max(int(s["end_to_end_duration"]["max"]) for s in summaries)}
