"""Ticks a second from a log that is in Kafka before the job is, and the processor time of each; results checked. Six
jobs, which start one after another, are there first, and the ticks are sent as fast as they go.

The clock is Kafka's own: from the timestamp of the first message that the chain writes, of whatever topic, to that of
the last decision, one decision a tick. What the first operator has read when the first message leaves, some hundred
ticks, is counted as done in it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from connectors.consume import Seeker
from connectors.market.columns import Ticks
from jobs.chain.messages import DECISIONS
from sigmaflow import reference, submit, verify
from sigmaflow.bench import cpu, figures
from sigmaflow.errors import Failed
from sigmaflow.runs import Run, send
from sigmaflow.settings import Settings

FEATURES = "features.v1"
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
            if case.jobs == "six":  # they start one after another: the first would be done before the last is there
                started = run.start()
                send(run.writer, chunks, total)
            else:
                send(run.writer, chunks, total)
                started = run.start()
            run.settle()
        checkpoints = [submit.checkpoint_summary(job_id, settings) for job_id in run.job_ids]
        begun = FEATURES if case.jobs == "six" else DECISIONS
        first, last = span(settings, run.topic(begun), run.topic(DECISIONS))
        wrong = check(run)
    if wrong:
        raise Failed("bench", f"{case.name} must give the right results", "; ".join(wrong[:3]), "correct it first")
    used = sampler.between(first, last)
    return {"ticks": total, "ticks_per_s": round(total / (last - first), 1), "seconds": round(last - first, 3),
            **cost(used, total), "start_s": round(started, 1), **_checkpoints(checkpoints)}


def cost(used: cpu.Times, ticks: int) -> dict[str, Any]:
    """Processor time a tick: in all, by program, by language, by thread."""
    return {"cpu_us_per_tick": round(sum(used.values()) * 1e6 / ticks, 2),
            "cpu_us_by_program": figures.per_tick(cpu.grouped(used, cpu.by_program), ticks),
            "cpu_us_by_language": figures.per_tick(cpu.grouped(used, cpu.by_language), ticks),
            "cpu_us_by_thread": figures.per_tick(cpu.grouped(used, cpu.by_thread), ticks, least=0.05)}


def span(settings: Settings, begun: str, ended: str) -> tuple[float, float]:
    """Kafka timestamps of the first message of `begun`, in any partition, and of the last one of `ended`, s since 1970.

    Raises Failed where there is none.
    """
    seeker = Seeker(settings)
    bounds = [(partition, *seeker.bounds(begun, partition)) for partition in range(seeker.partitions(begun))]
    first = [seeker.at(begun, partition, low) for partition, low, high in bounds if high > low]
    low, high = seeker.bounds(ended, 0)
    last, back = None, 1
    while last is None and back < 2 * (high - low):  # markers of transactions, which are no messages, end the log
        last, back = seeker.at(ended, 0, max(low, high - back)), 2 * back
    began = [m.timestamp()[1] / 1e3 for m in first if m is not None]
    if not began or last is None:
        raise Failed("bench", f"{ended} must hold decisions", "it holds none", "look at the jobs in Flink's web UI")
    return min(began), last.timestamp()[1] / 1e3


def _checkpoints(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Largest size and longest duration of a completed checkpoint of any job."""
    return {"checkpoint_bytes": max(int(s["state_size"]["max"]) for s in summaries),
            "checkpoint_ms": max(int(s["end_to_end_duration"]["max"]) for s in summaries)}
