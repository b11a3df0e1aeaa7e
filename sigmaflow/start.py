"""`make start`: servers, topics, the chain, a market, results; then what to look at."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from sigmaflow import stack, submit, supervise
from sigmaflow.errors import Failed, UserError
from sigmaflow.output import console
from sigmaflow.settings import Settings, load

CHAIN = "jobs/pipeline.py"
EDGES = ("results", "simulate", "web")


def run(show: bool = True, market: bool = True) -> dict[str, Any]:
    """Bring everything up; on a second run only what is missing. Gives the chain's job and where everything is.

    `market` False leaves the simulator out, for a feed of one's own.
    """
    began = time.monotonic()
    s = load()
    say = console().print
    say("Sigmaflow is already running; looking whether anything is missing." if supervise.is_running(s)
        else "Starting the local stack.")
    stack.up(s)
    _topics(s)
    job_id, resumed = chain(s)
    for name in EDGES:
        if market or name != "simulate":
            _edge(s, name)
    took = time.monotonic() - began
    say(f"The chain is RUNNING{resumed} ({took:.0f} s).")
    say(addresses(s))
    if show and _has(s, "sigmaflow/dashboard.py"):
        from sigmaflow import dashboard

        if sys.stdout.isatty():
            dashboard.run()
        else:
            dashboard.run(seconds=20)
    return {"job": job_id, "resumed": bool(resumed), "seconds": round(took, 1), "addresses": places(s)}


def _has(settings: Settings, file: str) -> bool:
    return (settings.root / file).exists()


def _topics(settings: Settings) -> None:
    from connectors import topics

    with stack.bars() as progress:
        task = progress.add_task("Topics and schemas", total=1.0, note="creating")
        count = len(topics.setup(settings, quiet=True))
        progress.update(task, completed=1.0, note=f"{count} in place")


def chain(settings: Settings) -> tuple[str, str]:
    """Submit the chain unless it lives; returns its id and, where it resumed, from what.

    It goes on from where it stopped: its last savepoint, or after a crash its newest checkpoint. Starting it without
    would trade the whole log a second time.
    """
    for job in submit.jobs(settings):
        if is_chain(job.name):
            submit.wait_running(job.id, settings=settings)
            return job.id, ""
    point = resume_point(settings)
    with stack.bars() as progress:
        task = progress.add_task("Chain", total=1.0, note="submitting jobs/pipeline.py")
        try:
            job_id = submit.submit(CHAIN, [], savepoint=point, settings=settings)
            remember(settings, job_id)
            progress.update(task, completed=0.6, note="waiting for every task to run")
            submit.wait_running(job_id, settings=settings)
        except UserError as error:
            if point:
                error.remedy += f" (it resumed from {point}; make clean begins anew)"
            raise
        progress.update(task, completed=1.0, note="every task runs")
    return job_id, " again from where it stopped" if point else ""


def is_chain(name: str) -> bool:
    """Whether a job is the market's chain by its name; a run apart has its namespace behind the bracket.

    >>> is_chain("pipeline (default)"), is_chain("pipeline (default) replay-19c1f"), is_chain("features (default)")
    (True, False, False)
    """
    return name.startswith("pipeline (") and name.endswith(")")


def _memory_file(settings: Settings) -> Path:
    return settings.data_dir / "flink" / "chain.json"


def remember(settings: Settings, job_id: str, savepoint: str | None = None) -> None:
    """Write down which job is the chain and the savepoint it was stopped with."""
    file = _memory_file(settings)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"job_id": job_id, "savepoint": savepoint}))
    fresh.replace(file)


def resume_point(settings: Settings) -> str | None:
    """Savepoint of the last clean stop, else the newest whole checkpoint of the last chain, else None."""
    file = _memory_file(settings)
    if not file.exists():
        return None
    last = json.loads(file.read_text())
    if last["savepoint"]:
        return str(last["savepoint"])
    found = sorted((settings.checkpoint_dir / last["job_id"]).glob("chk-*/_metadata"), key=lambda f: f.stat().st_mtime)
    if found:
        return f"file://{found[-1].parent}"
    return None


def stop_chain(settings: Settings) -> None:
    """Stop the chain with a savepoint so that the next start goes on from it; cancelled if it cannot take one."""
    file = _memory_file(settings)
    if not file.exists():
        return
    job_id = json.loads(file.read_text())["job_id"]
    try:
        if submit.state(job_id, settings) == "RUNNING":
            remember(settings, job_id, submit.stop_with_savepoint(job_id, settings))
    except UserError:
        pass  # its newest checkpoint serves


def _edge(settings: Settings, name: str) -> None:
    """Start the market, the results process or the web page and see that it stays up."""
    supervise.start_program(settings, name)
    if supervise.states(settings)[name]["statename"] not in ("RUNNING", "STARTING"):
        raise Failed("start", f"{name} must keep running", "it exits", f"read {settings.log_dir}/{name}.log")


def places(settings: Settings) -> dict[str, str | None]:
    """Address of everything that answers; None for Prometheus where it is not installed."""
    s = settings
    return {"Web page": s.web.url, "Flink web UI": s.flink.rest_url, "Schema registry": s.registry.ui_url,
            "QuestDB console": s.questdb.http_url, "Prometheus": s.prometheus.url, "Metrics": s.metrics.url,
            "Kafka": s.kafka.bootstrap, "Redis": s.redis.url}


def addresses(settings: Settings) -> str:
    """Where everything is, and what to type next."""
    s = settings
    shown = s.data_dir.relative_to(s.root) if s.data_dir.is_relative_to(s.root) else s.data_dir
    commands = [
        ("make dashboard", "the live view"),
        ("make monitor-topics TOPIC=fills.v1", "messages as they flow"),
        ("make report", "the tear sheet as one HTML file"),
        (f"{shown}/bin/flink list", "Flink's own client, set up for this stack"),
        ("make stop", "stop everything; data stays"),
    ]
    absent = "not installed on this machine (optional)"
    lines = ["", *(f"  {name:<16} {url or absent}" for name, url in places(s).items()), "", "Next:"]
    return "\n".join([*lines, *(f"  {command:<36} {what}" for command, what in commands), ""])
