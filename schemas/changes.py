"""What changed between two versions of a contract, field by field, for people who must judge it."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.docs import type_name

ABSENT = "absent"
SAID: dict[str, Callable[[Any], str]] = {"type": type_name, "default": json.dumps, "doc": str}
"""What is compared of a field, and how it reads."""


@dataclass(frozen=True)
class Change:
    """One difference: the field's path, what of it, and the old and new text; `absent` where there was or is none."""

    path: str
    what: str
    old: str
    new: str


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every difference between two record schemas, in the order of the fields.

    >>> def record(*fields): return {"type": "record", "name": "R", "fields": list(fields)}
    >>> price, fee = {"name": "price", "type": "double"}, {"name": "fee", "type": "double", "default": 0.0}
    >>> changes(record(price), record(price | {"type": "long"}, fee))  # doctest: +NORMALIZE_WHITESPACE
    [Change(path='price', what='type', old='double', new='long'),
     Change(path='fee', what='field', old='absent', new='double, default 0.0')]
    """
    return list(_record(old, new, ""))


def _record(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Change]:
    if old.get("doc") != new.get("doc"):
        yield Change(path, "doc", old.get("doc", ABSENT), new.get("doc", ABSENT))
    before, after = ({field["name"]: field for field in schema["fields"]} for schema in (old, new))
    for name in {**before, **after}:
        inner = f"{path}.{name}".lstrip(".")
        if name in before and name in after:
            yield from _field(before[name], after[name], inner)
        else:
            yield Change(inner, "field", _whole(before.get(name)), _whole(after.get(name)))
    if [n for n in before if n in after] != [n for n in after if n in before]:
        yield Change(path, "order", ", ".join(before), ", ".join(after))


def _field(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Change]:
    inner = _inner(old["type"]), _inner(new["type"])
    for what in SAID:
        was, now = (_text(field, what) for field in (old, new))
        if was != now:
            yield Change(path, what, was, now)
    if inner[0] is not None and inner[1] is not None:
        yield from _record(inner[0], inner[1], path)


def _inner(kind: Any) -> Mapping[str, Any] | None:
    """The record that a field holds, itself or in an array or union; None where it holds none."""
    if isinstance(kind, list):
        return next((found for found in map(_inner, kind) if found is not None), None)
    if not isinstance(kind, Mapping):
        return None
    return kind if kind["type"] == "record" else _inner(kind.get("items"))


def _text(field: Mapping[str, Any], what: str) -> str:
    if what not in field:
        return ABSENT
    return SAID[what](field[what])


def _whole(field: Mapping[str, Any] | None) -> str:
    if field is None:
        return ABSENT
    return _text(field, "type") + (f", default {_text(field, 'default')}" if "default" in field else "")
