"""Messages of other versions: the columns are those of fastavro's resolution, or a verdict or an error says why not."""
from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from schemas import codec, versions
from schemas.codec import Decoder
from schemas.compatibility import mismatches
from schemas.layout import MAX_ITEMS
from sigmaflow.errors import UserError
from tests import avro


def record(*fields: tuple[Any, ...]) -> dict[str, Any]:
    """A record of (name, type) or (name, type, default) fields."""
    made = [{"name": f[0], "type": f[1]} | ({"default": f[2]} if len(f) > 2 else {}) for f in fields]
    return copy.deepcopy({"type": "record", "name": "R", "fields": made})


def assert_as_fastavro(writer: dict[str, Any], reader: dict[str, Any], decoder: Decoder) -> None:
    """Every sample of a writer has fastavro's values, or is refused where fastavro refuses it."""
    rows = avro.samples(writer)
    messages = [avro.write(writer, row) for row in rows]
    batch = decoder.decode(messages)
    for n, message in enumerate(messages):
        try:
            wanted = avro.resolved(message, writer, reader)
        except Exception:
            if not taken_by_value(writer, reader):
                assert batch.verdict[n] in (codec.UNRESOLVED, codec.BAD_TEXT), rows[n]
            continue
        assert batch.verdict[n] == codec.OK, rows[n]
        for field in reader["fields"]:
            for column, value in avro.cells(field["type"], wanted[field["name"]], field["name"]).items():
                assert avro.same(avro.cell(batch.columns[column], n), value), (column, rows[n])


def taken_by_value(writer: dict[str, Any], reader: dict[str, Any]) -> bool:
    """Whether a long is read as an int, which fastavro never does and the codec does where the value fits."""
    return any((m.writer, m.reader) == ("long", "int") for m in mismatches(writer, reader))


@settings(max_examples=150, deadline=None)
@given(avro.versions(foreign=True), avro.versions(foreign=False))
def test_columns_are_those_of_fastavros_resolution(writer: dict[str, Any], reader: dict[str, Any]) -> None:
    try:
        decoder = Decoder(reader, {1: writer})
    except UserError:
        assert any(mismatches(writer, reader))
    else:
        assert_as_fastavro(writer, reader, decoder)


@settings(max_examples=150, deadline=None)
@given(avro.versions(foreign=True), st.data())
def test_a_newer_reader_of_every_field(writer: dict[str, Any], data: st.DataObject) -> None:
    """Readers near their writer: fields reordered, dropped, widened, nullable, with others' defaults."""
    kept = data.draw(st.permutations(writer["fields"]).map(lambda f: f[:data.draw(st.integers(0, len(f)))]))
    added = data.draw(avro.versions(foreign=False))["fields"]
    names = {field["name"] for field in writer["fields"]}
    added = [field for field in added if field["name"] not in names and "default" in field]
    kept = [wider(field) for field in kept if field["type"] not in NO_COLUMN]
    reader = copy.deepcopy(writer | {"fields": kept + added})
    assert not any(mismatches(writer, reader))
    assert_as_fastavro(writer, reader, Decoder(reader, {1: writer}))


WIDER = {"int": ["null", "double"], "long": "double", "float": "double", "string": "bytes",
         "['null', 'float']": ["null", "double"], "['null', 'int']": ["null", "long"],
         "['long', 'null']": ["null", "double"], "['double', 'null']": ["null", "double"]}
NO_COLUMN = (["null", "string"], ["string", "null"], ["null", "boolean"])


def wider(field: dict[str, Any]) -> dict[str, Any]:
    """A field with a type that takes all its values and that columns can hold; no default."""
    kind = WIDER.get(str(field["type"]), field["type"])
    if isinstance(kind, dict) and kind["type"] == "enum":
        kind = kind | {"symbols": [*reversed(kind["symbols"]), "Z"]}
    return {"name": field["name"], "type": kind}


@pytest.mark.parametrize("name", sorted({topic.schema for topic in schemas.topics().values()}))
def test_a_log_of_any_recorded_version_can_be_read(name: str) -> None:
    reader = schemas.load(name)
    for writer in versions.past(name).values():
        assert_as_fastavro(writer, reader, Decoder(reader, {1: writer}))


def test_an_enum_goes_by_symbol_and_an_unknown_one_takes_the_default() -> None:
    newer = record(("side", avro.enum(["SELL", "HALT", "BUY"], False)))
    messages = [avro.write(newer, {"side": side}) for side in ("SELL", "HALT", "BUY")]
    with_default = record(("side", avro.enum(["NONE", "BUY", "SELL"], True)))
    batch = Decoder(with_default, {1: newer}).decode(messages)
    assert batch.columns["side"].tolist() == [2, 0, 1]  # type: ignore[union-attr]
    assert batch.verdict.tolist() == [codec.OK] * 3
    without = record(("side", avro.enum(["BUY", "SELL"], False)))
    batch = Decoder(without, {1: newer}).decode(messages)
    assert batch.verdict.tolist() == [codec.OK, codec.UNRESOLVED, codec.OK]
    assert batch.columns["side"][[0, 2]].tolist() == [1, 0]  # type: ignore[index]


