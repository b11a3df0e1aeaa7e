"""Where a message's time stands: what reads partitions in step must find it in every topic that has several."""
from __future__ import annotations

import pytest

import schemas
from schemas import layout

KEYED = [t for t in schemas.topics().values() if t.partitions > 1]


@pytest.mark.parametrize("topic", KEYED, ids=lambda t: t.name)
def test_only_strings_and_whole_numbers_stand_before_the_time_of_what_is_keyed_by_symbol(topic: schemas.Topic) -> None:
    schema = schemas.load(topic.schema)
    found = layout.before(schema, "ts_event")
    assert found is not None and len(found) == [f["name"] for f in schema["fields"]].index("ts_event")


@pytest.mark.parametrize("kind", ["double", ["null", "long"], "boolean", {"type": "array", "items": "long"}])
def test_there_is_no_way_past_anything_else(kind: object) -> None:
    assert layout.before({"fields": [{"name": "a", "type": kind}, {"name": "at", "type": "long"}]}, "at") is None


@pytest.mark.parametrize("fields", [[], [{"name": "at", "type": "string"}]])
def test_a_time_is_a_whole_number(fields: list[dict[str, str]]) -> None:
    assert layout.before({"fields": fields}, "at") is None
