"""Avro's schema resolution, worked out once for a writer and a reader: a program that the codec's loop follows.

https://avro.apache.org/docs/1.11.1/specification/#schema-resolution. An operation takes one primitive of the writer
and puts it into a column of the reader, or writes a default of the reader. Two things are laxer than Avro: a reader
with int for long, without null, or with fewer enum symbols takes the values that it has a place for and refuses the
others one by one, so that old code goes on beside new writers; and names of records and enums are not compared.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from schemas.compatibility import DEFAULT, NAME, NULL, SYMBOL, TYPE, Mismatch, mismatches, type_of
from schemas.layout import (
    ARRAY_END,
    ARRAY_START,
    BOOLEAN,
    DOUBLE,
    LONG,
    MAX_ITEMS,
    NULL_LONG,
    NULLABLE_DOUBLE,
    NULLABLE_LONG,
    SKIP,
    STRING,
    unsupported,
)
from sigmaflow.errors import UserError

BYTES, FLOAT, ENUM, LONG_AS_DOUBLE, OPTION, REQUIRED = range(20, 26)
"""Operations beside the kinds of layout.py: bytes that need not be text, a float, an enum whose numbers change, a whole
number into a column of doubles, a union with null whose null is stored or skipped, one whose null is refused.
"""
DEFAULT_LONG, DEFAULT_DOUBLE, DEFAULT_ITEM, DEFAULT_TEXT = range(30, 34)
"""Operations that read nothing and write the reader's default."""

OK, BAD_MAGIC, UNKNOWN_SCHEMA, TRUNCATED, TRAILING, BAD_TEXT, NULL_VALUE, UNRESOLVED = range(8)
"""Verdicts of `Decoder.decode` for one message. UNRESOLVED: well-formed, but the reader has no place for a value."""

INT = (-(2**31), 2**31 - 1)
LONGEST = 2**63 - 1
NO_SYMBOL = -1


class Operation(NamedTuple):
    """One step: what to do, the column it fills, and numbers that depend on the kind.

    Whole numbers outside `low` to `high` get the verdict `outside`. ENUM: `low` is where its numbers start in the
    table, `high` its last number. OPTION and REQUIRED: `low` is the branch of null. DEFAULT_TEXT: start and length in
    the text of defaults. DEFAULT_ITEM: `low` is the item, or SKIP for the present one. `number`: a default.
    """

    kind: int
    target: int = SKIP
    low: int = 0
    high: int = 0
    outside: int = OK
    number: float = 0.0


