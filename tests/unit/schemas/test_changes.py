"""What changed between two versions of a contract, against edits made on purpose."""
from __future__ import annotations

import copy
from typing import Any

import pytest

import schemas
from schemas.changes import Change, changes


def test_a_contract_does_not_differ_from_itself() -> None:
    for topic in schemas.topics().values():
        assert changes(schemas.load(topic.schema), schemas.load(topic.schema)) == []


def edited(name: str, field: str, **new: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A contract, and the same with one field changed."""
    old, after = schemas.load(name), copy.deepcopy(schemas.load(name))
    next(f for f in after["fields"] if f["name"] == field).update(new)
    return old, after


@pytest.mark.parametrize(("new", "what", "shown"), [
    ({"type": ["null", "double"]}, "type", "double or null"), ({"doc": "other"}, "doc", "other"),
    ({"default": 1.5}, "default", "1.5")])
def test_one_edit_is_one_change(new: dict[str, Any], what: str, shown: str) -> None:
    old, after = edited("fill", "price", **new)
    (change,) = changes(old, after)
    assert (change.path, change.what, change.new) == ("price", what, shown)
    (back,) = changes(after, old)
    assert (back.old, back.new) == (change.new, change.old)


def test_added_removed_and_moved_fields() -> None:
    old = schemas.load("fill")
    more = {**old, "fields": [*old["fields"], {"name": "new", "type": "long", "default": 0, "doc": "x"}]}
    assert changes(old, more) == [Change("new", "field", "absent", "long, default 0")]
    assert changes(more, old) == [Change("new", "field", "long, default 0", "absent")]
    assert [c.what for c in changes(old, {**old, "fields": old["fields"][::-1]})] == ["order"]


def test_the_fields_of_inner_records_are_compared() -> None:
    old, new = schemas.load("decision"), schemas.load("decision")
    gates = next(f for f in new["fields"] if f["name"] == "gates")["type"]["items"]
    gates["fields"][0]["doc"] = "other"
    (change,) = changes(old, new)
    assert change.path == f"gates.{gates['fields'][0]['name']}" and change.what == "doc"
