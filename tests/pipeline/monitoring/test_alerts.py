"""Alerts fire because their cause was brought about, and end when it is mended: the shipped rules in a real Prometheus.

Only durations are shorter than shipped (`ALERTS` in tests/conftest.py). Lag, late signals, limit breaches and lost
transactions are left to tests/unit/test_monitoring_rules.py: their causes need more load, another strategy or a defect.
"""
from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from connectors import snapshot
from connectors.host_metrics import leave
from connectors.market.columns import Ticks
from connectors.ticks import TickWriter
from sigmaflow import __main__ as program
from sigmaflow import commands, submit, supervise, trials
from sigmaflow.audit import command as audit
from sigmaflow.settings import Settings
from tests.pipeline.monitoring.live import SYMBOLS, Market, chain, wait_firing, wait_for, wait_resolved

BAD_PER_S = 100
FREE_PART = 0.02
"""Part of the free space that is taken to let the disk fill."""


@contextmanager
def poisoned(settings: Settings) -> Iterator[None]:
    """Ticks that are none, and a record on intents.v1 that is no intent."""
    producer, over = Producer({"bootstrap.servers": settings.kafka.bootstrap}), threading.Event()

    def send() -> None:
        while not over.wait(1 / BAD_PER_S):
            producer.produce("market.ticks.v1", b"nonsense", b"SIM:NONE")
            producer.poll(0)

    producer.produce("intents.v1", b"foreign", b"paper")
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        producer.flush()


@contextmanager
def frozen(settings: Settings, program: str) -> Iterator[None]:
    """A program that is there and does nothing."""
    pid = trials.pid(settings, program)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def stopped(settings: Settings, program: str) -> Iterator[None]:
    """Without a program of the stack."""
    supervise.stop_program(settings, program)
    try:
        yield
    finally:
        supervise.start_program(settings, program)


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """Without a directory: a file stands in its place."""
    aside = folder.with_name(folder.name + "-aside")
    folder.rename(aside)
    folder.write_text("in the way")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


@contextmanager
def filling(folder: Path, seconds: float) -> Iterator[None]:
    """A disk that gets fuller: space is taken step by step, without a byte being written, and given back."""
    free, file = shutil.disk_usage(folder).free, folder / "filling"
    over = threading.Event()

    def take() -> None:
        for step in range(1, int(seconds) + 1):
            with file.open("ab") as held:
                os.posix_fallocate(held.fileno(), 0, int(free * FREE_PART * step / seconds))
            if over.wait(1.0):
                return

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        file.unlink(missing_ok=True)


