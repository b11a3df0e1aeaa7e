"""What `topics`, `schema` and `savepoint` show, from plain values; the servers' part is in tests/pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import schemas
from sigmaflow import __main__ as program
from sigmaflow import savepoints, schema_view, topic_view
from sigmaflow.errors import UserError
from sigmaflow.settings import load


def topic(name: str, *parts: tuple[int, int, int]) -> dict[str, Any]:
    """A topic of partitions (start, end, lag of the pipeline)."""
    return {"topic": name, "retention_ms": 3_600_000, "partitions": [
        {"partition": p, "start": start, "end": end, "messages": end - start, "bytes": 2_048,
         "lag": {"pipeline": lag} if lag >= 0 else {}} for p, (start, end, lag) in enumerate(parts)]}


def test_a_topic_is_the_sum_of_its_partitions() -> None:
    assert topic_view.summed(topic("market.ticks.v1", (5, 105, 40), (0, 50, 2))) == {
        "topic": "market.ticks.v1", "partitions": 2, "messages": 150, "end": 155, "size": "4.0 KiB", "kept": "1 h",
        "lag": "pipeline 42"}


def test_one_topic_is_shown_by_partition(capsys: pytest.CaptureFixture[str]) -> None:
    topic_view.draw({"topics": [topic("fills.v1", (5, 1_105, -1))]})
    title, head, row = capsys.readouterr().out.splitlines()
    assert title.strip() == "fills.v1, kept 1 h" and head.split()[0] == "partition"
    assert row.split() == ["0", "5", "1,105", "1,100", "2.0", "KiB", "-"]


def test_topics_of_a_run_and_those_that_are_not_there() -> None:
    present = [schemas.in_run(name, "trial") for name in schemas.topics()]
    assert topic_view.wanted("trial", "", present) == present
    assert topic_view.wanted("trial", "trial.fills.v1", present) == ["trial.fills.v1"]
    with pytest.raises(UserError, match="topic none of run market must exist"):
        topic_view.wanted("", "none", present)
    with pytest.raises(UserError, match="run make setup-topics"):
        topic_view.wanted("", "", [])


def test_sizes_are_those_of_the_broker_s_folders(tmp_path: Path) -> None:
    s = load(environ={"SIGMAFLOW_DATA_DIR": str(tmp_path)})
    for name, count in (("fills.v1-0", 30), ("market.ticks.v1-3", 12), ("__consumer_offsets-7", 9)):
        (tmp_path / "kafka" / "logs" / name).mkdir(parents=True)
        (tmp_path / "kafka" / "logs" / name / "00000000000000000000.log").write_bytes(b"x" * count)
    (tmp_path / "kafka" / "logs" / "meta.properties").touch()
    assert topic_view.sizes(s, schemas.topics()) == {("fills.v1", 0): 30, ("market.ticks.v1", 3): 12}
    apart = load(environ={"SIGMAFLOW_DATA_DIR": str(tmp_path), "SIGMAFLOW_KAFKA_HOST": "kafka"})
    assert topic_view.sizes(apart, schemas.topics()) == {}


def test_a_contract_against_what_is_registered() -> None:
    tick = schemas.load("tick")
    assert schema_view.registered("tick", {}) == "not registered"
    assert schema_view.registered("tick", {3: {}, 7: tick}) == "this version, id 7"
    assert schema_view.registered("tick", {3: tick, 7: {}}) == "another version, id 7"


def test_schema_commands_answer_without_servers(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(*arguments: str) -> Any:
        assert program.run([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert answer("schema", "show", "tick")["schema"] == schemas.load("tick")
    assert answer("schema", "check")["problems"] == []
    assert answer("schema", "diff", "fill", "--old", "1", "--new", "1")["changes"] == []
    for arguments in (("show", "tick"), ("check",), ("diff", "fill")):
        assert program.run(["schema", *arguments]) == 0
    assert "ts_event" in capsys.readouterr().out


def test_a_change_that_may_not_be_made_is_listed_and_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = schemas.load("fill")
    new = {**old, "fields": old["fields"][1:]}
    monkeypatch.setattr(schema_view, "version_of", lambda name, number: old if number else new)
    assert program.run(["schema", "diff", "fill"]) == 1
    shown = capsys.readouterr().out
    assert old["fields"][0]["name"] in shown and "an old reader could not read new messages" in shown


def test_savepoints_are_listed_with_time_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGMAFLOW_DATA_DIR", str(tmp_path))
    assert savepoints.kept() == {"savepoints": []}
    folder = tmp_path / "flink" / "savepoints" / "savepoint-1"
    folder.mkdir(parents=True)
    (folder / "_metadata").write_bytes(b"x" * 1_500)
    (found,) = savepoints.kept()["savepoints"]
    assert found["path"] == str(folder) and found["bytes"] == 1_500 and found["taken"].endswith("+00:00")
    assert program.run(["savepoint", "--list"]) == 0
    assert "1.5 KiB" in capsys.readouterr().out
