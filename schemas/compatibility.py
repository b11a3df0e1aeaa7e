"""Which changes a contract may make, and the check of every contract against all versions it ever had.

The rules are Avro's own (https://avro.apache.org/docs/1.11.1/specification/#schema-resolution), asked in both
directions and of every earlier version, which is what a registry calls FULL_TRANSITIVE. Aliases do not count: columns,
SQL tables and this project's readers go by a field's name. `python -m schemas.compatibility` runs the check.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import schemas
from schemas import versions

PROMOTIONS = {"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"},
              "string": {"bytes"}, "bytes": {"string"}}
"""Types that a reader may have where the writer has the key."""

SHOWN = 20
"""Lines that a user is shown at once."""

DEFAULT, SYMBOL, NULL, TYPE, NAME = "default", "symbol", "null", "type", "name"
"""Rules: a field needs a default, an enum a symbol or a default, a value must not be null, types and names must match.
"""


@dataclass(frozen=True)
class Mismatch:
    """Why a reader cannot take every message of a writer: where, by which rule, and the two sides of it."""

    path: str
    rule: str
    writer: str = ""
    reader: str = ""


def mismatches(writer: Any, reader: Any, path: str = "") -> Iterator[Mismatch]:
    """Everything that keeps `reader` from reading some message of `writer`; both are Avro schemas.

    >>> [m.rule for m in mismatches("int", "double")], [m.rule for m in mismatches("double", "int")]
    ([], ['type'])
    """
    kind = type_of(writer)
    if isinstance(writer, list) or isinstance(reader, list):
        yield from _unions(writer, reader, path)
    elif kind != type_of(reader):
        if type_of(reader) not in PROMOTIONS.get(kind, ()):
            yield Mismatch(path, TYPE, kind, type_of(reader))
    elif kind == "array":
        yield from mismatches(writer["items"], reader["items"], path)
    elif kind in ("record", "enum"):
        if writer["name"] != reader["name"]:
            yield Mismatch(path, NAME, writer["name"], reader["name"])
        yield from (_fields if kind == "record" else _symbols)(writer, reader, path)


def type_of(kind: Any) -> str:
    """Avro's name for a type: a primitive, `record`, `enum`, `array`, or `union`."""
    if isinstance(kind, list):
        return "union"
    return type_of(kind["type"]) if isinstance(kind, dict) else str(kind)