@dataclass
class Resolution:
    """Programs of all writers for one reader. `places` maps each column to its number among those of its kind."""

    reader: Mapping[str, Any]
    places: Mapping[str, int]
    table: list[int] = field(default_factory=list)
    """Reader's number of each symbol of a writer's enum, one enum after the other."""
    text: bytearray = field(default_factory=bytearray)
    """Defaults of strings, one after the other."""

    def program(self, schema_id: int, writer: Mapping[str, Any]) -> list[Operation]:
        """Operations for messages of a writer. Raises UserError where the reader can read none of its messages."""
        for mismatch in mismatches(writer, self.reader):
            if not _by_value(mismatch):
                raise UserError("decode", f"{self.reader['name']} must be readable as schema id {schema_id} wrote it",
                                f"field {mismatch.path} {_found(mismatch)}",
                                "run the version of the code that goes with that schema, or read another topic")
        return self._record(writer, self.reader, "")

    def _record(self, writer: Mapping[str, Any], reader: Any, prefix: str) -> list[Operation]:
        wanted = {f["name"]: f for f in reader["fields"]} if reader else {}
        out = []
        for f in writer["fields"]:
            known = wanted.pop(f["name"], None)
            out += self._value(f["type"], known and known["type"], prefix + f["name"])
        return out + [o for f in wanted.values() for o in self._default(f["type"], f["default"], prefix + f["name"])]

    def _value(self, writer: Any, reader: Any, name: str) -> list[Operation]:
        """Operations for one value; `reader` is None where the value is skipped."""
        kind, target = type_of(writer), SKIP if reader is None else self.places.get(name, SKIP)
        if kind == "union":
            return self._union(writer, reader, name)
        if kind == "array":
            return self._array(writer, reader, name)
        if kind == "record" and reader is None:
            return self._record(writer, None, f"{name}.")
        if kind == "enum":
            return [self._enum(writer, reader, target)]
        if kind in ("int", "long"):
            return [_whole(kind, reader, target)]
        if kind in ("string", "bytes"):
            return [Operation(BYTES if kind == "bytes" and reader in ("bytes", None) else STRING, target)]
        if kind in ("double", "float", "boolean"):
            return [Operation({"double": DOUBLE, "float": FLOAT, "boolean": BOOLEAN}[kind], target)]
        raise unsupported(name, writer)

    def _union(self, writer: list[Any], reader: Any, name: str) -> list[Operation]:
        if sorted(type_of(branch) == "null" for branch in writer) != [False, True]:
            raise unsupported(name, writer)
        held, null = _present(writer), writer.index("null")
        value = self._value(held, reader, name)
        if len(value) != 1:
            raise unsupported(name, writer)
        first, nullable = value[0], isinstance(reader, list)
        if null == 0 and first.kind in (LONG, DOUBLE) and type_of(held) != "enum" and (nullable or reader is None):
            kind = NULLABLE_LONG if first.kind == LONG else NULLABLE_DOUBLE
            return [first._replace(kind=kind)]
        refused = reader is not None and not nullable
        return [Operation(REQUIRED if refused else OPTION, first.target, low=null), first]

    def _array(self, writer: Mapping[str, Any], reader: Any, name: str) -> list[Operation]:
        items, wanted = writer["items"], None if reader is None else reader["items"]
        if type_of(items) == "record":
            body = self._record(items, wanted, f"{name}.")
        else:
            body = self._value(items, wanted, name)
        if any(o.kind == ARRAY_START for o in body):
            raise unsupported(name, writer)
        count = SKIP if reader is None else self.places.get(f"{name}.count", SKIP)
        return [Operation(ARRAY_START, count), *body, Operation(ARRAY_END)]

    def _enum(self, writer: Mapping[str, Any], reader: Any, target: int) -> Operation:
        symbols, last = writer["symbols"], len(writer["symbols"]) - 1
        known = symbols if reader is None else reader["symbols"]
        if known[:last + 1] == symbols:
            return Operation(LONG, target, 0, last, TRUNCATED)
        other = known.index(reader["default"]) if "default" in reader else NO_SYMBOL
        self.table += [known.index(symbol) if symbol in known else other for symbol in symbols]
        return Operation(ENUM, target, len(self.table) - last - 1, last, TRUNCATED)

    def _default(self, kind: Any, value: Any, name: str, item: int = SKIP) -> list[Operation]:
        """Operations that write a default; `item` numbers an item of an array's default."""
        if type_of(kind) == "array":
            return self._default_array(kind["items"], value, name)
        if name not in self.places:
            return []
        target = self.places[name]
        if type_of(kind) in ("string", "bytes"):
            held = value.encode("utf-8" if type_of(kind) == "string" else "latin-1")
            self.text += held
            return [Operation(DEFAULT_TEXT, target, len(self.text) - len(held), len(held))]
        number = _number(kind, value)
        if item != SKIP or "." in name:
            return [Operation(DEFAULT_ITEM, target, item, number=float(number))]
        if type_of(_present(kind)) == "double":
            return [Operation(DEFAULT_DOUBLE, target, number=float(number))]
        return [Operation(DEFAULT_LONG, target, int(number))]

    def _default_array(self, items: Any, values: list[Any], name: str) -> list[Operation]:
        if len(values) > MAX_ITEMS:
            raise UserError("schemas", f"the default of {name} must have at most {MAX_ITEMS} items",
                            f"it has {len(values)}", "shorten it")
        out = [Operation(DEFAULT_LONG, self.places[f"{name}.count"], len(values))]
        for n, value in enumerate(values):
            if type_of(items) == "record":
                held = [(f["type"], value.get(f["name"], f.get("default")), f["name"]) for f in items["fields"]]
                out += [o for kind, part, f in held for o in self._default(kind, part, f"{name}.{f}", n)]
            else:
                out += self._default(items, value, name, n)
        return out


def _by_value(mismatch: Mismatch) -> bool:
    """Whether only some values are unreadable, or none: the program refuses those one by one."""
    narrowed = (mismatch.rule, mismatch.writer, mismatch.reader) == (TYPE, "long", "int")
    return narrowed or mismatch.rule in (SYMBOL, NULL, NAME)


def _found(mismatch: Mismatch) -> str:
    if mismatch.rule == DEFAULT:
        return "was not written and has no default"
    return f"was written as {mismatch.writer}, which does not promote to {mismatch.reader}"


def _present(kind: Any) -> Any:
    """The branch of a union that is not null; any other type itself."""
    return next(branch for branch in kind if branch != "null") if isinstance(kind, list) else kind


def _whole(writer: str, reader: Any, target: int) -> Operation:
    """An int or long into a column of whole numbers or of doubles."""
    wanted = type_of(_present(reader)) if reader is not None else writer
    kind = LONG_AS_DOUBLE if wanted == "double" else LONG
    if writer == "int":
        return Operation(kind, target, *INT, outside=TRUNCATED)
    if wanted == "int":
        return Operation(kind, target, *INT, outside=UNRESOLVED)
    nullable = isinstance(reader, list) and kind == LONG
    return Operation(kind, target, NULL_LONG + nullable, LONGEST, outside=UNRESOLVED)


def _number(kind: Any, value: Any) -> float:
    """A default as its column holds it."""
    if type_of(kind) == "enum":
        return int(kind["symbols"].index(value))
    if value is None:
        return np.nan if type_of(_present(kind)) == "double" else NULL_LONG
    return value if isinstance(value, float) else int(value)
