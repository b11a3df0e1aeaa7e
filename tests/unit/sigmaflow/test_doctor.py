"""The doctor: a machine that is well, one thing wrong at a time, and a stack that is down."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

import schemas
from sigmaflow import __main__ as program
from sigmaflow import doctor, jars
from sigmaflow.doctor import Finding, Patient
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings, load

HOUR_MS = 3_600_000
NEED_SERVERS = {"Kafka", "Schema registry", "ZooKeeper", "Flink", "QuestDB", "Redis", "results", "web page"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A stack that does not run, on ports where nothing listens."""
    return load(environ={"SIGMAFLOW_PORT_OFFSET": "4000", "SIGMAFLOW_DATA_DIR": str(tmp_path)})


@pytest.fixture
def patient(settings: Settings) -> Patient:
    return Patient(settings, meant=False, programs=frozenset())


def test_a_stack_that_is_down_is_no_fault_unless_it_must_run(settings: Settings) -> None:
    down = {row["check"]: row for row in doctor.examine(settings=settings)["checks"]}
    assert {down[name]["verdict"] for name in NEED_SERVERS} == {"warn"}
    assert {row["verdict"] for name, row in down.items() if name in ("java", "python of the workers", "ports", "disk",
                                                                     "contracts")} == {"ok"}
    meant = doctor.examine(running=True, settings=settings)
    assert meant["verdict"] == "bad"
    assert {row["verdict"] for row in meant["checks"] if row["check"] in NEED_SERVERS} == {"bad"}


def test_whatever_is_not_ok_has_a_remedy(settings: Settings) -> None:
    for row in doctor.examine(running=True, settings=settings)["checks"]:
        assert (row["verdict"] == "ok") == (not row["remedy"]), row


def test_the_command_exits_1_when_something_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGMAFLOW_PORT_OFFSET", "4000")
    monkeypatch.setenv("SIGMAFLOW_DATA_DIR", str(tmp_path))
    assert program.run(["doctor", "--running", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "bad" and {"check", "verdict", "found", "remedy"} == set(told["checks"][0])
    assert program.run(["doctor", "--running"]) == 1
    shown = capsys.readouterr().out
    assert all(row["found"] in shown for row in told["checks"] if "free" not in row["found"])


def test_a_port_held_by_another_program_is_named(patient: Patient) -> None:
    with socket.socket() as other:
        other.bind((patient.settings.redis.host, patient.settings.redis.port))
        other.listen()
        (found,) = doctor.ports(patient)
        assert found.verdict == "bad"
        assert f"redis.port {patient.settings.redis.port} is held by process {os.getpid()}" in found.found
        own = Patient(patient.settings, meant=True, programs=frozenset([os.getpid()]))
        assert doctor.ports(own)[0].verdict == "ok"
    assert doctor.ports(patient)[0].verdict == "ok"


def test_parts_on_other_machines_have_no_ports_here(tmp_path: Path) -> None:
    s = load(environ={"SIGMAFLOW_PORT_OFFSET": "4000", "SIGMAFLOW_KAFKA_HOST": "kafka"})
    with socket.socket() as other:
        other.bind(("127.0.0.1", s.kafka.port))
        other.listen()
        assert doctor.ports(Patient(s, False, frozenset()))[0].verdict == "ok"


def test_missing_and_damaged_jars_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s = load(environ={"SIGMAFLOW_CACHE_DIR": str(tmp_path)})
    patient = Patient(s, False, frozenset())
    assert "are missing" in doctor.jar_files(patient)[0].found
    body = b"whole"
    jar = jars.Jar("kafka", "g", "a", "1", "", "jar", len(body), "0" * 64)
    monkeypatch.setattr(jars, "read_lock", lambda: [jar])
    jar.path(s.cache_dir).parent.mkdir(parents=True)
    jar.path(s.cache_dir).write_bytes(body)
    found = doctor.jar_files(patient)[0]
    assert found.verdict == "bad" and "a-1.jar has not the sha256" in found.found
    assert str(jar.path(s.cache_dir)) in found.remedy


def test_packages_that_slid_are_named() -> None:
    wanted = doctor.pins("apache-flink==2.3.0\nnumpy==2.1.3  \n# a comment==1\n")
    assert wanted == {"apache-flink": "2.3.0", "numpy": "2.1.3"}
    assert doctor.drift(wanted, {"numpy": "2.1.3", "apache-flink": "1.20"}) == ["apache-flink is 1.20, not 2.3.0"]


def test_a_folder_that_cannot_be_written_is_bad(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert doctor.disk(patient)[0].verdict == "bad"


def test_a_check_that_breaks_is_bad_and_the_others_go_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: Patient) -> list[Finding]:
        raise ZeroDivisionError("by zero")

    def refuses(_: Patient) -> list[Finding]:
        raise UserError("s", "a rule must hold", "it does not", "mend it")

    monkeypatch.setattr(doctor, "CHECKS", (breaks, refuses, doctor.disk))
    found = doctor.examine(settings=settings)["checks"]
    assert [row["verdict"] for row in found] == ["bad", "warn", "ok"]
    assert "ZeroDivisionError" in found[0]["found"] and found[1]["remedy"] == "mend it"


@pytest.mark.parametrize(("ahead", "error", "verdict"), [
    (0.0, 0.0, "ok"), (0.3, 0.2, "ok"), (-0.3, 0.0, "warn"), (2.5, 0.0, "bad"), (-60.0, 1.0, "bad")])
def test_clocks_are_judged_less_what_the_round_trip_leaves_open(ahead: float, error: float, verdict: str) -> None:
    assert doctor.clock("Redis", ahead, error).verdict == verdict


def test_a_clock_that_is_asked_over_a_round_trip(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([100.0, 100.2])
    monkeypatch.setattr(doctor.time, "time", lambda: next(moments))
    ahead, error = doctor.apart(lambda _: 105.1, settings)
    assert ahead == pytest.approx(5.0) and error == pytest.approx(0.1)


def held(topic: schemas.Topic, partitions: int | None = None, retention_ms: int | None = None) -> dict[str, Any]:
    """A topic as the broker tells it."""
    own = topic.retention_hours * HOUR_MS if topic.retention_hours >= 0 else -1
    return {"partitions": [{}] * (partitions or topic.partitions),
            "retention_ms": own if retention_ms is None else retention_ms}


def test_a_topic_that_differs_from_its_row() -> None:
    for topic in schemas.topics().values():
        assert doctor.unlike(topic, held(topic)) == []
    ticks = schemas.topics()["market.ticks.v1"]
    assert doctor.unlike(ticks, held(ticks, partitions=9)) == ["market.ticks.v1 has partitions 9, not 4"]
    assert doctor.unlike(ticks, held(ticks, retention_ms=-1)) == ["market.ticks.v1 has retention -1, not 168"]


def test_jobs_that_run_without_checkpoints_are_bad() -> None:
    def verdict(state: str, latest: dict[str, int] | None, now: float = 10.0) -> str:
        return doctor.progress("pipeline", state, {"completed": 3, "failed": 1}, latest, now).verdict

    assert verdict("RUNNING", {"latest_ack_timestamp": 9_500}) == "ok"
    assert verdict("RUNNING", None) == "bad"
    assert verdict("RESTARTING", {"latest_ack_timestamp": 9_500}) == "bad"
    assert verdict("RUNNING", {"latest_ack_timestamp": 9_500}, now=100.0) == "bad"
