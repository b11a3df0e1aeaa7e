"""Jobs: submit with `flink run`, wait, take savepoints, restore, cancel; states are read over REST."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigmaflow.errors import Failed, NotRunning, UserError
from sigmaflow.probes import get_json
from sigmaflow.programs import MARKER
from sigmaflow.settings import Settings, load

ENDED = ("FAILED", "CANCELED", "FINISHED", "SUSPENDED")


@dataclass(frozen=True)
class Job:
    """A job as the cluster sees it."""

    id: str
    name: str
    state: str
    start_ms: int


def jobs(settings: Settings | None = None, all_states: bool = False) -> list[Job]:
    """Jobs of the cluster, newest first; only living ones unless told otherwise."""
    s = settings or load()
    found = [
        Job(job["jid"], job["name"], job["state"], job["start-time"])
        for job in _get(s, "/jobs/overview")["jobs"]
    ]
    found.sort(key=lambda job: -job.start_ms)
    return [job for job in found if all_states or job.state not in ENDED]


def submit(job: str, args: list[str] | None = None, savepoint: str | None = None, parallelism: int | None = None,
           settings: Settings | None = None) -> str:
    """Run `flink run -d -py JOB`; returns the job's id.

    `savepoint` is the path that a savepoint or a checkpoint printed. Raises UserError with the client's reason.
    """
    return submit_all(job, args, savepoint, parallelism, settings)[-1]


def submit_all(job: str, args: list[str] | None = None, savepoint: str | None = None, parallelism: int | None = None,
               settings: Settings | None = None, flink_options: Sequence[str] = ()) -> list[str]:
    """The same for a file that submits several jobs; returns their ids in the order of submission.

    `flink_options` are those of `flink run`, for example `-Dpython.execution-mode=process`.
    """
    s = settings or load()
    flink = s.data_dir / "bin" / "flink"
    if not flink.exists():
        raise NotRunning("submit", "the stack must run", "it was never started here", "run make start")
    file = (s.root / job).resolve()
    if not file.exists():
        raise UserError("submit", f"{job} must be a file", "there is none", "name one of jobs/*.py")
    command = [str(flink), "run", "-d", *flink_options]
    if savepoint:
        command += ["-s", savepoint]
    if parallelism:
        command += ["-p", str(parallelism)]
    command += ["-py", str(file), *(args or [])]
    # Marked as the stack's own: a stop in the middle of a submission ends the client too.
    environment = {**os.environ, MARKER: str(s.data_dir)}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=s.root, env=environment, check=False)
    output = ran.stdout + ran.stderr
    found = re.findall(r"JobID ([0-9a-f]{32})", output)
    if not found:
        log = s.log_dir / "submit.log"
        log.write_text(output)
        raise Failed("submit", f"{job} must be accepted by Flink", _reason(output), f"read {log}")
    return [str(job_id) for job_id in found]


def _reason(output: str) -> str:
    """The line of the client's output that a person needs."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # The program's own Python error, if it got that far; Flink's last cause otherwise.
    python = [line for line in lines if re.match(r"^(?!java|org)[\w.]*(Error|Exception)\b.*", line)]
    java = [line for line in lines if line.startswith("Caused by: ")]
    return (python or java or lines or ["the client said nothing"])[-1][:300]


def state(job_id: str, settings: Settings | None = None) -> str:
    """The job's state, for example RUNNING."""
    s = settings or load()
    return str(_get(s, f"/jobs/{job_id}/status")["status"])


def wait_running(job_id: str, timeout_s: float = 90, settings: Settings | None = None) -> None:
    """Wait until every task of the job runs.

    The job's own state says RUNNING before its tasks do, and thread mode fails without a word on the client
    (shared/PYFLINK.md 5): so all tasks are asked. Raises UserError with the job's root cause.
    """
    s = settings or load()
    deadline = time.monotonic() + timeout_s
    while True:
        # The overview is of now; a job's own page may be three seconds old.
        job = next((job for job in _get(s, "/jobs/overview")["jobs"] if job["jid"] == job_id), None)
        if job is None:
            raise UserError("submit", f"job {job_id} must be known to Flink", "it is not",
                            "look at make status for the jobs there are")
        tasks = job["tasks"]
        if job["state"] == "RUNNING" and 0 < tasks["total"] == tasks["running"] + tasks["finished"]:
            return
        if job["state"] == "FINISHED":
            return
        restarts = job["state"] in ("FAILED", "RESTARTING", "FAILING")
        if job["state"] in ("FAILED", "CANCELED") or (restarts and time.monotonic() > deadline - timeout_s / 2):
            raise Failed("submit", f"job {job['name']} must run", f"it is {job['state']}: {cause(job_id, s)}",
                         f"read {s.log_dir}/taskmanager-1.log or {s.flink.rest_url}")
        if time.monotonic() > deadline:
            raise Failed("submit", f"job {job['name']} must run within {timeout_s:.0f} s", f"it is {job['state']}",
                         f"look at {s.flink.rest_url}")
        time.sleep(0.3)


