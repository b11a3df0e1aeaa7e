"""What `submit`, `savepoint` and `restore` do and print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sigmaflow import start
from sigmaflow import submit as flink
from sigmaflow.errors import NotRunning, UserError
from sigmaflow.output import Record, console, print_table, size
from sigmaflow.settings import load


def submit(job: str, arguments: list[str], point: str | None, parallelism: int | None, options: Sequence[str],
           timeout_s: float | None) -> dict[str, Any]:
    """Submit the jobs of a file, from a savepoint where one is given, and wait; `timeout_s` None does not wait.

    The market's chain is remembered, so that `sigmaflow stop` and the next start are about this job.
    Raises NotRunning without a stack, Failed where Flink refuses the job or it does not come to run.
    """
    ids = flink.submit_all(job, arguments, point, parallelism, flink_options=options)
    _remember([found.id for found in flink.jobs() if found.id in ids and start.is_chain(found.name)])
    if timeout_s is not None:
        for job_id in ids:
            flink.wait_running(job_id, timeout_s)
    return {"file": job, "jobs": ids, "state": "SUBMITTED" if timeout_s is None else "RUNNING", "from": point}


def draw_submitted(answer: Record) -> None:
    """Print one line a job."""
    origin = f", from {answer['from']}" if answer["from"] else ""
    for job_id in answer["jobs"]:
        console().print(f"{answer['file']} is {answer['state']} as {job_id}{origin}", markup=False)


def take(job_id: str, stop: bool) -> dict[str, Any]:
    """Take a savepoint of a job, of every running one where `job_id` is empty; with `stop` the job ends with it.

    The next start goes on from the savepoint that the market's chain was stopped with: there is no newer checkpoint.
    """
    running = {job.id: job.name for job in flink.jobs() if job.state == "RUNNING"}
    if job_id and job_id not in running:
        raise UserError("savepoint", "JOB_ID must be that of a running job", f"{job_id!r} is none",
                        f"choose one of: {', '.join(running) or 'none runs; run make start'}")
    if not running:
        raise NotRunning("savepoint", "a job must run", "none does", "run make start")
    save = flink.stop_with_savepoint if stop else flink.savepoint
    taken = {one: save(one) for one in running if one == (job_id or one)}
    if stop:
        _remember([one for one in taken if start.is_chain(running[one])], taken)
    return {"savepoints": [_row(path, one, running[one]) for one, path in taken.items()]}


def _remember(chains: Sequence[str], points: Mapping[str, str] = MappingProxyType({})) -> None:
    for job_id in chains:
        start.remember(load(), job_id, points.get(job_id))


def kept() -> dict[str, Any]:
    """The savepoints that there are, oldest first."""
    found = sorted(load().savepoint_dir.glob("*/_metadata"), key=lambda file: file.stat().st_mtime)
    return {"savepoints": [_row(str(file.parent)) for file in found]}


def _row(path: str, job_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    """A savepoint; time and size are known where it lies on this machine."""
    folder = Path(path.removeprefix("file:"))
    files = list(folder.glob("*"))
    when = datetime.fromtimestamp((folder / "_metadata").stat().st_mtime, UTC) if files else None
    return {"path": path, "job": job_id, "name": name, "taken": when.isoformat(timespec="seconds") if when else None,
            "bytes": sum(file.stat().st_size for file in files) if files else None}


def draw(answer: Record) -> None:
    """Print one line a savepoint."""
    print_table([{"job": row["name"] or row["job"], "taken": row["taken"], "size": size(row["bytes"]),
                  "path": row["path"]} for row in answer["savepoints"]], empty="no savepoint; take one with: "
                "sigmaflow savepoint")
