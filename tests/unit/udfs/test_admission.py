"""Admission: each rule refuses what it must with its reason and the original bytes, and nothing else."""
from __future__ import annotations

import io
import math
import struct
from dataclasses import replace
from typing import Any

import fastavro
import pytest

import schemas
from jobs.chain import plans
from jobs.chain.contracts import Contracts
from jobs.chain.inprocess import Memory, contracts
from jobs.chain.messages import MicroBatch
from jobs.chain.shard import DEAD, TICKS, ShardWorker, opened
from udfs import profiles
from udfs.profiles import NS
from udfs.stages import admission

START = 1_700_000_000 * NS
GOOD: dict[str, Any] = {
    "venue": "BINANCE", "symbol": "BTCUSDT", "seq": 1, "ts_event": START, "ts_recv": START, "bid": 99.0, "ask": 101.0,
    "bid_size": 2.0, "ask_size": 3.0, "last_price": None, "last_size": None, "last_side": "UNKNOWN", "flags": 0}
TICK = fastavro.parse_schema(schemas.load("tick"))


def message(**changed: Any) -> bytes:
    """A tick in the wire format."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, TICK, GOOD | changed)
    return struct.pack(">bI", 0, contracts().id(TICKS)) + out.getvalue()


def admit(*messages: bytes | None, worker: ShardWorker | None = None) -> tuple[list[dict], list[dict]]:
    """(features of accepted ticks, dead letters) of one micro-batch."""
    worker = worker or shard()
    out: dict[str, list[dict]] = {DEAD: [], "features.v1": []}
    for e in worker.process([MicroBatch(TICKS, 0, messages, range(7, 7 + len(messages)))]):
        schema = fastavro.parse_schema(schemas.load(schemas.topics()[e.topic].schema))
        out[e.topic] += [fastavro.schemaless_reader(io.BytesIO(value[5:]), schema) for value in e.values]
    return out["features.v1"], out[DEAD]


def shard(known: Contracts | None = None) -> ShardWorker:
    """The features job's worker, of one shard."""
    return opened(plans.shard("features", profiles.DEFAULT, known or contracts(), 1), None, {0: Memory()})


REFUSED: list[tuple[str, bytes | None]] = [
    ("bad_magic", b"\1" + message()[1:]),
    ("bad_magic", b"not a tick at all"),
    ("unknown_schema", b"\0" + struct.pack(">I", 4_000_000) + message()[5:]),
    ("truncated", message()[:-1]),
    ("truncated", message()[:5]),
    ("truncated", b""),
    ("trailing_bytes", message() + b"\0"),
    ("bad_text", message().replace(b"BTCUSDT", b"BTC\xffSDT")),
    ("null_value", None),
    ("bad_symbol", message(symbol="")),
    ("bad_symbol", message(venue="")),
    ("bad_symbol", message(symbol="X" * 65)),
    ("bad_symbol", message(venue="BIN:ANCE")),
    ("bad_symbol", message(symbol="BTC\0USDT")),
    *[("not_finite", message(**{field: value})) for field in ("bid", "ask", "bid_size", "ask_size")
      for value in (math.nan, math.inf, -math.inf)],
    *[("not_positive_price", message(**{field: value})) for field in ("bid", "ask") for value in (0.0, -1.0)],
    *[("not_positive_size", message(**{field: value})) for field in ("bid_size", "ask_size") for value in (0.0, -1.0)],
    ("crossed", message(bid=101.01)),
    ("time_ahead", message(ts_event=START + 60 * NS + 1)),
    *[("out_of_range", message(**{field: 1.1e15})) for field in ("ask", "bid_size", "ask_size", "last_price")],
    ("out_of_range", message(last_size=math.inf)),
    *[("seq_range", message(seq=seq)) for seq in (-1, 2**53 + 1, 2**63 - 1)],
]


@pytest.mark.parametrize(("reason", "raw"), REFUSED, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(REFUSED)])
def test_each_rule_alone(reason: str, raw: bytes | None) -> None:
    features, letters = admit(message(symbol="FIRST"), raw, message(symbol="LAST"))
    assert [row["symbol"] for row in features] == ["FIRST", "LAST"]
    assert len(letters) == 1
    letter = letters[0]
    assert (letter["reason"], letter["payload"]) == (reason, raw or b"")
    assert (letter["topic"], letter["partition"], letter["offset"]) == (TICKS, 0, 8)
    assert letter["stage"] == "admission" and letter["detail"]


def test_a_tick_from_after_its_record_was_written_is_refused_whatever_its_receive_time_says() -> None:
    """Both of its times are two hours ahead: accepted, it would make every later tick of the partition late."""
    ahead = START + 7_200 * NS
    raw = [message(symbol="A"), message(symbol="B", ts_event=ahead, ts_recv=ahead), message(symbol="C")]
    worker, written = shard(), START // NS
    out = worker.process([MicroBatch(TICKS, 0, raw, range(3), [written] * 3)])
    assert {e.topic: len(e.values) for e in out} == {DEAD: 1, "features.v1": 2}
    later = message(symbol="D", ts_event=START + 61 * NS, ts_recv=START + 61 * NS)
    late = worker.process([MicroBatch(TICKS, 0, [later], [3], [written])])
    assert {e.topic: len(e.values) for e in late} == {"features.v1": 1}


