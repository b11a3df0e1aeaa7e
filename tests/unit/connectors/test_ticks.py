"""Ticks on the wire: the bytes are those of fastavro, whatever the tick holds."""

from __future__ import annotations

import io
import math
import struct
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from connectors.market.columns import COLUMNS, INTEGERS, Ticks, empty
from connectors.ticks import TickEncoder, TickWriter
from sigmaflow.errors import UserError
from sigmaflow.settings import Kafka, load

SCHEMA_ID = 70_000
SIDES = ("UNKNOWN", "BUY", "SELL")
PARSED = fastavro.parse_schema(schemas.load("tick"))

longs = st.integers(-(2**63), 2**63 - 1)
doubles = st.floats(width=64)
names = st.text(st.characters(codec="utf-8"), max_size=20)
rows = st.fixed_dictionaries({
    "instrument": st.integers(0, 2), "seq": longs, "ts_event": longs, "ts_recv": longs, "bid": doubles, "ask": doubles,
    "bid_size": doubles, "ask_size": doubles, "last_price": doubles, "last_size": doubles,
    "last_side": st.integers(0, 2), "flags": st.integers(-(2**31), 2**31 - 1)})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(names, names), min_size=3, max_size=3), st.lists(rows, max_size=20))
def test_bytes_are_those_of_fastavro(instruments: list[tuple[str, str]], held: list[dict[str, Any]]) -> None:
    keys, values = TickEncoder(SCHEMA_ID).encode(ticks_of(tuple(instruments), held))
    assert values == [fastavro_bytes(instruments, row) for row in held]
    assert keys == [":".join(instruments[row["instrument"]]).encode() for row in held]


def test_instruments_may_become_more() -> None:
    encoder = TickEncoder(SCHEMA_ID)
    row = dict.fromkeys(COLUMNS, 1)
    encoder.encode(ticks_of((("A", "X"), ("A", "Y")), [row]))
    keys, _ = encoder.encode(ticks_of((("A", "X"), ("A", "Y"), ("B", "Z")), [row | {"instrument": 2}]))
    assert keys == [b"B:Z"]


def test_no_tick_is_no_message() -> None:
    assert TickEncoder(SCHEMA_ID).encode(empty((("A", "X"),))) == ([], [])


def ticks_of(instruments: tuple[tuple[str, str], ...], held: list[dict[str, Any]]) -> Ticks:
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in held], np.int64 if name in INTEGERS else np.float64) for name in COLUMNS}
    return Ticks(instruments, **columns)


def fastavro_bytes(instruments: list[tuple[str, str]], row: dict[str, Any]) -> bytes:
    venue, symbol = instruments[row["instrument"]]
    message = row | {"venue": venue, "symbol": symbol, "last_side": SIDES[row["last_side"]]}
    for name in ("last_price", "last_size"):
        message[name] = None if math.isnan(row[name]) else row[name]
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, PARSED, message)
    return struct.pack(">bI", 0, SCHEMA_ID) + stream.getvalue()


def test_an_unreachable_broker_is_told_at_once() -> None:
    with pytest.raises(UserError, match=r"Kafka must answer at 127.0.0.1:1, but it does not .*; start the stack"):
        TickWriter(load().model_copy(update={"kafka": Kafka(port=1, controller_port=2, heap_mb=256)}))
