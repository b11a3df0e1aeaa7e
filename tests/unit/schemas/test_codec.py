"""The column codec against fastavro: same bytes, same values, other versions, and no bytes that it trips over."""
from __future__ import annotations

import copy
import io
import struct
from typing import Any

import fastavro
import numpy as np
import pytest

import schemas
from schemas import codec
from schemas.codec import Decoder, Encoder, fields
from schemas.packed import Text

NAMES = [topic.schema for topic in schemas.topics().values()]
ROWS, ITEMS, ID = 60, 4, 77
HEADER = struct.pack(">bI", 0, ID)
LONGS = [0, 1, -1, 63, 64, -64, -65, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63) + 1]
DOUBLES = [0.0, -0.0, 1.5, -1e300, 5e-324, np.inf, -np.inf, 0.1]
TEXTS = ["", "BTCUSDT", "é", "日本", "😀", "x" * 200]


def value(kind: Any, rng: np.random.Generator) -> Any:
    """A value of an Avro type, often one at an edge."""
    if isinstance(kind, list):
        return None if rng.random() < 0.3 else value(kind[1], rng)
    if isinstance(kind, dict) and kind["type"] == "enum":
        return str(rng.choice(kind["symbols"]))
    if isinstance(kind, dict) and kind["type"] == "array":
        whole = kind["items"] == "long"  # columns of items are doubles: whole numbers below 2**53
        return [int(rng.integers(2**53)) if whole else value(kind["items"], rng) for _ in range(ITEMS)]
    if isinstance(kind, dict):
        return {f["name"]: value(f["type"], rng) for f in kind["fields"]}
    if kind == "boolean":
        return bool(rng.random() < 0.5)
    if kind == "string":
        return str(rng.choice(TEXTS))
    if kind == "bytes":
        return str(rng.choice(TEXTS)).encode()
    if kind == "double":
        return float(rng.choice(DOUBLES) if rng.random() < 0.5 else rng.normal())
    edge = int(LONGS[rng.integers(len(LONGS))]) if rng.random() < 0.5 else int(rng.integers(-(2**31), 2**31))
    return edge if kind == "long" else max(-(2**31), min(2**31 - 1, edge))


def records(name: str, seed: int = 1) -> list[dict[str, Any]]:
    """Records of a schema. Items' names repeat from row to row, as alphas' and gates' do; their other fields do not."""
    rng = np.random.default_rng(seed)
    schema = schemas.load(name)
    made = [{f["name"]: value(f["type"], rng) for f in schema["fields"]} for _ in range(ROWS)]
    for f in schema["fields"]:
        if isinstance(f["type"], dict) and isinstance(f["type"].get("items"), dict):
            texts = [i["name"] for i in f["type"]["items"]["fields"] if i["type"] == "string"]
            longs = [i["name"] for i in f["type"]["items"]["fields"] if i["type"] in ("long", "int")]
            for row in made:
                for n, item in enumerate(row[f["name"]]):
                    item |= {text: f"name {n}" for text in texts} | {long: item[long] % 2**31 for long in longs}
    return made


