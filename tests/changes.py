"""One contract and changes to it: those that may be made, and those that may not with what is said of each."""
from __future__ import annotations

import copy
from typing import Any

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


ALLOWED: dict[str, dict[str, Any]] = {
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
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
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
