"""Schemas of two versions for tests, values that show how they differ, and what fastavro makes of them."""
from __future__ import annotations

import copy
import io
import math
import struct
from typing import Any

import fastavro
import numpy as np
from hypothesis import strategies as st

from schemas.codec import NULL_LONG
from schemas.compatibility import type_of
from schemas.packed import Text

SAMPLES: dict[str, list[Any]] = {
    "int": [0, -(2**31), 2**31 - 1], "long": [5, -(2**63) + 1, 2**63 - 1, 2**31], "double": [0.1, -1e300, math.inf],
    "float": [0.5, -2.0], "boolean": [True, False], "string": ["", "日本", "BTC"], "bytes": [b"", b"abc", b"\xff\0"],
    "null": [None]}
DEFAULTS: dict[str, Any] = {"int": -7, "long": 2**62 + 1, "double": 0.25, "float": 0.5, "boolean": True, "string": "né",
                            "bytes": "a\u00ff", "null": None}


def samples(kind: Any) -> list[Any]:
    """Values of a type, all branches and symbols among them. Whole numbers in arrays stay exact as doubles."""
    if type_of(kind) == "union":
        return [value for branch in kind for value in samples(branch)]
    if type_of(kind) == "enum":
        return list(kind["symbols"])
    if type_of(kind) == "array":
        exact = [v if type(v) is not int or abs(v) < 2**53 else 2**40 for v in samples(kind["items"])]
        return [exact, [], exact[:1]]
    if type_of(kind) == "record":
        cells = {f["name"]: samples(f["type"]) for f in kind["fields"]}
        rows = max(map(len, cells.values()), default=1)
        return [{name: values[row % len(values)] for name, values in cells.items()} for row in range(rows)]
    return SAMPLES[type_of(kind)]


def default(kind: Any) -> Any:
    """A default of a type as JSON has it."""
    if type_of(kind) == "union":
        return default(kind[0])
    if type_of(kind) == "enum":
        return kind["symbols"][-1]
    if type_of(kind) == "array":
        return [default(kind["items"])] * 2
    return {f["name"]: default(f["type"]) for f in kind["fields"]} if type_of(kind) == "record" else DEFAULTS[kind]


def parsed(schema: dict[str, Any]) -> Any:
    """A schema as fastavro wants it, which writes into what it is given."""
    return fastavro.parse_schema(copy.deepcopy(schema))


def write(schema: dict[str, Any], record: dict[str, Any], schema_id: int = 1) -> bytes:
    """One message by fastavro in the Confluent wire format."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed(schema), record)
    return struct.pack(">bI", 0, schema_id) + out.getvalue()


def resolved(message: bytes, writer: dict[str, Any], reader: dict[str, Any]) -> dict[str, Any]:
    """The record that fastavro gives a reader of another version. Raises what fastavro raises where there is none."""
    found: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(message[5:]), parsed(writer), parsed(reader))
    return found


def cell(column: Any, row: int) -> Any:
    """One cell of a column as Python has it; bytes for text."""
    return column.at(row) if isinstance(column, Text) else column[row].tolist()


def cells(kind: Any, value: Any, name: str) -> dict[str, Any]:
    """A field's value as the cells of its columns; items of arrays are lists, strings in them have no column."""
    if type_of(kind) == "array" and type_of(kind["items"]) == "record":
        parts = {f"{name}.{f['name']}": [_plain(f["type"], item[f["name"]]) for item in value]
                 for f in kind["items"]["fields"] if f["type"] not in ("string", "bytes")}
        return parts | {f"{name}.count": len(value)}
    if type_of(kind) == "array":
        return {name: [_plain(kind["items"], item) for item in value], f"{name}.count": len(value)}
    return {name: _plain(kind, value)}


def _plain(kind: Any, value: Any) -> Any:
    if type_of(kind) == "enum":
        return kind["symbols"].index(value)
    if value is None:
        return math.nan if "double" in kind else NULL_LONG
    if kind in ("string", "bytes"):
        return value if isinstance(value, bytes) else value.encode("utf-8" if kind == "string" else "latin-1")
    return float(value) if "double" in kind else int(value)


def same(found: Any, wanted: Any) -> bool:
    """Whether a cell is what it must be; of an array the first items, where NaN is NaN."""
    if isinstance(wanted, list):
        return np.array_equal(found[:len(wanted)], wanted, equal_nan=True)
    return found == wanted or (found != found and wanted != wanted)


def enum(symbols: list[str], with_default: bool) -> dict[str, Any]:
    """An enum whose default, where it has one, is its first symbol."""
    return {"type": "enum", "name": "E", "symbols": symbols} | ({"default": symbols[0]} if with_default else {})


ENUMS = st.builds(enum, st.lists(st.sampled_from("ABCD"), min_size=1, max_size=4, unique=True), st.booleans())
PLAIN = st.sampled_from(["int", "long", "double", "string", "bytes", "boolean", ["null", "long"], ["null", "double"],
                         ["null", "int"]])
FOREIGN = st.sampled_from(["float", ["null", "float"], ["null", "string"], ["string", "null"], ["null", "boolean"],
                           ["long", "null"], ["double", "null"]])
"""Types that no contract of this project has, but another writer's may."""


def records(types: st.SearchStrategy[Any], name: str, names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Records with some of these fields in any order, each with or without a default."""
    def build(chosen: list[tuple[str, Any, bool]]) -> dict[str, Any]:
        return {"type": "record", "name": name, "fields": [
            {"name": field, "type": kind} | ({"default": default(kind)} if has_default else {})
            for field, kind, has_default in chosen]}

    row = st.tuples(st.sampled_from(names), types, st.booleans())
    return st.lists(row, min_size=1, max_size=4, unique_by=lambda field: field[0]).map(build).map(copy.deepcopy)


def versions(foreign: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Contracts of the kinds that this project has, and with `foreign` of a few more; one enum or array at most."""
    items = records(st.sampled_from(["int", "long", "double", "boolean", "string"]), "Item", "xyz")
    arrays = st.one_of(st.sampled_from(["int", "long", "double"]), items).map(lambda k: {"type": "array", "items": k})
    plain = PLAIN | FOREIGN if foreign else PLAIN
    record = records(plain, "R", "abcd")
    extra = st.lists(st.sampled_from(["e", "f"]), max_size=2, unique=True)
    return st.tuples(record, extra, ENUMS, arrays, st.booleans(), st.booleans()).map(_with_extra)


def _with_extra(parts: tuple[Any, ...]) -> dict[str, Any]:
    record, extra, symbols, array, has_default, first = parts
    added = [{"name": name, "type": symbols if name == "e" else array} for name in extra]
    added = [field | ({"default": default(field["type"])} if has_default else {}) for field in added]
    return record | {"fields": [*added, *record["fields"]] if first else [*record["fields"], *added]}
