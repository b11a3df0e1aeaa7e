"""Every command that a page runs on a stack, on a stack with a market, in the order of the pages."""
from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

import schemas
from sigmaflow import probes, submit, supervise
from sigmaflow import start as chain
from sigmaflow.settings import ROOT, Settings
from tests.documents import shell
from tests.documents.copies import environment, program, run
from tests.documents.pages import Block, of_class
from tests.pipeline.monitoring.live import WILD
from tests.waiting import PATIENCE_S, wait_for

DONE = re.compile(r"^(make start|[.] [.]venv/bin/activate)\b.*$", re.MULTILINE)
"""What the fixture does: start the market, whose live view lasts 20 s without a terminal, where the command line is."""
ORDER, WHEN, TICK, LETTER, MODEL, JOB = (
    "5342262132823400817", "BTCUSDT 2026-01-31T09:30:00Z", "market.ticks.v1:2:1234", "2:17", "0123456789abcdef",
    "8a7c51bb1d6b29b3bb4b34ba4b7b1a4c")
JOB_NOW = ("$(python -c 'from sigmaflow import start, submit; from sigmaflow.settings import load; "
           "jobs = submit.jobs(load()); "
           "print(next((job.id for job in jobs if not start.is_chain(job.name)), jobs[0].id))')")
"""Asked when its line runs: a run apart before the market's chain, because a page that starts one stops it."""
MINE = "--profile mine"
"""Made-up values in the pages, which stand for what the reader has: replaced by those of the running market."""
BURST_S, RATE = 8.0, 100
"""The market of `make start` runs so long, twice the stages' warm-up; then a wild one with so many ticks a second."""
QUESTIONS = ("audit", "dashboard", "dlq", "doctor", "explain", "logs", "metrics", "replay", "state", "status", "topics",
             "why-not")
"""Commands that change nothing: pages repeat each other, and one time is enough."""


class Market:
    """A running market, and the pages' values in it."""

    def __init__(self, settings: Settings, env: dict[str, str], letter: str) -> None:
        self._settings, self._env, self._letter = settings, env, letter
        self._fill = self._ask("sigmaflow monitor-topics fills.v1 --from-beginning --limit 1 --json")["value"]
        self._ran: set[str] = set()

    def follow(self, block: Block) -> None:
        """Run a block, questions that another page has asked left out."""
        lines = [line for line in self._filled(block.text).replace("\\\n", " ").splitlines() if not self._asked(line)]
        run(block, ROOT, self._env, "\n".join([*lines, "true"]))

    def _asked(self, line: str) -> bool:
        """Whether a line is a question that was asked before."""
        words = next(shell.commands(line), [])
        question, known = " ".join(words), words[:1] == ["sigmaflow"] and words[1] in QUESTIONS
        asked = known and question in self._ran
        self._ran.add(question)
        return asked

    def _filled(self, text: str) -> str:
        fill = self._fill
        seconds, ns = divmod(fill["ts_event"], 10**9)
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ns:09d}Z"
        known: dict[str, Callable[[], str]] = {
            MINE: lambda: "--profile default", JOB: lambda: JOB_NOW, LETTER: lambda: self._letter,
            ORDER: lambda: str(fill["order_id"]), WHEN: lambda: f"{fill['symbol']} {at}",
            TICK: lambda: f"market.ticks.v1:{fill['partition']}:{fill['offset']}",
            MODEL: lambda: str(self._ask("sigmaflow model list --json")["models"][0]["digest"])}
        for made_up in filter(text.__contains__, known):
            text = text.replace(made_up, known[made_up]())
        return DONE.sub("true", text)

    def _ask(self, command: str) -> Any:
        return json.loads(subprocess.run(command.split(), cwd=ROOT, env=self._env, stdout=subprocess.PIPE, check=True,
                                         timeout=PATIENCE_S).stdout)


def forget(settings: Settings) -> None:
    """Remove the topics of the market and of `mine`, and what is remembered of the chain: the market of the pages is
    not that of other tests.
    """
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap, "log_level": 0})
    ours = {*schemas.topics(), *(schemas.in_run(name, "mine") for name in schemas.topics())}
    there = ours & set(admin.list_topics(timeout=20).topics)
    for gone in (admin.delete_topics(sorted(there), operation_timeout=30) if there else {}).values():
        gone.result(40)
    wait_for("the end of the topics", lambda: not ours & set(admin.list_topics(timeout=20).topics))
    (settings.data_dir / "flink" / "chain.json").unlink(missing_ok=True)


def trading(settings: Settings) -> bool:
    """Whether the market of `make start` runs."""
    return bool(supervise.states(settings)["simulate"]["statename"] == "RUNNING")


def filled(settings: Settings) -> bool:
    """Whether the account has had a fill."""
    return "sigmaflow_fills_total{" in probes.own_metrics(settings)


def letter(settings: Settings) -> str:
    """Send something that is no tick; where it is."""
    placed: list[str] = []
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap})
    producer.produce("market.ticks.v1", b"nonsense", b"SIM:NONE",
                     on_delivery=lambda error, m: placed.append(f"{m.partition()}:{m.offset()}"))
    producer.flush(20)
    return placed[0]


@contextmanager
def slow(settings: Settings, env: dict[str, str]) -> Iterator[None]:
    """A market with few ticks in place of the one of `make start`: questions read the log whole, and it would grow."""
    supervise.stop_program(settings, "simulate")
    command = ["python", "-m", "connectors.simulate", "--rate", str(RATE), *WILD]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def market(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """The market of `make start`, with a fill and a dead letter."""
    forget(stack)
    env = environment(ROOT, program(tmp_path_factory.mktemp("pages") / "bin", ROOT))
    said = Path(tmp_path_factory.mktemp("start")) / "said"
    with said.open("w") as out, subprocess.Popen(["make", "start"], cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                                                 stdout=out, stderr=out) as start:
        try:
            wait_for("the market", lambda: start.poll() is not None or trading(stack))
            time.sleep(BURST_S)
            with slow(stack, env):
                wait_for("a fill in the metrics", lambda: filled(stack))
                yield Market(stack, env, letter(stack))
            assert start.wait(PATIENCE_S) == 0, said.read_text()
        finally:
            start.kill()
            for name in ("simulate", "results"):
                supervise.stop_program(stack, name)
            for job in submit.jobs(stack):
                submit.cancel(job.id, stack)
            forget(stack)


@pytest.mark.parametrize("block", of_class("stack"), ids=lambda block: block.place)
def test_a_block_runs(market: Market, block: Block) -> None:
    market.follow(block)


def test_the_next_start_goes_on_with_the_chain_that_the_pages_left(market: Market, stack: Settings) -> None:
    """One of them stopped it with a savepoint and restored it by hand."""
    (running,) = [job.id for job in submit.jobs(stack) if chain.is_chain(job.name)]
    known = json.loads((stack.data_dir / "flink" / "chain.json").read_text())
    assert known == {"job_id": running, "savepoint": None}
