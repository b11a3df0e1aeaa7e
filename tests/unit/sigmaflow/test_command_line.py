"""The command line and the Makefile: help, and errors in one sentence without a stack trace."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sigmaflow import stack
from sigmaflow.errors import UserError
from sigmaflow.settings import ROOT, load

WANTED = {"help", "start", "stop", "status", "restart", "logs", "clean", "setup-topics", "monitor-topics", "smoke-test",
          "dashboard", "metrics", "check", "test", "reference", "replay", "report", "audit"}


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line against an empty data directory."""
    env = {**os.environ, "SIGMAFLOW_DATA_DIR": str(tmp_path / "data"), "SIGMAFLOW_PORT_OFFSET": "4000", **environment}
    return subprocess.run([sys.executable, "-m", "sigmaflow", *arguments], cwd=ROOT, env=env, capture_output=True,
                          text=True, check=False)


def test_make_alone_prints_every_public_target() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE))
    assert targets >= WANTED
    assert len(targets) <= 24


@pytest.mark.parametrize("arguments", [
    ("status",), ("logs", "nothing"), ("submit", "jobs/pipeline.py"), ("restore", "jobs/pipeline.py"),
    ("reference", "none.parquet"), ("reference", "README.md", "--jobs", "three"), ("replay", "none.gz"), ("replay",),
    ("audit",),
    ("explain", "x"), ("explain", "-12"), ("why-not", "BTCUSDT", "noon"), ("state", "--at", "fills.v1:0:1"),
    ("dlq", "show", "7"), ("dlq", "replay", "--at", "x"), ("dlq", "list"),
])
def test_a_user_error_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = run(tmp_path, *arguments)
    assert ran.returncode == 2
    assert "must" in ran.stderr and "but" in ran.stderr and ";" in ran.stderr
    assert "Traceback" not in ran.stderr and len(ran.stderr.strip().splitlines()) == 1


def test_a_bad_setting_stops_every_command(tmp_path: Path) -> None:
    ran = run(tmp_path, "status", SIGMAFLOW_KAFKA_PORT="ninety")
    assert ran.returncode == 2 and "kafka.port" in ran.stderr and "Traceback" not in ran.stderr


def test_stop_where_nothing_runs_is_no_error(tmp_path: Path) -> None:
    ran = run(tmp_path, "stop")
    assert ran.returncode == 0 and "Nothing was running" in ran.stdout


def test_clean_removes_only_what_is_ours(tmp_path: Path) -> None:
    foreign = tmp_path / "data"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("precious")
    ran = run(tmp_path, "clean")
    assert ran.returncode == 2 and (foreign / "thesis.txt").exists()


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    s = load(environ={"SIGMAFLOW_PORT_OFFSET": "4000", "SIGMAFLOW_DATA_DIR": str(tmp_path)})
    stack.check_ports(s)
    with socket.socket() as taken:
        taken.bind((s.questdb.host, s.questdb.pg_port))
        taken.listen()
        with pytest.raises(UserError, match=rf"port {s.questdb.pg_port} \(questdb.pg_port\) must be free"):
            stack.check_ports(s)
