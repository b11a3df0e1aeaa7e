"""Alerts fire because their cause was brought about, and end when it is mended: the shipped rules in a real Prometheus.

Only durations are shorter than shipped (`ALERTS` in tests/conftest.py). FailedCommittables is left to
tests/unit/test_monitoring_rules.py: the broker must refuse a transaction within the milliseconds between a checkpoint's
end and its commit, in a job that has been running for seven minutes.
"""
from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from connectors import snapshot
from connectors.host_metrics import leave
from connectors.market.columns import Ticks
from connectors.market.simulator import symbol_names
from connectors.ticks import TickWriter
from sigmaflow import __main__ as program
from sigmaflow import commands, submit, supervise
from sigmaflow.monitoring import metrics
from sigmaflow.settings import Settings
from tests.pipeline.monitoring.live import (
    BURST,
    FIRST,
    SYMBOLS,
    Market,
    chain,
    frozen,
    told,
    value,
    wait_firing,
    wait_resolved,
)
from tests.slow_server import growing
from tests.waiting import PATIENCE_S, wait_for

WAITING_TICKS = f"sum({metrics.PENDING})"
"""How far the chain is behind. What its client has fetched already counts, up to a few MB, and is read whatever
becomes of the broker: so the lag to reach is well above that of the rules.
"""
BAD_PER_S = 100
LOSS = 0.25
"""Of the equity, and more than what halts an account of the default profile."""
SETTLED_S = 2.0
"""After which the live view shows the last of the symbols that stand still."""
FREE_PART_PER_S = 1 / 3_000
"""Part of the free space that is taken each second to let the disk fill: none would be left in an hour."""


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """With something going on in a thread; it is told when to end."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def poisoned(settings: Settings) -> Iterator[None]:
    """Ticks that are none, again and again."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap})

    def send(over: threading.Event) -> None:
        while not over.wait(1 / BAD_PER_S):
            producer.produce("market.ticks.v1", b"nonsense", b"SIM:NONE")
            producer.poll(0)

    with meanwhile(send):
        yield
    producer.flush()


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
def filling(folder: Path) -> Iterator[None]:
    """A disk that gets fuller: space is taken second by second, without a byte being written, and given back."""
    free, file = shutil.disk_usage(folder).free, folder / "filling"

    def take(over: threading.Event) -> None:
        for second in itertools.count(1):
            with file.open("ab") as held:
                os.posix_fallocate(held.fileno(), 0, int(free * FREE_PART_PER_S * second))
            if over.wait(1.0):
                return

    try:
        with meanwhile(take):
            yield
    finally:
        file.unlink(missing_ok=True)


