"""How often a running job asks the registry for versions that it does not know."""
from __future__ import annotations

from typing import Any

from connectors.registry import Later, RegistryError


def test_unknown_ids_cost_one_question_an_interval() -> None:
    now, questions = [0.0], []
    there: dict[int, dict[str, Any]] = {1: {"name": "Tick"}}

    def versions() -> dict[int, dict[str, Any]]:
        questions.append(now[0])
        return dict(there)

    later = Later(versions, lambda: now[0])
    assert later(1) == {"name": "Tick"}
    there[2] = {"name": "Newer"}
    assert [later(n) for n in range(2, 100)] == [None] * 98
    now[0] = Later.PAUSE_S
    assert later(2) == {"name": "Newer"} and later(1) and later(3) is None
    assert questions == [0.0, Later.PAUSE_S]


def test_a_registry_that_fails_is_left_alone_for_longer() -> None:
    now, questions = [0.0], []

    def versions() -> dict[int, dict[str, Any]]:
        questions.append(now[0])
        raise RegistryError(500, "not now")

    later = Later(versions, lambda: now[0])
    for now[0] in (0.0, Later.PAUSE_S, Later.FAILED_S - 1, Later.FAILED_S):
        assert later(1) is None
    assert questions == [0.0, Later.FAILED_S]
