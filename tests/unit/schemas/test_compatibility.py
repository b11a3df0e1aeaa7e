"""The rules of evolution against fastavro's resolution, the check over recorded versions, the tree's history."""
from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import schemas
from schemas import compatibility, versions
from schemas.compatibility import main, mismatches, problems
from sigmaflow.errors import UserError
from tests import avro

GATE = {"type": "record", "name": "Gate", "fields": [
    {"name": "gate", "type": {"type": "enum", "name": "GateName", "symbols": ["warm", "cost"]}},
    {"name": "limit", "type": "double"}]}
ORDER = {"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "int"}, {"name": "note", "type": "string", "default": ""},
    {"name": "price", "type": ["null", "double"], "default": None},
    {"name": "side", "type": avro.enum(["NONE", "BUY"], True)},
    {"name": "gates", "type": {"type": "array", "items": GATE}}]}


def changed(path: str, **change: Any) -> dict[str, Any]:
    """The order with other properties of one field, or without it."""
    order = copy.deepcopy(ORDER)
    name, _, inner = path.partition(".")
    rows: Any = order["fields"]
    if inner:
        rows, name = rows[-1]["type"]["items"]["fields"], inner
    row = next((row for row in rows if row["name"] == name), None)
    if row is None:
        rows.append({"name": name} | change)
    elif change:
        row |= change
    else:
        rows.remove(row)
    return order


ALLOWED = {
    "a field added with a default": changed("fee", type="double", default=0.0),
    "an array added with a default": changed("legs", type={"type": "array", "items": "double"}, default=[]),
    "an item's field added with a default": changed("gates.reason", type="string", default=""),
    "a field with a default removed": changed("note"),
    "a symbol added to an enum with a default": changed("side", type=avro.enum(["NONE", "SELL", "BUY"], True)),
    "a symbol removed from one": changed("side", type=avro.enum(["NONE"], True)),
    "fields in another order": ORDER | {"fields": ORDER["fields"][::-1]},
    "a string that becomes bytes": changed("note", type="bytes"),
    "another default": changed("note", default="none"),
    "another text": ORDER | {"doc": "An order."},
}
def gate_names(*symbols: str) -> dict[str, Any]:
    """The order with other names of gates."""
    return changed("gates.gate", type={"type": "enum", "name": "GateName", "symbols": list(symbols)})


OTHER_NAME = avro.enum(["NONE", "BUY"], True) | {"name": "OrderSide"}
REFUSED = {
    "added without a default": (
        changed("fee", type="double"),
        ["fee: added without a default: a new reader could not read old messages"]),
    "removed, and had no default": (
        changed("gates.limit"),
        ["gates.limit: removed, and had no default: an old reader could not read new messages"]),
    "widened": (
        changed("id", type="long"), ["id: changed from int to long: an old reader could not read new messages"]),
    "narrowed": (changed("gates.limit", type="long"), ["gates.limit: changed from double to long: a new reader"]),
    "another type": (
        changed("note", type="double", default=0.0),
        ["note: changed from string to double: an old", "note: changed from string to double: a new"]),
    "symbol added": (
        gate_names("warm", "cost", "halt"), ["gates.gate: symbol halt added, and the enum had no default: an old"]),
    "symbol removed": (
        gate_names("warm"), ["gates.gate: symbol cost removed, and the enum has no default: a new reader"]),
    "may be null": (changed("gates.limit", type=["null", "double"]), ["gates.limit: may be null now: an old reader"]),
    "no longer null": (changed("price", type="double", default=0.0), ["price: may no longer be null: a new reader"]),
    "renamed": (
        changed("side", type=OTHER_NAME),
        ["side: its type renamed from E to OrderSide: an old", "side: its type renamed from E to OrderSide: a new"]),
    "record renamed": (ORDER | {"name": "Trade"}, ["the record: its type renamed", "the record: its type renamed"]),
}


@pytest.mark.parametrize("change", ALLOWED)
def test_a_change_that_may_be_made(change: str) -> None:
    assert problems(ORDER, ALLOWED[change]) == []
    assert read_by_fastavro(ORDER, ALLOWED[change]) and read_by_fastavro(ALLOWED[change], ORDER)


@pytest.mark.parametrize("change", REFUSED)
def test_a_change_that_may_not_names_field_and_rule(change: str) -> None:
    new, beginnings = REFUSED[change]
    found = [str(problem) for problem in problems(ORDER, new)]
    assert len(found) == len(beginnings)
    for line, beginning in zip(found, beginnings, strict=True):
        assert line.startswith(beginning) and "; " in line


def read_by_fastavro(writer: dict[str, Any], reader: dict[str, Any]) -> bool:
    """Whether fastavro's resolution reads every sample of the writer."""
    for row in avro.samples(writer):
        try:
            avro.resolved(avro.write(writer, row), writer, reader)
        except UnicodeDecodeError:  # bytes that are no text: a matter of the value, allowed by the rules
            continue
        except Exception:
            return False
    return True


@settings(max_examples=300, deadline=None)
@given(avro.versions(foreign=True), avro.versions(foreign=True))
def test_the_rules_are_fastavros(writer: dict[str, Any], reader: dict[str, Any]) -> None:
    assert read_by_fastavro(writer, reader) == (not any(mismatches(writer, reader)))


def test_the_contracts_are_their_newest_recorded_versions() -> None:
    assert compatibility.check() == []


def test_every_contract_is_on_record() -> None:
    assert versions.names() == sorted(path.stem for path in schemas.FOLDER.glob("*.avsc"))
    assert all(versions.past(name) for name in versions.names())


def put(folder: Path, schema: dict[str, Any]) -> None:
    """Write the order's contract."""
    (folder / "order.avsc").write_text(json.dumps(schema))


def test_versions_are_recorded_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, ORDER)
    with pytest.raises(UserError, match="order: not on record"):
        main([], tmp_path)
    main(["--record"], tmp_path)
    put(tmp_path, changed("fee", type="double", default=0.0))
    main(["--record"], tmp_path)
    main(["--record"], tmp_path)
    main([], tmp_path)
    assert capsys.readouterr().out.splitlines()[-1] == "2 versions, all compatible"
    assert versions.past("order", tmp_path) == {1: ORDER, 2: changed("fee", type="double", default=0.0)}


def test_an_incompatible_version_is_never_recorded(tmp_path: Path) -> None:
    put(tmp_path, ORDER)
    main(["--record"], tmp_path)
    put(tmp_path, changed("gates.limit"))
    with pytest.raises(UserError, match=r"order: version 1: gates\.limit: removed, and had no default"):
        main(["--record"], tmp_path)
    assert list(versions.past("order", tmp_path)) == [1]


def test_a_step_allowed_from_the_last_version_is_refused_by_an_earlier_one(tmp_path: Path) -> None:
    """Two steps cannot remove a field that had no default: readers of the first version still need it."""
    put(tmp_path, ORDER)
    main(["--record"], tmp_path)
    put(tmp_path, changed("id", type="int", default=0))
    main(["--record"], tmp_path)
    put(tmp_path, changed("id"))
    assert problems(versions.past("order", tmp_path)[2], changed("id")) == []
    with pytest.raises(UserError, match="order: version 1: id: removed"):
        main(["--record"], tmp_path)


def test_a_contract_that_is_gone_is_missed(tmp_path: Path) -> None:
    put(tmp_path, ORDER)
    main(["--record"], tmp_path)
    (tmp_path / "order.avsc").unlink()
    with pytest.raises(UserError, match=r"order\.avsc is gone"):
        main([], tmp_path)