@pytest.fixture(scope="module", autouse=True)
def answering(watched: Market) -> Iterator[Callable[[], object]]:
    """A feed of news that is looked at each second, and is not there before this is called."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(watched.settings.python), "-m", "sigmaflow", "slow", "rss", "--every", "1",
               "--feeds", f"http://127.0.0.1:{port}/feed"]
    with ExitStack() as left:
        poller = subprocess.Popen(command, cwd=watched.settings.root, stdout=subprocess.DEVNULL)
        left.callback(poller.wait, PATIENCE_S)
        left.callback(poller.terminate)
        yield lambda: left.enter_context(growing(port))


def test_kill_switch_dead_letters_and_foreign_records(watched: Market) -> None:
    s = watched.settings
    with poisoned(s), told(s.alertmanager.port) as (_, alerts):  # POST /api/v2/alerts, as an Alertmanager takes them
        list(commands.give(s, "halt", "a test"))
        wait_firing(s, "KillSwitch", "DeadLetters", "UndecodableRecords")
        list(commands.give(s, "reduce", "a test"))
        wait_firing(s, "ReducingOnly")
        wait_for("word of the kill switch", lambda: any(
            alert["labels"]["alertname"] == "KillSwitch" and "kill-switch.md" in alert["annotations"]["runbook_url"]
            for body in alerts for alert in body))
    list(commands.give(s, "resume", "a test"))
    wait_resolved(s, "KillSwitch", "ReducingOnly")


def test_the_command_line_names_the_runbook(watched: Market, capsys: pytest.CaptureFixture[str]) -> None:
    """While records that nobody can read are still counted."""
    assert program.run(["alerts", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    shown = {alert["alert"]: alert["runbook"] for alert in answer["alerts"]}
    assert shown["UndecodableRecords"] == "deploy/runbooks/undecodable-records.md" and answer["rules"] > 20
    assert program.run(["alerts"]) == 1
    assert "undecodable-records.md" in capsys.readouterr().out


def test_a_results_process_that_is_away_and_an_audit_that_found_something(watched: Market) -> None:
    """What the market's audit found is the foreign record. It stays in the log, so a later audit without it is made up.
    """
    s = watched.settings
    with stopped(s, "results"):
        wait_firing(s, "TargetDown")
    wait_firing(s, "AuditMismatch")
    leave(s.data_dir, "audit", {"sigmaflow_audit_found_records": ("Records found wrong.", 0.0)})
    wait_resolved(s, "TargetDown", "AuditMismatch", "UndecodableRecords")


def test_a_feed_that_is_not_there(watched: Market, answering: Callable[[], object]) -> None:
    wait_firing(watched.settings, "SlowDataStale")
    answering()


def test_a_silent_market_a_broker_that_hangs_and_a_disk_that_fills(watched: Market) -> None:
    s = watched.settings
    with watched.without(), frozen(s, "kafka"), filling(s.data_dir):
        wait_firing(s, "FeedStale", "SourceIdle", "CheckpointsMissing", "DiskFilling")
    wait_resolved(s, "FeedStale", "SourceIdle", "CheckpointsMissing")


def account(settings: Settings) -> dict[str, Any]:
    """The account as the live view sees it."""
    seen = snapshot.read(settings.redis.url, "paper")
    assert seen is not None
    return seen


class Crash:
    """A market that turns against every position in some symbols at once: what is held long is worth a tenth, what is
    sold short a thousand times as much, so that little of it is enough. In steps the account would sell before its loss
    is large, and nothing would be left to lose.
    """

    def __init__(self, settings: Settings) -> None:
        first, before = symbol_names(FIRST), account(settings)
        held = [position for position in before["positions"]
                if position["position"] and position["symbol"] not in first]
        self._instruments = tuple(("SIM", position["symbol"]) for position in held)
        self._mids = np.array([position["mid"] * (0.1 if position["position"] > 0 else 1_000.0) for position in held])
        loss = sum(position["position"] * (position["mid"] - mid)
                   for position, mid in zip(held, self._mids, strict=True))
        self.takes_much = loss > LOSS * before["peak_equity"]
        self._settings = settings

    @cached_property
    def _writer(self) -> TickWriter:
        return TickWriter(self._settings)

    def go_on(self) -> None:
        """One tick of each instrument at these prices. An account shows what a tick did to it with a later one."""
        now, rows = time.time_ns(), len(self._mids)
        whole = np.zeros(rows, np.int64)
        self._writer.write(Ticks(
            self._instruments, np.arange(rows), whole + now // 1_000, whole + now, whole + now, self._mids,
            self._mids * 1.0001, whole + 1.0, whole + 1.0, whole + np.nan, whole + np.nan, whole, whole))
        self._writer.flush()


@contextmanager
def cornered(market: Market) -> Iterator[Crash]:
    """With the first symbols only, from a moment on at which the others are held so that a crash takes much."""
    s = market.settings
    for _ in range(10):
        wait_for("something to lose", lambda: Crash(s).takes_much)
        with market.of_the_first():
            time.sleep(SETTLED_S)
            crash = Crash(s)
            if crash.takes_much:
                yield crash
                return


def test_a_crash(watched: Market) -> None:
    """The market turns against what the account holds: the ledger stops trading by itself. What is wanted in symbols
    that still trade is judged all the same, and what was sold short is worth more than all that may be held.
    """
    s = watched.settings
    with cornered(watched) as crash:

        def halted() -> bool:
            crash.go_on()
            return (account(s)["state"], account(s)["state_cause"]) == ("HALTED", "DRAWDOWN")

        wait_for("a halt", halted)
        wait_firing(s, "Drawdown", "KillSwitch", "LimitBreach")
        over = account(s)["account_seq"]
    wait_for("the market's own prices", lambda: account(s)["account_seq"] > over + 50 * SYMBOLS)
    list(commands.give(s, "resume", "a test"))
    wait_resolved(s, "Drawdown", "KillSwitch")


def test_a_job_that_fails_again_and_again(watched: Market) -> None:
    """Without its checkpoints' directory it writes none, fails for that, and finds none to go on from."""
    s = watched.settings
    (job,) = submit.jobs(s)
    with away(s.checkpoint_dir / job.id):
        wait_firing(s, "JobRestarting")
    submit.wait_running(job.id, 120, s)


def test_a_chain_that_does_not_run_and_goes_back(watched: Market) -> None:
    """To a savepoint that is not its last: what it then commits has been committed. Much waited for it, and is late; a
    broker that hangs lets it wait on, however quick the machine is, and so does a QuestDB what it decides.
    """
    s = watched.settings
    (job,) = submit.jobs(s)
    savepoint = submit.savepoint(job.id, s)
    submit.stop_with_savepoint(job.id, s)
    with watched.without():
        watched.burst(BURST)
    wait_firing(s, "JobNotRunning")
    with frozen(s, "questdb"):
        chain(s, savepoint)
        wait_for("a lag of the chain", lambda: value(s, WAITING_TICKS) > 150_000)
        with frozen(s, "kafka"):
            wait_firing(s, "ConsumerLag", "CommittablesUnsure")
        wait_firing(s, "SignalsLate", severities=["page"])
        wait_firing(s, "ResultsLag")
    wait_firing(s, "ExecutionsLate", "ChainUnavailable")


def test_what_is_mended_is_over(watched: Market) -> None:
    """What takes its time to be over, too."""
    wait_resolved(watched.settings, "JobNotRunning", "JobRestarting", "DiskFilling", "DeadLetters", "ConsumerLag",
                  "ResultsLag", "SlowDataStale", "LimitBreach")
