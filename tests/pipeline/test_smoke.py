"""The smoke test against the real stack: whole, and with parts stopped on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sigmaflow import probes, smoke, supervise
from sigmaflow import stack as local
from sigmaflow.settings import Settings

HEALTHY = ("Prerequisites", "Kafka", "Registry", "Topics", "Redis", "QuestDB", "Metrics", "Page", "Flink", "Chain",
           "Report")


def lines(text: str) -> dict[str, tuple[str, str]]:
    """Verdict and detail of each layer, from what was printed."""
    parts = [line.split(maxsplit=2) for line in text.splitlines()]
    return {part[1]: (part[0], part[2]) for part in parts if part and part[0] in smoke.COLOURS}


@contextmanager
def stopped(settings: Settings, *names: str) -> Iterator[None]:
    """Without some programs; they run and answer again afterwards."""
    for name in names:
        supervise.stop_program(settings, name)
    try:
        yield
    finally:
        local.up(settings)


def test_every_layer_of_a_healthy_stack_is_ok(stack: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for program in ("results", "web"):  # another test may have stopped them, which would be reported
        supervise.start_program(stack, program)
    assert smoke.run(stack) == 0
    found = lines(capsys.readouterr().out)
    assert {name: verdict for name, (verdict, _) in found.items()} == dict.fromkeys(found, "ok")
    assert set(HEALTHY) <= set(found)
    assert "the ledger adds up" in found["Chain"][1]
    assert smoke.REPORT.stat().st_size > 10_000


def test_stopped_parts_are_reported_not_healed_and_all_others_checked(
    stack: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with stopped(stack, "redis", "registry"):
        assert smoke.run(stack) == 1
        assert not probes.answers(probes.redis, stack)
    found = lines(capsys.readouterr().out)
    for name, program in (("Redis", "redis"), ("Registry", "registry")):
        assert found[name][0] == "BROKEN"
        assert f"program {program} must run, but it is STOPPED; run make start" in found[name][1]
    assert [found[name][0] for name in ("Kafka", "QuestDB", "Prerequisites")] == ["ok"] * 3
    for name, cause in (("Topics", "Registry"), ("Flink", "Topics"), ("Chain", "Flink"), ("Report", "Chain")):
        assert found[name][0] == "skipped" and f"because {cause} is not ok" in found[name][1]