def test_every_reason_is_tested() -> None:
    tested = {reason for reason, _ in REFUSED} | {"duplicate", "time_behind", "unresolved"}
    assert {reason for reason, _ in admission.REASONS.values()} == tested


def test_a_newer_writers_value_that_this_code_has_no_place_for_is_refused_alone() -> None:
    """Flags have become long: what fits an int is a tick like any other."""
    newer = schemas.load("tick")
    newer["fields"][-1]["type"] = "long"
    held = contracts()
    known = replace(held, versions=held.versions | {TICKS: held.writers(TICKS) | {4_000_000: newer}})
    worker = shard(known)
    raw = [message(symbol=name, flags=flags) for name, flags in (("FITS", 2**31 - 1), ("ALSO", 1))]
    raw.insert(1, beyond(newer, flags=2**31))
    features, letters = admit(*[b"\0" + struct.pack(">I", 4_000_000) + row[5:] for row in raw], worker=worker)
    assert [row["symbol"] for row in features] == ["FITS", "ALSO"]
    assert [(row["reason"], row["offset"]) for row in letters] == [("unresolved", 8)]


def beyond(schema: dict[str, Any], **changed: Any) -> bytes:
    """A tick of another version in the wire format."""
    out = io.BytesIO(b"\0\0\0\0\0")
    out.seek(5)
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), GOOD | changed)
    return out.getvalue()


def test_what_is_just_within_bounds_is_accepted() -> None:
    features, letters = admit(
        message(symbol="LOCKED", bid=101.0), message(symbol="X" * 64), message(symbol="A:B"),
        message(symbol="AHEAD", ts_event=START + 60 * NS), message(symbol="BEHIND", ts_event=START),
        message(symbol="TINY", bid=5e-324, ask=5e-324), message(symbol="SEQ0", seq=0),
        message(symbol="LAST", seq=2**53))
    assert not letters
    assert [row["flags"] for row in features] == [admission.LOCKED, 0, 0, 0, 0, admission.LOCKED, 0, 0]


def test_repeats_and_older_ticks_are_duplicates_by_symbol() -> None:
    worker = shard()
    features, letters = admit(message(seq=5), message(seq=5), message(seq=4), message(symbol="OTHER", seq=5),
                              message(seq=6), worker=worker)
    assert [(row["symbol"], row["seq"]) for row in features] == [("BTCUSDT", 5), ("OTHER", 5), ("BTCUSDT", 6)]
    assert [letter["reason"] for letter in letters] == ["duplicate"] * 2
    assert admit(message(seq=6), worker=worker)[1][0]["reason"] == "duplicate"


def test_a_gap_is_passed_on_as_a_flag() -> None:
    features, _ = admit(message(seq=1), message(seq=3), message(seq=4), message(seq=6, flags=1, bid=101.0))
    assert [row["flags"] for row in features] == [0, admission.GAP, 0,
                                                  admission.GAP | admission.LOCKED | admission.RECEIVE_TIME]


def test_a_gap_that_the_source_knows_of_is_passed_on() -> None:
    features, _ = admit(message(seq=1), message(seq=2, flags=admission.GAP | admission.LOCKED), message(seq=3))
    assert [row["flags"] for row in features] == [0, admission.GAP, 0]


def test_a_stale_clock_is_measured_against_its_partition_and_does_not_use_up_its_seq() -> None:
    worker = shard()
    later = START + 100 * NS
    features, letters = admit(message(seq=1, ts_event=later, ts_recv=later), message(symbol="STALE", seq=1),
                              message(symbol="STALE", seq=1, ts_event=later - 60 * NS), worker=worker)
    assert [letter["reason"] for letter in letters] == ["time_behind"]
    assert [(row["symbol"], row["ts_event"] - START) for row in features] == [("BTCUSDT", 100 * NS),
                                                                             ("STALE", 40 * NS)]
    assert [row["ts_order"] for row in features] == [later, later]


def test_times_further_apart_than_a_signed_number_holds_are_out_of_bounds() -> None:
    first, last = -2**63, 2**63 - 1
    assert [letter["reason"] for letter in admit(message(ts_event=last, ts_recv=-1))[1]] == ["time_ahead"]
    assert [letter["reason"] for letter in admit(message(ts_event=last, ts_recv=first))[1]] == ["time_ahead"]
    assert [letter["reason"] for letter in admit(message(), message(seq=2, ts_event=first))[1]] == ["time_behind"]
    features, letters = admit(message(ts_event=START, ts_recv=last), message(symbol="NEXT"))
    assert len(features) == 2 and not letters


def test_a_tick_refused_by_itself_does_not_move_time() -> None:
    worker = shard()
    far = START + 10**6 * NS
    _, letters = admit(message(bid=-1.0, ts_event=far, ts_recv=far), message(), worker=worker)
    assert [letter["reason"] for letter in letters] == ["not_positive_price"]
