"""Flink jobs, their savepoints, and recorded or given ticks through a chain of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigmaflow.cli.common import MARKET, AsJson, JobArguments, JobFile, Parallelism, command, group, namespace
from sigmaflow.errors import UserError

PANEL = "Jobs"
RUNS = "Runs apart from the market"
app = group()

Options = Annotated[list[str] | None, typer.Option(
    "-D", metavar="KEY=VALUE", help="An option of Flink's for this job; may be given again.")]
Wait = Annotated[bool, typer.Option(help="Wait until every task of the job runs.")]
Timeout = Annotated[float, typer.Option(min=1, help="Longest wait, seconds.")]


@command(app, PANEL, "sigmaflow submit jobs/pipeline.py",
         "sigmaflow submit jobs/pipeline.py --parallelism 2 -- --taps all",
         "sigmaflow submit jobs/features.py -D execution.checkpointing.interval=10s --json -- --namespace trial")
def submit(
    job: JobFile, args: JobArguments = None, parallelism: Parallelism = None, options: Options = None,
    wait: Wait = True, timeout: Timeout = 90, as_json: AsJson = False,
) -> None:
    """Submit a job with `flink run` and wait until every task of it runs."""
    _submit(job, args, None, parallelism, options, False, wait, timeout, as_json)


@command(app, PANEL, "sigmaflow savepoint", "sigmaflow savepoint 8a7c51bb1d6b29b3bb4b34ba4b7b1a4c --stop",
         "sigmaflow savepoint --list --json")
def savepoint(
    job_id: Annotated[str, typer.Argument(help="One job; every running one when left out.")] = "",
    stop: Annotated[bool, typer.Option("--stop", help="Stop the job with it, losing nothing.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Take none; list those that there are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a savepoint of a job, from which restore starts it again."""
    from sigmaflow import savepoints
    from sigmaflow.output import show

    show(as_json, savepoints.kept if listed else lambda: savepoints.take(job_id, stop), savepoints.draw)


@command(app, PANEL, "sigmaflow restore jobs/pipeline.py",
         "sigmaflow restore jobs/pipeline.py --path file:///srv/savepoints/savepoint-8a7c51-0c1f --parallelism 2")
def restore(
    job: JobFile, args: JobArguments = None,
    path: Annotated[str, typer.Option(help="Savepoint or checkpoint; the newest savepoint when left out.")] = "",
    parallelism: Parallelism = None, options: Options = None,
    allow_non_restored_state: Annotated[bool, typer.Option(
        "--allow-non-restored-state", help="Leave out state that the job has no operator for any more.")] = False,
    wait: Wait = True, timeout: Timeout = 90, as_json: AsJson = False,
) -> None:
    """Submit a job from a savepoint and wait until every task of it runs."""
    from sigmaflow import submit as module

    _submit(job, args, path or module.newest_savepoint(), parallelism, options, allow_non_restored_state, wait, timeout,
            as_json)


def _submit(job: str, args: list[str] | None, point: str | None, parallelism: int | None, options: list[str] | None,
            leave_out: bool, wait: bool, timeout: float, as_json: bool) -> None:
    from sigmaflow import savepoints
    from sigmaflow.output import show

    flink = [*(f"-D{option}" for option in options or []), *(["--allowNonRestoredState"] if leave_out else [])]
    show(as_json, lambda: savepoints.submit(job, args or [], point, parallelism, flink, timeout if wait else None),
         savepoints.draw_submitted)


@command(app, RUNS, "sigmaflow reference ticks.parquet --rows 200000 --jobs six --parallelism 2")
def reference(
    file: Annotated[str, typer.Argument(help="Ticks as Parquet, as bench/gen_ticks.py writes them.")],
    rows: Annotated[int, typer.Option(min=0, help="Send only the first rows; 0 is all.")] = 0,
    jobs: Annotated[str, typer.Option(help="one: pipeline; six: each job alone.")] = "one",
    parallelism: Annotated[int, typer.Option(min=1, help="Slots a job uses.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Send a tick file through the chain under the reference profile; ends with its checksums as JSON."""
    if jobs not in ("one", "six"):
        raise UserError("reference", "JOBS must be one or six", f"it is {jobs!r}", "write JOBS=one or JOBS=six")
    if not Path(file).is_file():
        raise UserError("reference", "FILE must name a Parquet file of ticks", f"{file!r} is none",
                        "write FILE=path/to/ticks.parquet")
    from sigmaflow import reference as module
    from sigmaflow.output import last_line

    with last_line(as_json):
        module.run(file, rows, jobs, parallelism)


@command(app, RUNS, "sigmaflow replay btcusdt.gz ethusdt.gz --speed 10", "sigmaflow replay --from market",
         "sigmaflow replay --from replay-19c1f --complete --json")
def replay(
    files: Annotated[list[str] | None, typer.Argument(help="Recorded files; merged in time.")] = None,
    speed: Annotated[float, typer.Option(min=0, help="Multiple of the recorded speed; 0 is as fast as it goes.")] = 0,
    recorded: Annotated[str | None, typer.Option(
        "--from", metavar="RUN", help=f"Compute this run again: its namespace, or {MARKET}.")] = None,
    verify: Annotated[bool, typer.Option(help="With --from: compare the run with its recomputation.")] = True,
    complete: Annotated[bool, typer.Option(help="With --from: all of its input must be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send recorded frames through the chain; or compute a run again from its log and compare every byte."""
    from sigmaflow.output import last_line

    if recorded is not None:
        from sigmaflow import verify as verifier

        if not verify:
            raise UserError("replay", "--from needs --verify", "it was turned off", "leave --no-verify out")
        with last_line(as_json):
            same = verifier.run(namespace(recorded), complete=complete)
        raise typer.Exit(0 if same else 1)
    absent = [file for file in files or [""] if not Path(file).is_file()]
    if absent:
        raise UserError("replay", "FILES must name recorded files", f"{absent[0]!r} is none", 'write FILES="a.gz b.gz"')
    from sigmaflow import replay as module

    with last_line(as_json):
        module.run(files or [], speed)
