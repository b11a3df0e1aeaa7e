"""The answers of `schema list`, `show`, `check` and `diff`: contracts on record here, and in the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import schemas
from connectors.registry import Registry
from schemas import compatibility, versions
from schemas.changes import changes
from schemas.docs import type_name
from sigmaflow.errors import NotRunning, UserError
from sigmaflow.output import Record, console, print_table
from sigmaflow.settings import Settings, load

STAGE = "schema"
SILENT = "not asked: the registry does not answer"
SAME, OTHER, MISSING = "this version", "another version", "not registered"
"""How the newest schema of a subject compares with the contract."""


def listing(settings: Settings | None = None) -> dict[str, Any]:
    """Every contract with its versions on record and its subjects in the registry, where that answers."""
    registry: Registry | None = Registry((settings or load()).registry.url)
    rows = []
    for name in versions.names():
        subjects = {}
        for topic in (topic for topic in schemas.topics().values() if topic.schema == name):
            try:
                subjects[topic.subject] = registered(name, registry.present(topic.subject)) if registry else SILENT
            except NotRunning:
                registry, subjects[topic.subject] = None, SILENT
        rows.append({"contract": name, "versions": len(versions.past(name)), "recorded": recorded(name),
                     "subjects": subjects})
    return {"contracts": rows}


def registered(name: str, held: Mapping[int, Mapping[str, Any]]) -> str:
    """How the newest of a subject's schemas, by id, compares with the contract."""
    if not held:
        return MISSING
    newest = list(held)[-1]
    return f"{SAME if held[newest] == schemas.load(name) else OTHER}, id {newest}"


def recorded(name: str) -> bool:
    """Whether the contract as it is is the newest version on record."""
    past = versions.past(name)
    return bool(past) and past[max(past)] == versions.present(name)


def draw_listing(answer: Record) -> None:
    """Print one line a subject."""
    says = {True: "as it is", False: "changed since"}
    print_table([{"contract": row["contract"], "versions": row["versions"], "on record": says[row["recorded"]],
                  "subject": subject, "registry": state}
                 for row in answer["contracts"] for subject, state in (row["subjects"] or {"": ""}).items()])


def version_of(name: str, number: int) -> dict[str, Any]:
    """A version on record, 0 for the contract as it is. Raises UserError where there is none."""
    if name not in versions.names():
        raise UserError(STAGE, "CONTRACT must be one of schemas/*.avsc", f"{name!r} is not",
                        f"choose one of: {', '.join(versions.names())}")
    past = versions.past(name)
    found = past.get(number) if number else versions.present(name) or (past[max(past)] if past else None)
    if found is None:
        raise UserError(STAGE, f"{name} must have version {number} on record", f"it has {', '.join(map(str, past))}",
                        "choose one of these")
    return found


def one(name: str, number: int) -> dict[str, Any]:
    """A contract whole."""
    return {"contract": name, "version": number or None, "schema": version_of(name, number)}


def draw_one(answer: Record) -> None:
    """Print every field."""
    schema = answer["schema"]
    console().print(f"{schema['name']}: {schema['doc']}\n", markup=False)
    print_table([{"field": field["name"], "type": type_name(field["type"]),
                  "default": json.dumps(field["default"]) if "default" in field else None, "meaning": field["doc"]}
                 for field in schema["fields"]])


def check(registry: bool) -> dict[str, Any]:
    """Every problem of the contracts with their versions on record, and with those in the registry where asked.

    Raises NotRunning where the registry is asked and does not answer.
    """
    found = compatibility.check() + (compatibility.registered(load().registry.url) if registry else [])
    return {"versions": sum(len(versions.past(name)) for name in versions.names()), "registry": registry,
            "problems": found}


def draw_check(answer: Record) -> None:
    """Print the problems, or that there are none."""
    for line in answer["problems"]:
        console().print(line, markup=False)
    if not answer["problems"]:
        console().print(f"{answer['versions']} versions, all compatible"
                        f"{' with each other and with the registry' if answer['registry'] else ''}")


def compare(name: str, old: int, new: int, registry: bool) -> dict[str, Any]:
    """What changed between two versions of a contract, and what of it may not be."""
    newer = version_of(name, new)
    label, older = _from_registry(name) if registry else _before(name, old, new)
    return {"contract": name, "old": label, "new": f"version {new}" if new else "as it is",
            "changes": [asdict(change) for change in changes(older, newer)],
            "problems": [str(problem) for problem in compatibility.problems(older, newer)]}


def _before(name: str, old: int, new: int) -> tuple[str, dict[str, Any]]:
    """The version to compare with: the one asked for, else the newest that is older and differs, else the first."""
    if old:
        return f"version {old}", version_of(name, old)
    newer, past = version_of(name, new), versions.past(name)
    earlier = [number for number in past if number < (new or max(past) + 1) and past[number] != newer]
    number = max(earlier, default=min(past, default=0))
    return f"version {number}", version_of(name, number)


def _from_registry(name: str) -> tuple[str, dict[str, Any]]:
    registry = Registry(load().registry.url)
    for topic in (topic for topic in schemas.topics().values() if topic.schema == name):
        held = registry.present(topic.subject)
        if held:
            newest = list(held)[-1]
            return f"{topic.subject} id {newest}", dict(held[newest])
    raise UserError(STAGE, f"{name} must be registered", "no topic's subject holds it", "run make setup-topics")


def draw_compare(answer: Record) -> None:
    """Print one line a change, then what may not be."""
    title = f"{answer['contract']}: {answer['old']} to {answer['new']}"
    print_table(answer["changes"], title, empty="no difference")
    for problem in answer["problems"]:
        console().print(f"may not be: {problem}", markup=False)