def write(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    """One message by fastavro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return HEADER + out.getvalue()


def number(kind: Any, cell: Any) -> float:
    """An item of an array as its column holds it."""
    return float(kind["symbols"].index(cell) if isinstance(kind, dict) else cell)


def columns_of(schema: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Records as the columns that the encoder takes."""
    out: dict[str, Any] = {}
    for f in schema["fields"]:
        kind, name = f["type"], f["name"]
        cells = [row[name] for row in rows]
        if isinstance(kind, dict) and kind["type"] == "array":
            out[f"{name}.count"] = np.array([len(cell) for cell in cells])
            if isinstance(kind["items"], str):
                out[name] = np.array(cells, float)
            else:
                for item in kind["items"]["fields"]:
                    if item["type"] != "string":
                        out[f"{name}.{item['name']}"] = np.array([[number(item["type"], i[item["name"]]) for i in c]
                                                                  for c in cells], float)
        elif kind in ("string", "bytes"):
            out[name] = Text.table([cell.encode() if isinstance(cell, str) else cell for cell in cells])
        elif isinstance(kind, dict):
            out[name] = np.array([kind["symbols"].index(cell) for cell in cells])
        elif kind in ("double", ["null", "double"]):
            out[name] = np.array([np.nan if cell is None else cell for cell in cells], float)
        else:
            out[name] = np.array([codec.NULL_LONG if cell is None else int(cell) for cell in cells], np.int64)
    return out


def constants(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Names of array items by item."""
    return {f.name: [f"name {n}" for n in range(ITEMS)] for f in fields(schema) if f.array and f.kind == codec.STRING}


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_those_of_fastavro(name: str) -> None:
    schema, rows = schemas.load(name), records(name)
    made = Encoder(schema, ID, constants(schema)).encode(columns_of(schema, rows), ROWS)
    assert made.values() == [write(schema, row) for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_what_all_rows_have_needs_no_column(name: str) -> None:
    """Texts given with the encoder, numbers given once, columns of one row."""
    schema, row = schemas.load(name), records(name)[0]
    alone, columns = constants(schema), columns_of(schema, [row])
    for column, cells in list(columns.items()):
        if not isinstance(cells, Text):
            columns[column] = cells if cells.ndim > 1 else cells[0]
        elif isinstance(row[column], str):
            alone[column] = [columns.pop(column).at(0).decode()]
        else:
            columns[column] = cells.take(np.zeros(3, np.int64))
    made = Encoder(schema, ID, alone).encode(columns, 3)
    assert made.values() == 3 * [write(schema, row)]


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_those_that_fastavro_wrote(name: str) -> None:
    schema, rows = schemas.load(name), records(name, 2)
    batch = Decoder(schema, {ID: schema}).decode([write(schema, row) for row in rows])
    assert not batch.verdict.any()
    for column, wanted in columns_of(schema, rows).items():
        found = batch.columns[column]
        if isinstance(wanted, Text):
            assert [found.at(n) for n in range(ROWS)] == [wanted.at(n) for n in range(ROWS)]
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=column)
            if wanted.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused_and_so_is_every_surplus_byte(name: str) -> None:
    schema = schemas.load(name)
    message = write(schema, records(name, 3)[0])
    decoder = Decoder(schema, {ID: schema})
    cut = decoder.decode([message[:n] for n in range(len(message))]).verdict
    assert (cut != codec.OK).all()
    assert decoder.decode([message, message + b"\0", None, message]).verdict.tolist() == [
        codec.OK, codec.TRAILING, codec.NULL_VALUE, codec.OK]


@pytest.mark.parametrize("name", NAMES)
def test_garbage_never_crashes_and_never_spoils_its_neighbours(name: str) -> None:
    """Random bytes, and real messages with bytes changed: each gets a verdict, good ones keep their values."""
    schema, rng = schemas.load(name), np.random.default_rng(4)
    good = write(schema, records(name, 5)[0])
    spoilt = []
    for _ in range(2_000):
        body = bytearray(good)
        for at in rng.integers(5, len(good), rng.integers(1, 5)):
            body[at] = rng.integers(0, 256)
        spoilt += [bytes(body), HEADER + rng.bytes(int(rng.integers(0, 120)))]
    batch = Decoder(schema, {ID: schema}).decode([good, *spoilt, good])
    assert batch.verdict[0] == batch.verdict[-1] == codec.OK
    assert set(batch.verdict.tolist()) <= {codec.OK, codec.TRUNCATED, codec.TRAILING, codec.BAD_TEXT}
    alone = Decoder(schema, {ID: schema}).decode([good]).columns
    for column, wanted in alone.items():
        found = batch.columns[column]
        if isinstance(wanted, Text):
            assert isinstance(found, Text) and found.at(len(spoilt) + 1) == wanted.at(0)
        else:
            np.testing.assert_array_equal(found[-1].ravel()[:wanted[0].size], wanted[0].ravel())


def test_what_it_takes_fastavro_takes_too() -> None:
    """A verdict of OK means that a plain reader gets the same tick."""
    schema, rng = schemas.load("tick"), np.random.default_rng(6)
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    good, spoilt = write(schema, records("tick", 7)[0]), []
    for _ in range(3_000):
        body = bytearray(good)
        body[rng.integers(5, len(good))] = rng.integers(0, 256)
        spoilt.append(bytes(body))
    batch = Decoder(schema, {ID: schema}).decode(spoilt)
    taken = np.flatnonzero(batch.verdict == codec.OK)
    assert len(taken) > 500
    for row in taken.tolist():
        record = fastavro.schemaless_reader(io.BytesIO(spoilt[row][5:]), parsed)
        assert batch.columns["symbol"].at(row).decode() == record["symbol"]  # type: ignore[union-attr]
        assert batch.columns["seq"][row] == record["seq"]  # type: ignore[index]
        np.testing.assert_array_equal(batch.columns["bid"][row], record["bid"])  # type: ignore[index]


def test_a_reader_of_another_version() -> None:
    """A field added with a default is filled in, one that is gone is skipped, enums and nulls take their defaults."""
    schema, rows = schemas.load("tick"), records("tick", 8)
    gone = {"bid_size", "last_price", "last_side"}
    older = schema | {"fields": [f for f in schema["fields"] if f["name"] not in gone]
                      + [{"name": "legacy", "type": "string", "default": ""},
                         {"name": "marks", "type": {"type": "array", "items": "double"}, "default": []}]}
    newer = schema | {"fields": [*schema["fields"], {"name": "venue_time", "type": "long", "default": -7},
                                 {"name": "fee", "type": "double", "default": 0.25},
                                 {"name": "parent", "type": ["null", "long"], "default": None}]}
    newer["fields"][7] |= {"default": 9.5}
    old = [row | {"legacy": "gone", "marks": [1.0, 2.0]} for row in rows]
    messages = [struct.pack(">bI", 0, 1) + write(older, row)[5:] for row in old]
    messages += [struct.pack(">bI", 0, 2) + write(schema, row)[5:] for row in rows]
    batch = Decoder(newer, {1: older, 2: schema}).decode(messages)
    assert not batch.verdict.any()
    c: dict[str, Any] = batch.columns
    assert c["seq"].tolist() == [row["seq"] for row in rows] * 2
    assert [c["symbol"].at(n).decode() for n in range(2 * ROWS)] == [row["symbol"] for row in rows] * 2
    assert c["venue_time"].tolist() == [-7] * (2 * ROWS)
    assert c["last_side"][:ROWS].tolist() == [0] * ROWS
    assert np.isnan(c["last_price"][:ROWS]).all()
    assert c["fee"].tolist() == [0.25] * (2 * ROWS)
    assert c["parent"].tolist() == [codec.NULL_LONG] * (2 * ROWS)
    assert "legacy" not in c
