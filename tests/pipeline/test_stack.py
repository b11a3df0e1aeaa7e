"""The local stack itself: it answers, refuses what it must, heals, and runs jobs that keep their state."""

from __future__ import annotations

import psutil
import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from connectors.offsets import listed
from sigmaflow import probes, submit, supervise
from sigmaflow import stack as local
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings
from tests.waiting import PATIENCE_S, wait_for

JOB = "tests/pipeline/counting_job.py"


def test_every_server_answers_and_the_stack_is_small(stack: Settings) -> None:
    assert [label for label, (probe, _) in probes.servers(stack).items() if not probes.answers(probe, stack)] == []
    assert local.memory_bytes(stack) < 7 * 2**30


def test_every_process_is_known_by_its_marker_so_that_stop_finds_it(stack: Settings) -> None:
    """Also when the supervisor was killed: what only it knew would be left behind."""
    supervised = {info["pid"] for info in supervise.states(stack).values() if info["pid"]}
    assert supervised <= {process.pid for process in supervise.processes(stack)}


def test_a_second_start_finds_it_running(stack: Settings) -> None:
    assert local.up(stack) is False


def test_a_taken_port_is_named_with_its_setting(stack: Settings) -> None:
    with pytest.raises(UserError) as stop:
        local.check_ports(stack)
    assert str(stack.kafka.port) in str(stop.value) and "kafka.port" in str(stop.value)


def test_a_killed_broker_comes_back_with_its_topics(stack: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": stack.kafka.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("stack.test", 1, 1)])["stack.test"].result(20)
    end = {TopicPartition("stack.test", 0): OffsetSpec.latest()}
    assert [info.offset for info in listed(admin, end).values()] == [0]
    first = supervise.states(stack)["kafka"]["pid"]
    broker = psutil.Process(first)
    broker.kill()
    broker.wait(20)
    with pytest.raises(KafkaException):  # and not an offset that means none
        listed(admin, end)
    wait_for("another broker process", lambda: supervise.states(stack)["kafka"]["pid"] not in (0, first))
    wait_for("the broker's answer", lambda: probes.answers(probes.kafka, stack))
    # Though the client knows no leader, or one of before; it may wait some seconds before it connects again.
    assert [info.offset for info in listed(admin, end, timeout_s=PATIENCE_S).values()] == [0]
    assert "stack.test" in admin.list_topics(timeout=20).topics


def test_a_job_that_cannot_be_built_says_why(stack: Settings) -> None:
    with pytest.raises(UserError, match="told to refuse"):
        submit.submit(JOB, ["refuse"], settings=stack)
    with pytest.raises(UserError, match="must be a file"):
        submit.submit("jobs/none.py", settings=stack)
    with pytest.raises(UserError, match="must be known to Flink"):
        submit.wait_running("0" * 32, settings=stack)


def test_a_job_that_fails_in_python_is_noticed(stack: Settings) -> None:
    job = submit.submit(JOB, ["fail"], settings=stack)
    try:
        with pytest.raises(UserError, match="told to fail"):
            submit.wait_running(job, timeout_s=24, settings=stack)
    finally:
        submit.cancel(job, stack)


def test_a_job_survives_a_killed_taskmanager_and_goes_on_from_a_savepoint(stack: Settings) -> None:
    job = submit.submit(JOB, settings=stack)
    submit.wait_running(job, settings=stack)
    wait_for("two checkpoints", lambda: submit.checkpoints(job, stack) >= 2)
    for name, info in supervise.states(stack).items():
        if name.startswith("taskmanager"):
            psutil.Process(info["pid"]).kill()
    # Its state may be RUNNING again before anyone looks; the failure stays in its history.
    wait_for("the failure", lambda: submit.cause(job, stack) != "")
    submit.wait_running(job, timeout_s=120, settings=stack)
    done = submit.checkpoints(job, stack)
    wait_for("another checkpoint", lambda: submit.checkpoints(job, stack) > done)

    path = submit.stop_with_savepoint(job, stack)
    again = submit.submit(JOB, savepoint=path, settings=stack)
    submit.wait_running(again, settings=stack)
    submit.cancel(again, stack)
    assert submit.jobs(stack) == []
