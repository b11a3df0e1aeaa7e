"""A run apart: a span of ticks through the chain on topics of its own, so that it neither sees nor disturbs the market.

    with Run("reference", "reference", jobs="six") as run:
        run.writer.write(ticks)
        run.settle()

With `submit=False` the ticks can be in Kafka before the jobs are: `run.start()` submits them.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import schemas
from connectors import broker, pace, topics
from connectors.market.columns import Ticks
from connectors.offsets import Groups, listed
from connectors.ticks import TOPIC as TICKS
from connectors.ticks import TickWriter
from jobs.chain.plans import JOBS, READS
from sigmaflow import stack, submit
from sigmaflow.errors import Failed
from sigmaflow.output import console
from sigmaflow.settings import Settings, load

BATCH_MS = 50
"""Micro-batches of a run are longer than a live market's: nobody waits for a single tick, and the results are the same.
"""
STILL_S = 2.0
"""Seconds without a change, and checkpoints of every job in them, after which a run has ended."""
STALLED_S = 120.0
"""Without any progress for this long a run is given up."""


class Run:
    """Topics, jobs and a tick writer under one namespace; on exit the jobs are cancelled and the topics deleted.

    `options` are the job's own, `flink_options` those of `flink run`. `servers` False takes the stack as it is and
    brings nothing up. `recorded` names a run whose ticks and frontiers this one reads in place of its own. `submit`
    False leaves the jobs to `start`.
    """

    def __init__(self, name: str, profile: str, jobs: str = "one", parallelism: int = 1, taps: str = "",
                 settings: Settings | None = None, servers: bool = True, batch_ms: int = BATCH_MS,
                 recorded: str | None = None, options: Sequence[str] = (), flink_options: Sequence[str] = (),
                 submit: bool = True) -> None:
        self.settings = settings or load()
        self.namespace = f"{name}-{int(time.time() * 1000):x}"
        self._profile, self._parallelism, self._taps, self._servers = profile, parallelism, taps, servers
        self._batch_ms, self._recorded = batch_ms, recorded
        self._options, self._flink_options, self._at_once = options, flink_options, submit
        self.jobs = JOBS if jobs == "six" else ("pipeline",)
        self.job_ids: list[str] = []
        self._groups = Groups(self.settings.kafka.bootstrap)
        self._admin = AdminClient(broker.client(self.settings.kafka.bootstrap))

    def __enter__(self) -> Run:
        if self._servers:
            stack.up(self.settings)
        topics.setup(self.settings, quiet=True)
        topics.create(self._admin, [replace(t, name=self.topic(t.name)) for t in schemas.topics().values()])
        try:
            if self._at_once:
                self.start()
            self.writer = TickWriter(self.settings, self.topic(TICKS))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def start(self) -> float:
        """Submit the jobs and wait until every task of theirs runs; the seconds that it took."""
        began = time.monotonic()
        with _progress() as bar:
            task = bar.add_task("submit jobs", total=2 * len(self.jobs), note="")
            bar.update(task, note=self._file)
            self._submit()
            bar.advance(task, len(self.jobs))
            for job_id in self.job_ids:
                submit.wait_running(job_id, settings=self.settings)
                bar.advance(task)
        return time.monotonic() - began

    @property
    def _file(self) -> str:
        return f"jobs/{self.jobs[0] if len(self.jobs) == 1 else 'six'}.py"

    def _submit(self, savepoint: str | None = None) -> None:
        self.job_ids = submit.submit_all(self._file, self._arguments(), savepoint, self._parallelism, self.settings,
                                         self._flink_options)

    def move(self, parallelism: int, between: Callable[[], None] = lambda: None) -> str:
        """Stop the one job with a savepoint and start it from there at another parallelism; the savepoint's path.

        `between` is done while no job runs.
        """
        point = submit.stop_with_savepoint(self.job_ids[0], self.settings)
        between()
        self._parallelism = parallelism
        self._submit(point)
        submit.wait_running(self.job_ids[0], settings=self.settings)
        return point

    def topic(self, name: str) -> str:
        """Name of a topic in this run."""
        return schemas.in_run(name, self.namespace)

    def _read(self, name: str) -> str:
        """Name of a topic that the run reads: its ticks may be those of another."""
        recorded = self._recorded is not None and name == TICKS
        return schemas.in_run(name, self._recorded or "") if recorded else self.topic(name)

    def _arguments(self) -> list[str]:
        taps = ["--taps", self._taps] if self._taps else []
        recorded = [] if self._recorded is None else ["--recorded", self._recorded]
        return ["--profile", self._profile, "--namespace", self.namespace, "--batch-ms", str(self._batch_ms), *taps,
                *recorded, *self._options]

    def settle(self) -> float:
        """Wait until every job has read all of its input and its output stands still and is committed.

        Gives the seconds from the call to the last change. Raises UserError where a job fails or nothing moves for two
        minutes.
        """
        self.writer.flush()
        began = changed = quiet = time.monotonic()
        last, done = self._ends(), self._checkpoints()
        inputs = sum(last[TICKS])
        with _progress() as bar:
            task = bar.add_task("ticks through the chain", total=inputs, note="")
            while True:
                now = self._ends()
                lag = {job: self._lag(job, now) for job in self.jobs}
                if now != last:
                    last, changed = now, time.monotonic()
                if changed > quiet or any(lag.values()):
                    quiet, done = time.monotonic(), []
                elif not done:  # not before: the JobManager's answers cost the run processor time
                    done = self._checkpoints()
                bar.update(task, completed=inputs - max(lag.values()), note=self._note(lag))
                if time.monotonic() - quiet > STILL_S and self._passed(done) and self._ends(committed=True) == now:
                    bar.update(task, completed=inputs)
                    return changed - began
                self._check(time.monotonic() - changed)
                time.sleep(0.25)

    def _checkpoints(self) -> list[int]:
        return [submit.checkpoints(job_id, self.settings) for job_id in self.job_ids]

    def _passed(self, before: list[int]) -> bool:
        """Whether two checkpoints have gone through every job since: none of its operators can have been stuck."""
        return all(now >= then + 2 for now, then in zip(self._checkpoints(), before, strict=True))

    def _note(self, lag: dict[str, int]) -> str:
        return ", ".join(f"{job} {count:,} behind" for job, count in lag.items() if count)

    def _check(self, still: float) -> None:
        states = {job.id: job.state for job in submit.jobs(self.settings, all_states=True)}
        for job_id in self.job_ids:
            state = states.get(job_id, "not known")
            if state in submit.ENDED or still > STALLED_S:
                found = submit.cause(job_id, self.settings) or f"no progress for {still:.0f} s"
                raise Failed("run", "the chain must go on", f"job {job_id} is {state}: {found}",
                             f"look at {self.settings.flink.rest_url} and {self.settings.log_dir}")

    def _ends(self, committed: bool = False) -> dict[str, list[int]]:
        """End of every partition by topic; with `committed` the end that readers of committed records see."""
        names = {self._read(t.name): t.name for t in schemas.topics().values()}
        asked = {TopicPartition(name, p): OffsetSpec.latest()
                 for name, own in names.items() for p in range(schemas.topics()[own].partitions)}
        ends: dict[str, list[int]] = {t.name: [0] * t.partitions for t in schemas.topics().values()}
        for at, info in listed(self._admin, asked, committed, timeout_s=20).items():
            ends[names[at.topic]][at.partition] = info.offset
        return ends

    def ends(self) -> dict[str, int]:
        """Messages that each topic of the run has had."""
        return {name: sum(ends) for name, ends in self._ends().items()}

    def written(self) -> dict[str, list[int]]:
        """End of every partition by topic, as it is now."""
        return self._ends()

    def behind(self, ends: dict[str, list[int]]) -> int:
        """Input before these ends that no completed checkpoint of some job covers."""
        return max(self._lag(job, ends) for job in self.jobs)

    def _lag(self, job: str, ends: dict[str, list[int]]) -> int:
        """Input offsets that no completed checkpoint of the job covers."""
        read = {self._read(name): len(ends[name]) for name in READS[job]}
        return sum(sum(ends[name]) for name in READS[job]) - self._groups.committed(self.topic(job), read)

    def _close(self) -> None:
        _quietly(self._cancel)
        self._groups.close()
        _quietly(self._delete_topics)

    def _cancel(self) -> None:
        """Jobs are known by their names: of a submission that was interrupted no ids are."""
        for job in submit.jobs(self.settings):
            if job.name.endswith(f" {self.namespace}"):
                _quietly(partial(submit.cancel, job.id, self.settings))

    def _delete_topics(self) -> None:
        for answer in self._admin.delete_topics([self.topic(name) for name in schemas.topics()]).values():
            answer.result()


class Firsts:
    """Which rows are no repeats: hot topics are at-least-once, the first of an id counts."""

    def __init__(self) -> None:
        self._seen = np.zeros(0, np.int64)

    def of(self, ids: Any) -> Any:
        """True for each id that was not there before."""
        once = np.zeros(len(ids), bool)
        once[np.unique(ids, return_index=True)[1]] = True
        once &= ~np.isin(ids, self._seen)
        self._seen = np.concatenate([self._seen, ids[once]])
        return once


def _quietly(action: Callable[[], object]) -> None:
    """Clean up as far as it goes: the error that led here matters more."""
    try:
        action()
    except Exception as error:
        console().print(f"[dim]clean-up: {error}[/]")


def _progress() -> Progress:
    return Progress(SpinnerColumn(), TextColumn("{task.description:<24}"), BarColumn(30),
                    TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[note]}"), TimeElapsedColumn(),
                    console=console())


def send(writer: TickWriter, chunks: Iterable[Ticks], total: int, speed: float | None = None) -> float:
    """Write all chunks with a progress bar; seconds it took until the broker had confirmed them.

    `speed` is how many times as fast as they were received the ticks leave; None at once.
    """
    began = time.monotonic()
    with _progress() as bar:
        task = bar.add_task("ticks into Kafka", total=total, note="")
        pace.send(chunks, writer, speed, progress=partial(bar.advance, task))
        writer.flush()
    return time.monotonic() - began