def _fields(writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
    written = {field["name"]: field["type"] for field in writer["fields"]}
    for field in reader["fields"]:
        inner = f"{path}.{field['name']}".lstrip(".")
        if field["name"] in written:
            yield from mismatches(written[field["name"]], field["type"], inner)
        elif "default" not in field:
            yield Mismatch(inner, DEFAULT)


def _symbols(writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
    unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if unknown and "default" not in reader:
        yield Mismatch(path, SYMBOL, ", ".join(unknown))


def _unions(writer: Any, reader: Any, path: str) -> Iterator[Mismatch]:
    """Each of the writer's branches must have one among the reader's that takes it."""
    taken = reader if isinstance(reader, list) else [reader]
    values = [branch for branch in taken if branch != "null"]
    for branch in writer if isinstance(writer, list) else [writer]:
        if branch == "null":
            if "null" not in taken:
                yield Mismatch(path, NULL)
        elif len(values) == 1:
            yield from mismatches(branch, values[0], path)
        elif all(any(mismatches(branch, value)) for value in values):
            yield Mismatch(path, TYPE, type_of(branch), type_of(reader))


@dataclass(frozen=True)
class Problem:
    """A change that may not be made: the field, the rule it breaks, and what to do instead."""

    path: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path or 'the record'}: {self.rule}; {self.remedy}"


OLD_READER = "an old reader could not read new messages"
NEW_READER = "a new reader could not read old messages"
NEW_TOPIC = "make a topic ending in .v2"
FORWARD = {
    DEFAULT: ("removed, and had no default", f"keep it, or {NEW_TOPIC}"),
    SYMBOL: ("symbol {writer} added, and the enum had no default", f"keep the symbols as they were, or {NEW_TOPIC}"),
    NULL: ("may be null now", f"add a nullable field with a default beside it, or {NEW_TOPIC}"),
    TYPE: ("changed from {reader} to {writer}",
           f"add a field of type {{writer}} with a default beside it, or {NEW_TOPIC}"),
    NAME: ("its type renamed from {reader} to {writer}", "keep the name {reader}"),
}
"""Rule to change and remedy where the reader is the old version."""
BACKWARD = {
    DEFAULT: ("added without a default", "give it a default"),
    SYMBOL: ("symbol {writer} removed, and the enum has no default", "keep the symbol, or give the enum a default"),
    NULL: ("may no longer be null", "keep null"),
    TYPE: ("changed from {writer} to {reader}", f"keep {{writer}}, or {NEW_TOPIC}"),
    NAME: ("its type renamed from {writer} to {reader}", "keep the name {writer}"),
}
"""The same where the reader is the new version."""


def problems(old: Any, new: Any) -> list[Problem]:
    """What keeps `new` from replacing `old` while both are in use; none where the change may be made.

    >>> def record(*fields): return {"type": "record", "name": "R", "fields": list(fields)}
    >>> price = {"name": "price", "type": "double"}
    >>> problems(record(price), record(price, {"name": "fee", "type": "double", "default": 0.0}))
    []
    >>> print(problems(record(price), record())[0].rule)
    removed, and had no default: an old reader could not read new messages
    """
    found = [_problem(m, FORWARD, OLD_READER) for m in mismatches(new, old)]
    return found + [_problem(m, BACKWARD, NEW_READER) for m in mismatches(old, new)]


def _problem(mismatch: Mismatch, words: Mapping[str, tuple[str, str]], result: str) -> Problem:
    change, remedy = (text.format(writer=mismatch.writer, reader=mismatch.reader) for text in words[mismatch.rule])
    return Problem(mismatch.path, f"{change}: {result}", remedy)


def against(new: Any, earlier: Mapping[int, Any], called: str = "version") -> list[str]:
    """Every problem of `new` with each earlier schema, as lines that name the version or id, field, rule and remedy."""
    return [f"{called} {number}: {problem}" for number, old in earlier.items() for problem in problems(old, new)]


def check(folder: Path = schemas.FOLDER) -> list[str]:
    """Every problem of a folder's contracts with their recorded versions, and contracts that differ from the newest."""
    out = []
    for name in versions.names(folder):
        past, new = versions.past(name, folder), versions.present(name, folder)
        if new is None:
            out.append(f"{name}: on record, but {name}.avsc is gone; keep it, so that its logs can be read")
            continue
        out += [f"{name}: {line}" for line in against(new, past)]
        if not past or past[max(past)] != new:
            out.append(f"{name}: not on record as it is; run `python -m schemas.compatibility --record`")
    return out


def record(folder: Path = schemas.FOLDER) -> list[str]:
    """Record every contract that is new or changed; gives what it wrote.

    Raises UserError, and records nothing, where a change may not be made.
    """
    held = {name: versions.present(name, folder) for name in versions.names(folder)}
    refuse([f"{name}: {line}" for name, new in held.items() if new is not None
            for line in against(new, versions.past(name, folder))])
    return [f"{name} {number}" for name in held if (number := versions.record(name, folder))]


def registered(url: str) -> list[str]:
    """Every problem of this code's contracts with a version in the registry at `url`.

    Raises UserError where the registry does not answer. A topic that is not registered yet has no problems.
    """
    from connectors.registry import Registry

    registry = Registry(url)
    return [f"{topic.subject}: {line}" for topic in schemas.topics().values()
            for line in against(schemas.load(topic.schema), registry.present(topic.subject), "schema id")]


def listed(found: list[str]) -> str:
    """Problems as lines for a user, the first few of many."""
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n  ".join(["it is not:", *found[:SHOWN], *more])


def refuse(found: list[str]) -> None:
    """Raise UserError where something was found, with what it is."""
    from sigmaflow.errors import UserError

    if found:
        raise UserError("schemas", "every contract must be FULL_TRANSITIVE with all its versions",
                        listed(found), "undo these changes, or do as the lines say")


def main(arguments: list[str] | None = None, folder: Path = schemas.FOLDER) -> None:
    """Check the contracts, or record them, and compare with a registry where asked."""
    parser = argparse.ArgumentParser(prog="python -m schemas.compatibility", description=__doc__)
    parser.add_argument("--record", action="store_true", help="add contracts that changed as new versions")
    parser.add_argument("--registry", metavar="URL", help="compare with all versions registered there, too")
    options = parser.parse_args(arguments)
    written = record(folder) if options.record else []
    refuse(check(folder) + (registered(options.registry) if options.registry else []))
    total = sum(len(versions.past(name, folder)) for name in versions.names(folder))
    print(*[f"recorded {line}" for line in written], f"{total} versions, all compatible", sep="\n")


if __name__ == "__main__":
    from connectors.command import run

    run(main)
