"""The command line against a running stack: what it shows is what is there, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import schemas
from connectors.market.simulator import Config, generate
from sigmaflow import __main__ as program
from sigmaflow import doctor, submit
from sigmaflow.errors import ExitCode
from sigmaflow.runs import Run
from sigmaflow.settings import Settings
from tests.commands import started
from tests.pipeline.test_stack import JOB
from tests.waiting import PATIENCE_S, wait_for

TICKS = 2_000
Ask = Callable[..., Any]


@pytest.fixture
def ask(stack: Settings, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command with --json and give its object; nothing else may be on stdout."""
    def command(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert program.run([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return command


def test_status_names_every_server_and_program(ask: Ask, stack: Settings) -> None:
    answer = ask("status")
    parts = {part["name"]: part for part in answer["parts"]}
    assert all(part["answers"] in (True, None) for part in parts.values())
    assert parts["Kafka"]["programs"] == {"kafka": "running"} and answer["memory_bytes"] > 2**30
    assert program.run(["status"]) == 0


def test_topics_are_created_listed_and_measured(ask: Ask, stack: Settings) -> None:
    made = {row["topic"]: row for row in ask("setup-topics")["topics"]}
    assert made.keys() == schemas.topics().keys() and made["market.ticks.v1"]["schema_id"] > 0
    answer = ask("topics")
    assert [row["topic"] for row in answer["topics"]] == list(schemas.topics())
    for row in answer["topics"]:
        known = schemas.topics()[row["topic"]]
        assert len(row["partitions"]) == known.partitions
        assert all(part["bytes"] is not None and part["end"] >= part["start"] for part in row["partitions"])
    assert program.run(["topics"]) == 0 and program.run(["topics", "market.ticks.v1"]) == 0
    assert program.run(["topics", "--from", "no-such-run"]) == 2


def test_messages_are_shown_as_they_flow(ask: Ask, stack: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with Run("shown", "default", settings=stack, servers=False, submit=False) as run:
        for ticks in generate(Config(count=50)):
            run.writer.write(ticks)
        run.writer.flush()
        capsys.readouterr()
        assert program.run(["monitor-topics", run.topic("market.ticks.v1"), "--from-beginning", "--limit", "50",
                            "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert len(rows) == 50 and {"topic", "partition", "offset", "key", "value"} == rows[0].keys()


def test_schemas_in_the_registry_are_those_of_the_code(ask: Ask) -> None:
    ask("setup-topics")
    states = {state for row in ask("schema", "list")["contracts"] for state in row["subjects"].values()}
    assert all(state.startswith("this version") for state in states)
    assert ask("schema", "check", "--registry")["problems"] == []
    assert ask("schema", "diff", "tick", "--registry")["changes"] == []


def test_the_doctor_finds_a_running_stack_well(ask: Ask, stack: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    ask("setup-topics")
    capsys.readouterr()
    program.run(["doctor", "--json"])  # no chain and no edge runs here: these are bad, rightly
    found = {row["check"]: row for row in json.loads(capsys.readouterr().out)["checks"]}
    bad = {name for name, row in found.items() if row["verdict"] == "bad"}
    assert bad <= {"results", "web page", "jobs"}, [found[name] for name in bad]
    for name in ("Kafka", "Schema registry", "ZooKeeper", "Flink", "QuestDB", "Redis", "clock against Redis",
                 "clock against QuestDB", "topics", "schemas in the registry", "ports"):
        assert found[name]["verdict"] == "ok", found.get(name)


def test_a_job_is_submitted_saved_and_restored(ask: Ask, stack: Settings) -> None:
    (job,) = ask("submit", JOB)["jobs"]
    wait_for("a checkpoint", lambda: submit.checkpoints(job, stack) >= 1)
    assert any(row["id"] == job and row["state"] == "RUNNING" for row in ask("status")["jobs"])
    (point,) = ask("savepoint", job, "--stop")["savepoints"]
    assert point["job"] == job and point["bytes"] > 0
    assert point["path"].removeprefix("file:") in [row["path"] for row in ask("savepoint", "--list")["savepoints"]]
    assert program.run(["savepoint"]) == 3, "no job runs"
    assert program.run(["savepoint", job]) == 2, "this one does not"
    again = ask("restore", JOB, "--path", point["path"], "--parallelism", "2")
    assert again["from"] == point["path"] and again["state"] == "RUNNING"
    submit.cancel(again["jobs"][0], stack)
    assert program.run(["submit", JOB, "--", "refuse"]) == 4


def test_a_run_is_followed_halted_and_reported(ask: Ask, stack: Settings, tmp_path: Any) -> None:
    with Run("commands", "default", settings=stack, servers=False) as run:
        for ticks in generate(Config(count=TICKS)):
            run.writer.write(ticks)
        run.settle()
        answer = ask("topics", "market.ticks.v1", "--from", run.namespace)
        parts = answer["topics"][0]["partitions"]
        assert answer["jobs"] == ["pipeline"] and sum(part["messages"] for part in parts) == TICKS
        assert all(part["lag"] == {"pipeline": 0} for part in parts)
        for kind in ("halt", "reduce", "resume"):
            (scope,) = ask(kind, "--namespace", run.namespace)["in_force"]
            assert scope["from_account_seq"] >= 0 and scope["after_ms"] < 5_000
        out = tmp_path / "run.html"
        assert ask("report", "--from", run.namespace, "--out", str(out)) == {"file": str(out)}
        assert out.stat().st_size > 10_000
        assert ask("dlq", "list", "--from", run.namespace)["counts"] == {}
        assert ask("dashboard")["missing"] in ([], ["Redis"])
        verdict = ask("replay", "--from", run.namespace, "--complete")
        assert verdict["cases"] > 0 and verdict["differing"] == 0
        checks = {row["check"]: row for row in doctor.examine(settings=stack)["checks"]}
        assert any(name.startswith("job pipeline") and row["verdict"] == "ok" for name, row in checks.items())
        run.settle()
        assert ask("audit", "--namespace", run.namespace, "--complete")["found"] == 0



def test_a_command_that_is_ended_leaves_no_job(stack: Settings, tmp_path: Path) -> None:
    quotes = tmp_path / "quotes"
    quotes.write_text("exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
                      "binance,BTCUSDT,1000000,1000000,1,101,100,1\n"
                      "binance,BTCUSDT,3600000000,3600000000,1,101,100,1\n")
    before = {job.id for job in submit.jobs(stack)}
    arguments = "replay", str(quotes), "--speed", "1"
    with started("from sigmaflow.__main__ import main; main()", *arguments) as process:
        wait_for("a job of its own", lambda: {job.id for job in submit.jobs(stack)} - before)
        process.terminate()
        assert process.wait(PATIENCE_S) == ExitCode.INTERRUPTED
    assert {job.id for job in submit.jobs(stack)} <= before