def test_old_code_reads_a_widened_number_while_it_fits() -> None:
    decoder = Decoder(record(("n", "int")), {1: record(("n", "long"))})
    values = [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 7]
    batch = decoder.decode([avro.write(record(("n", "long")), {"n": n}) for n in values])
    assert batch.verdict.tolist() == [0, codec.UNRESOLVED, 0, codec.UNRESOLVED, 0]
    assert batch.columns["n"][[0, 2, 4]].tolist() == [2**31 - 1, -(2**31), 7]  # type: ignore[index]


def test_versions_mix_in_one_batch() -> None:
    first, second = record(("a", "int")), record(("b", "string", "né"), ("a", "int"))
    third = record(("c", {"type": "array", "items": "double"}, [1.5, 2.5]), ("b", "bytes", "x"), ("a", "long"))
    rows = [(1, first, {"a": 1}), (3, third, {"a": 3, "b": b"three", "c": [9.0]}),
            (2, second, {"a": 2, "b": "two"}), (1, first, {"a": 4})]
    batch = Decoder(third, {1: first, 2: second, 3: third}).decode([avro.write(s, r, n) for n, s, r in rows])
    c: dict[str, Any] = batch.columns
    assert not batch.verdict.any()
    assert c["a"].tolist() == [1, 3, 2, 4]
    assert [c["b"].at(n) for n in range(4)] == [b"x", b"three", b"two", b"x"]
    assert c["c.count"].tolist() == [2, 1, 2, 2]
    assert c["c"].tolist() == [[1.5, 2.5], [9.0, 0.0], [1.5, 2.5], [1.5, 2.5]]


@pytest.mark.parametrize(("writer", "reader", "words"), [
    (record(("a", "int")), record(("a", "int"), ("b", "int")), "field b was not written"),
    (record(("a", "double")), record(("a", "long")), "field a was written as double"),
    (record(("a", "string")), record(("a", "double")), "field a was written as string"),
    (record(("a", {"type": "array", "items": "string"})), record(("a", {"type": "array", "items": "long"})), "field a"),
    (record(("a", "int")), record(("a", "float")), "field a must be of a type that columns can hold"),
    (record(("a", {"type": "map", "values": "int"})), record(("b", "int", 0)), "field a must be of a type"),
    (record(("a", ["null", "int", "string"])), record(("b", "int", 0)), "field a must be of a type"),
    (record(("b", "int")), record(("a", {"type": "array", "items": "long"}, [0] * (MAX_ITEMS + 1))), "at most 32"),
])
def test_what_can_never_be_read_is_refused_with_the_field(writer: Any, reader: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Decoder(reader, {1: writer})


def test_bytes_need_not_be_text_but_a_string_must_be() -> None:
    raw, text = record(("a", "bytes")), record(("a", "string"))
    messages = [avro.write(raw, {"a": b"\xff\xfe"}), avro.write(raw, {"a": "é".encode()})]
    assert Decoder(raw, {1: raw}).decode(messages).verdict.tolist() == [codec.OK, codec.OK]
    for reader, writer in ((text, raw), (raw, text), (text, text)):
        assert Decoder(reader, {1: writer}).decode(messages).verdict.tolist() == [codec.BAD_TEXT, codec.OK]


def test_a_version_that_appears_later_is_asked_for_and_then_known() -> None:
    old, new, apart = record(("a", "int")), record(("a", "int"), ("b", "long", 7)), record(("a", "string"))
    there: dict[int, dict[str, Any]] = {}
    asked: list[int] = []

    def find(schema_id: int) -> dict[str, Any] | None:
        asked.append(schema_id)
        return there.get(schema_id)

    decoder = Decoder(old, {1: old}, find)
    messages = [avro.write(old, {"a": 1}), avro.write(new, {"a": 2, "b": 3}, 2), avro.write(apart, {"a": "x"}, 3)]
    assert decoder.decode(messages).verdict.tolist() == [codec.OK, codec.UNKNOWN_SCHEMA, codec.UNKNOWN_SCHEMA]
    there |= {2: new, 3: apart}
    batch = decoder.decode(messages)
    assert batch.verdict.tolist() == [codec.OK, codec.OK, codec.UNKNOWN_SCHEMA]
    assert batch.columns["a"][:2].tolist() == [1, 2]  # type: ignore[index]
    decoder.decode(messages[:2])
    assert asked == [2, 3, 2, 3]