def wait_ended(job_id: str, timeout_s: float = 600, settings: Settings | None = None) -> str:
    """Wait until the job has ended; returns its last state."""
    s = settings or load()
    deadline = time.monotonic() + timeout_s
    while (now := state(job_id, s)) not in ENDED:
        if time.monotonic() > deadline:
            raise Failed("submit", f"job {job_id} must end within {timeout_s:.0f} s", f"it is {now}",
                         f"look at {s.flink.rest_url}")
        time.sleep(0.3)
    return now


def cause(job_id: str, settings: Settings | None = None) -> str:
    """Last line of the job's newest root exception that says why; empty when it never failed."""
    s = settings or load()
    history = _get(s, f"/jobs/{job_id}/exceptions")["exceptionHistory"]["entries"]
    if not history:
        return ""
    lines = [line.strip() for line in history[0]["stacktrace"].splitlines()]
    telling = [line for line in lines if line and not line.startswith(("at ", "..."))]
    return (telling or [""])[-1][:300]


def checkpoints(job_id: str, settings: Settings | None = None) -> int:
    """How many checkpoints completed: the figure to trust, a RUNNING job may have none."""
    s = settings or load()
    try:
        return int(_get(s, f"/jobs/{job_id}/checkpoints")["counts"]["completed"])
    except (UserError, KeyError):
        return 0


def checkpoint_summary(job_id: str, settings: Settings | None = None) -> dict[str, Any]:
    """Flink's summary of the job's completed checkpoints: sizes in bytes, durations in milliseconds."""
    s = settings or load()
    found: dict[str, Any] = _get(s, f"/jobs/{job_id}/checkpoints")["summary"]
    return found


def newest_checkpoint(job_id: str, settings: Settings | None = None) -> dict[str, Any]:
    """Flink's account of the job's newest completed checkpoint; empty where there is none."""
    s = settings or load()
    found: dict[str, Any] | None = _get(s, f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
    return found or {}


def cancel(job_id: str, settings: Settings | None = None, timeout_s: float = 60) -> None:
    """Cancel a job and wait until it is gone."""
    s = settings or load()
    _call(f"{s.flink.rest_url}/jobs/{job_id}?mode=cancel", "PATCH")
    wait_ended(job_id, timeout_s, s)


def cancel_all(settings: Settings | None = None) -> None:
    """Cancel whatever lives; silent when the cluster does not answer."""
    s = settings or load()
    try:
        for job in jobs(s):
            cancel(job.id, s, timeout_s=20)
    except UserError:
        pass


def savepoint(job_id: str, settings: Settings | None = None) -> str:
    """Take a savepoint of a running job; returns its path."""
    s = settings or load()
    body = {"target-directory": f"file://{s.savepoint_dir}", "cancel-job": False}
    return _triggered(s, job_id, "savepoints", body)


def stop_with_savepoint(job_id: str, settings: Settings | None = None) -> str:
    """Stop a job with a savepoint, losing nothing; returns the savepoint's path."""
    s = settings or load()
    path = _triggered(s, job_id, "stop", {"targetDirectory": f"file://{s.savepoint_dir}", "drain": False})
    wait_ended(job_id, 60, s)
    return path


def _triggered(settings: Settings, job_id: str, action: str, body: dict[str, Any]) -> str:
    """Trigger a savepoint and wait for its path."""
    trigger = _call(f"{settings.flink.rest_url}/jobs/{job_id}/{action}", "POST", body)["request-id"]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = _get(settings, f"/jobs/{job_id}/savepoints/{trigger}")
        if answer["status"]["id"] == "COMPLETED":
            operation = answer["operation"]
            if "location" in operation:
                return str(operation["location"])
            reason = str(operation.get("failure-cause", {}).get("class", "unknown"))
            raise Failed("savepoint", f"job {job_id} must take one", reason, f"look at {settings.flink.rest_url}")
        time.sleep(0.2)
    raise Failed("savepoint", f"job {job_id} must take one within 120 s", "it did not",
                 f"look at {settings.flink.rest_url}")


def _get(settings: Settings, path: str) -> Any:
    """Answer of Flink's REST interface.

    Raises UserError when it does not answer or does not know the path.
    """
    try:
        return get_json(f"{settings.flink.rest_url}{path}", timeout=10)
    except urllib.error.HTTPError as error:
        raise UserError("flink", f"{path} must be known to Flink", f"it says {error.code} {error.reason}",
                        "look at make status for the jobs there are") from None
    except OSError:
        raise NotRunning("flink", f"Flink must answer at {settings.flink.rest_url}", "it does not",
                         "run make start, or read the JobManager's log: make logs PROGRAM=jobmanager") from None


def _call(url: str, method: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")[:200]
        what = f"{url.rsplit('/', 2)[-2]} must accept the request"
        raise UserError("flink", what, text, "check the job's id") from None
    except OSError:
        raise NotRunning("flink", f"Flink must answer at {url}", "it does not", "run make start") from None


def newest_savepoint(settings: Settings | None = None) -> str:
    """Path of the newest savepoint.

    Raises UserError when there is none.
    """
    s = settings or load()
    found = sorted(s.savepoint_dir.glob("*/_metadata"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError("restore", "there must be a savepoint", f"{s.savepoint_dir} has none", "run make savepoint")
    return str(Path(found[-1]).parent)
