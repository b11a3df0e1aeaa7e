"""Shared fixtures: one real stack for the whole test session, on ports and in a folder of its own.

And one place for compiled kernels, set before numba is imported: those of `make setup`, which take a minute to compile,
are found by the tests, and by the copies of the project that pages are followed in.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import hypothesis
import pytest

from sigmaflow import stack as local
from sigmaflow import supervise
from sigmaflow.errors import UserError
from sigmaflow.settings import ROOT, Settings, load

os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "build" / "numba"))

# The same examples for the same code, and no deadlines: no change is to fail for what another one holds, nor for a slow
# machine. Others are looked for with `make test ARGS=--hypothesis-profile=default`.
hypothesis.settings.load_profile("ci")

FIRST_OFFSET, LAST_OFFSET, STEP = 1000, 1900, 100
ALERTS = {"SIGMAFLOW_PROMETHEUS_SCRAPE_S": "1", "SIGMAFLOW_PROMETHEUS_ALERT_PACE": "0.1"}
"""The shipped rules, with every duration a tenth: alerts are waited for in tests/pipeline/monitoring."""
ALERTMANAGER = "SIGMAFLOW_PROMETHEUS_ALERTMANAGER"


def engine() -> str:
    """Decide what the stack runs on: "containers" or "processes", and say so in the report's header.

    Containers need an engine that answers and SIGMAFLOW_TEST_ENGINE=containers; everything else runs on processes.
    """
    if os.environ.get("SIGMAFLOW_TEST_ENGINE") != "containers":
        return "processes"
    import docker

    try:
        docker.from_env(timeout=3).ping()
    except docker.errors.DockerException:
        return "processes"
    return "containers"


def pytest_report_header() -> str:
    """Name the ground that the pipeline tests stand on."""
    return f"stack: {engine()}"


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """Settings of a running stack; `load()` gives the same for as long as the session lasts."""
    yield from _containers() if engine() == "containers" else _processes()


def _processes() -> Iterator[Settings]:
    """Start a local stack under the first free port offset; nothing is left running afterwards."""
    lock, offset, folder = _claim()
    os.environ["SIGMAFLOW_PORT_OFFSET"] = str(offset)
    os.environ["SIGMAFLOW_DATA_DIR"] = str(folder)
    os.environ.update(ALERTS)
    os.environ[ALERTMANAGER] = f"127.0.0.1:{load().alertmanager.port}"
    settings = load()
    try:
        local.up(settings)
        yield settings
    finally:
        local.down(settings)
        left = supervise.processes(settings)
        for name in ("SIGMAFLOW_PORT_OFFSET", "SIGMAFLOW_DATA_DIR", *ALERTS, ALERTMANAGER):
            os.environ.pop(name)
        lock.close()
        assert not left, f"the stack left processes behind: {left}"


def _claim() -> tuple[IO[str], int, Path]:
    """Claim an offset that no other session uses and whose ports are free; its folder is emptied."""
    home = ROOT / "build" / "tests"
    home.mkdir(parents=True, exist_ok=True)
    for offset in range(FIRST_OFFSET, LAST_OFFSET + 1, STEP):
        lock = (home / f"{offset}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        folder = home / str(offset)
        settings = load(environ={"SIGMAFLOW_PORT_OFFSET": str(offset), "SIGMAFLOW_DATA_DIR": str(folder)})
        local.down(settings)  # of a session that was killed
        try:
            local.check_ports(settings)
        except UserError:
            lock.close()
            continue
        shutil.rmtree(folder, ignore_errors=True)
        return lock, offset, folder
    raise UserError("test", f"a port offset from {FIRST_OFFSET} to {LAST_OFFSET} must be free", "none is",
                    "stop other stacks")


def _containers() -> Iterator[Settings]:
    """Bring the compose stack's servers up through testcontainers; they serve the ports of docker/stack.toml."""
    from testcontainers.compose import DockerCompose

    names = ["kafka", "registry", "questdb", "redis", "jobmanager", "taskmanager-1", "taskmanager-2"]
    with DockerCompose(ROOT / "docker", compose_file_name="compose.yaml", build=True, wait=True, services=names):
        yield load()
