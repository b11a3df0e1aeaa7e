"""A schema's primitives in wire order with the columns that hold them: what the codec and schema resolution share."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sigmaflow.errors import UserError

LONG, DOUBLE, STRING, BOOLEAN, NULLABLE_LONG, NULLABLE_DOUBLE, ARRAY_START, ARRAY_END = range(1, 9)
SKIP = -1
"""Column of a field that has none."""
MAX_ITEMS = 32
"""Most items an array may have: alphas in a profile."""
NULL_LONG = int(np.iinfo(np.int64).min)
"""Null in a column of whole numbers; null in a column of doubles is NaN."""

_KINDS = {"long": LONG, "int": LONG, "double": DOUBLE, "string": STRING, "bytes": STRING, "boolean": BOOLEAN}
_NULLABLE = {"long": NULLABLE_LONG, "int": NULLABLE_LONG, "double": NULLABLE_DOUBLE}


@dataclass(frozen=True)
class Field:
    """One primitive of a schema: its kind, its name as a column, and the array it is an item of, if any."""

    kind: int
    name: str
    array: str | None = None


def fields(schema: Mapping[str, Any]) -> list[Field]:
    """The schema's primitives in wire order. Raises UserError for a type that no column can hold."""
    out: list[Field] = []
    for field in schema["fields"]:
        kind, name = field["type"], field["name"]
        if isinstance(kind, dict) and kind["type"] == "array":
            out += [Field(ARRAY_START, name, name), *_items(kind["items"], name), Field(ARRAY_END, name, name)]
        else:
            out.append(Field(_kind(kind, name), name))
    return out


def before(schema: Mapping[str, Any], name: str) -> str | None:
    """What stands before a whole number, a letter for each primitive: s a string, l a whole number.

    None where the schema does not have the field, or something else before it.

    >>> before({"fields": [{"name": "venue", "type": "string"}, {"name": "at", "type": "long"}]}, "at")
    's'
    """
    letters = {STRING: "s", LONG: "l"}
    out = ""
    for field in fields(schema):
        if field.name == name:
            return out if field.kind == LONG else None
        if field.kind not in letters:
            return None
        out += letters[field.kind]
    return None


def _items(items: Any, array: str) -> list[Field]:
    if isinstance(items, dict) and items["type"] == "record":
        named = [(f"{array}.{item['name']}", item["type"]) for item in items["fields"]]
        return [Field(_kind(kind, name), name, array) for name, kind in named]
    return [Field(_kind(items, array), array, array)]


def _kind(kind: Any, name: str) -> int:
    if isinstance(kind, list) and len(kind) == 2 and kind[0] == "null" and kind[1] in _NULLABLE:
        return _NULLABLE[kind[1]]
    if isinstance(kind, dict) and kind["type"] == "enum":
        return LONG
    if isinstance(kind, str) and kind in _KINDS:
        return _KINDS[kind]
    raise unsupported(name, kind)


def unsupported(name: str, kind: Any) -> UserError:
    """The error for a field whose type has no column."""
    return UserError("schemas", f"field {name} must be of a type that columns can hold", f"it is {kind}",
                     "use one of schemas/layout.py: " + ", ".join(_KINDS) + ", an enum, null or a number, or an array")


def column_kinds(schema: Mapping[str, Any]) -> dict[str, int]:
    """Column name to kind (LONG, DOUBLE or STRING), arrays left out."""
    plain = {BOOLEAN: LONG, NULLABLE_LONG: LONG, NULLABLE_DOUBLE: DOUBLE}
    return {f.name: plain.get(f.kind, f.kind) for f in fields(schema) if f.array is None}