@contextmanager
def alertmanager(settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """What Prometheus tells the Alertmanager of the settings, by that one's interface (POST /api/v2/alerts)."""
    told: list[dict[str, Any]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", settings.alertmanager.port), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told
        server.shutdown()


def test_kill_switch_dead_letters_and_foreign_records(watched: Market) -> None:
    s = watched.settings
    with poisoned(s), alertmanager(s) as told:
        list(commands.give(s, "halt", "a test"))
        wait_firing(s, "KillSwitch", "DeadLetters", "UndecodableRecords", seconds=60)
        list(commands.give(s, "reduce", "a test"))
        wait_firing(s, "ReducingOnly", seconds=20)
        wait_for("word of the kill switch", 20, lambda: any(
            alert["labels"]["alertname"] == "KillSwitch" and "kill-switch.md" in alert["annotations"]["runbook_url"]
            for alert in told))
    list(commands.give(s, "resume", "a test"))
    wait_resolved(s, "KillSwitch", "ReducingOnly", seconds=20)


def test_the_command_line_names_the_runbook(watched: Market, capsys: pytest.CaptureFixture[str]) -> None:
    """While records that nobody can read are still counted."""
    assert program.run(["alerts", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    shown = {alert["alert"]: alert["runbook"] for alert in answer["alerts"]}
    assert shown["UndecodableRecords"] == "deploy/runbooks/undecodable-records.md" and answer["rules"] > 20
    assert program.run(["alerts"]) == 1
    assert "undecodable-records.md" in capsys.readouterr().out


def test_a_results_process_that_is_away_and_an_audit_that_finds_something(watched: Market) -> None:
    """What the auditor finds is the foreign record. It stays in the log, so a later audit without it is made up."""
    s = watched.settings
    assert audit.run(settings=s).found > 0
    with stopped(s, "results"):
        wait_firing(s, "TargetDown", seconds=40)
    wait_firing(s, "AuditMismatch", seconds=30)
    leave(s.data_dir, "audit", {"sigmaflow_audit_found_records": ("Records found wrong.", 0.0)})
    wait_resolved(s, "TargetDown", "AuditMismatch", "UndecodableRecords", "DeadLetters", seconds=60)


def test_a_silent_market_a_broker_that_hangs_and_a_disk_that_fills(watched: Market) -> None:
    s = watched.settings
    watched.stop()
    with frozen(s, "kafka"), filling(s.data_dir, 60):
        wait_firing(s, "FeedStale", "SourceIdle", "CheckpointsMissing", "DiskFilling", seconds=120)
    watched.start()
    wait_resolved(s, "FeedStale", "SourceIdle", "CheckpointsMissing", seconds=60)


def account(settings: Settings) -> dict[str, Any]:
    """The account as the live view sees it."""
    seen = snapshot.read(settings.redis.url, "paper")
    assert seen is not None
    return seen


class Crash:
    """A market that moves against every position, a fifth with each step."""

    def __init__(self, settings: Settings) -> None:
        held = account(settings)["positions"]
        self._instruments = tuple(("SIM", position["symbol"]) for position in held)
        self._mids = np.array([position["mid"] for position in held])
        self._against = np.array([0.8 if position["position"] > 0 else 1.25 for position in held])
        self._writer = TickWriter(settings)

    def step(self) -> None:
        """One tick of each instrument."""
        now, rows = time.time_ns(), len(self._mids)
        self._mids *= self._against
        whole = np.zeros(rows, np.int64)
        self._writer.write(Ticks(
            self._instruments, np.arange(rows), whole + now // 1_000, whole + now, whole + now, self._mids,
            self._mids * 1.0001, whole + 1.0, whole + 1.0, whole + np.nan, whole + np.nan, whole, whole))
        self._writer.flush()


def test_a_crash(watched: Market) -> None:
    """The market turns against what the account holds: the ledger stops trading by itself."""
    s = watched.settings
    wait_for("a position", 60, lambda: account(s)["gross"] > 0)
    watched.stop()
    crash, deadline = Crash(s), time.monotonic() + 60
    while account(s)["state"] != "HALTED":
        assert time.monotonic() < deadline, account(s)
        crash.step()
        time.sleep(0.3)
    wait_firing(s, "Drawdown", "KillSwitch", seconds=30)
    over = account(s)["account_seq"]
    watched.start()
    wait_for("the market's own prices", 60, lambda: account(s)["account_seq"] > over + 50 * SYMBOLS)
    list(commands.give(s, "resume", "a test"))
    wait_resolved(s, "Drawdown", "KillSwitch", seconds=60)


def test_a_job_that_fails_again_and_again(watched: Market) -> None:
    """Without its checkpoints' directory it writes none, fails for that, and finds none to go on from."""
    s = watched.settings
    (job,) = submit.jobs(s)
    with away(s.checkpoint_dir / job.id):
        wait_firing(s, "JobRestarting", seconds=90)
    submit.wait_running(job.id, 120, s)


def test_a_chain_that_does_not_run(watched: Market) -> None:
    s = watched.settings
    (job,) = submit.jobs(s)
    savepoint = submit.stop_with_savepoint(job.id, s)
    wait_firing(s, "JobNotRunning", "ChainUnavailable", seconds=60)
    chain(s, savepoint)
    wait_resolved(s, "JobNotRunning", seconds=30)
    wait_resolved(s, "JobRestarting", "DiskFilling", seconds=120)
