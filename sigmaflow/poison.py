"""`make poison`: one tick in a hundred is replaced by something bad. Each must end in the dead-letter topic with its
place and reason, and everything else must be as if it had never been there.

"As if never there" is checked by bytes: the log is computed once more with each bad record replaced by an empty one.
"""
from __future__ import annotations

import math
import random
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import schemas
from connectors.confirmed import ConfirmedWriter
from connectors.market.simulator import Config, generate
from connectors.registry import value_schema_id
from connectors.ticks import TickEncoder
from jobs.chain.messages import RecordReader, RecordWriter
from jobs.chain.shard import DEAD, TICKS
from sigmaflow import verify
from sigmaflow.audit.check import audit
from sigmaflow.audit.log import read as read_log
from sigmaflow.output import console
from sigmaflow.runs import Run
from sigmaflow.settings import load
from sigmaflow.tally import Tally
from udfs.profiles import NS

SHARE = 0.01
MEGABYTE = 1_000_000
CONFIRM_S = 60
"""Longest wait for the broker to take a record."""
Tick = dict[str, Any]

BYTES: dict[str, Callable[[bytes], bytes | None]] = {
    "wrong magic byte": lambda raw: b"\1" + raw[1:],
    "unknown schema id": lambda raw: b"\0" + struct.pack(">I", 4_000_000_000) + raw[5:],
    "truncated": lambda raw: raw[:-3],
    "1 MB record": lambda raw: raw + b"\0" * (MEGABYTE - len(raw)),
    "null value": lambda raw: None,
    "bad UTF-8": lambda raw: raw.replace(b"SIM", b"S\xff\xfe", 1),
}
"""Damage to the bytes of a good tick."""

FIELDS: dict[str, Callable[[Tick], Tick]] = {
    "NaN": lambda t: {"bid": math.nan}, "infinity": lambda t: {"ask": math.inf},
    "minus infinity": lambda t: {"bid_size": -math.inf}, "huge": lambda t: {"ask_size": 1.7e308},
    "negative price": lambda t: {"bid": -t["bid"]}, "zero price": lambda t: {"bid": 0.0, "ask": 0.0},
    "zero size": lambda t: {"ask_size": 0.0}, "crossed": lambda t: {"bid": t["ask"] + 1},
    "seq of the one before": lambda t: {"seq": t["seq"] - 1}, "seq far behind": lambda t: {"seq": 1},
    "two hours ahead": lambda t: {"ts_event": t["ts_event"] + 7_200 * NS},
    "a day back": lambda t: {"ts_event": t["ts_event"] - 86_400 * NS},
    "seq above 2^53": lambda t: {"seq": 2**53 + t["seq"]}, "no symbol": lambda t: {"symbol": ""},
    "both times two hours after now": lambda t: dict.fromkeys(("ts_event", "ts_recv"), time.time_ns() + 7_200 * NS),
}
"""Changes of a good tick's fields."""


def run(ticks: int = 20_000, seed: int = 7, jobs: str = "one") -> bool:
    """Poison a log, run the chain over it, check and print; whether everything was as it must be."""
    tally, settings = Tally(), load()
    with Run("poison", "default", jobs, taps="all", settings=settings) as r:
        placed = _send(r, ticks, seed)
        r.settle()
        missing, wrong = _unaccounted(verify.opened(settings, r.namespace), placed)
        verdict = verify.check(settings, r.namespace, change=_without(placed))
        report = audit(read_log(settings, r.namespace), complete=True)
    letters = [d for d in verdict.differences if DEAD not in d.position]
    for line in (*wrong[:5], *letters[:5], *report.findings[:5]):
        console().print(f"[red]wrong[/] {line}")
    console().print(f"{len(placed):,} of {ticks:,} records were bad, of {len(BYTES) + len(FIELDS)} kinds")
    tally.cases, tally.lost, tally.doubled = len(placed), missing, verdict.doubled
    tally.differing, tally.found = len(letters) + len(wrong), report.found
    print(tally.line(), flush=True)
    return tally.clean


def _send(r: Run, ticks: int, seed: int) -> dict[tuple[int, int], str]:
    """Write the log; the kind of every bad record by partition and offset."""
    records = list(_records(ticks, random.Random(seed), value_schema_id(TICKS, r.settings)))
    writer = ConfirmedWriter(r.settings.kafka.bootstrap, CONFIRM_S, {
        "compression.type": "lz4", "partitioner": "murmur2_random", "message.max.bytes": 2 * MEGABYTE})
    placed = writer.write(r.topic(TICKS), ((key, value) for key, value, _ in records))
    return {(m.partition(), m.offset()): kind for m, (_, _, kind) in zip(placed, records, strict=True) if kind}


def _records(ticks: int, rng: random.Random, schema_id: int) -> Iterator[tuple[bytes, bytes | None, str]]:
    """Key, value and kind of each record; an empty kind for a good one."""
    kinds = [*BYTES, *FIELDS]
    encoder, writer = TickEncoder(schema_id), RecordWriter(TICKS, schema_id)
    reader = RecordReader({schema_id: _tick_schema()})
    count, number = 0, 0
    for chunk in generate(Config(seed=rng.randrange(1 << 30), count=ticks, first_seq=1_000)):
        for key, raw in zip(*encoder.encode(chunk), strict=True):
            count += 1
            if count < 100 or rng.random() >= SHARE:
                yield key, raw, ""
                continue
            kind = kinds[number % len(kinds)]
            number += 1
            if kind in BYTES:
                yield key, BYTES[kind](raw), kind
            else:
                tick = reader.read(raw)
                yield key, writer.write(tick | FIELDS[kind](tick)), kind


def _tick_schema() -> dict[str, Any]:
    return schemas.load(schemas.topics()[TICKS].schema)


def _unaccounted(recorded: verify.Recorded, placed: dict[tuple[int, int], str]) -> tuple[int, list[str]]:
    """(bad records without a dead letter, what is wrong with dead letters)."""
    bad = {(p, r.offset): r.value or b"" for p in recorded.log.partitions(TICKS) for r in recorded.log.stream(TICKS, p)
           if (p, r.offset) in placed}
    met, wrong = set[tuple[int, int]](), list[str]()
    for letter in recorded.rows(DEAD):
        place = letter["partition"], letter["offset"]
        met.add(place)
        if place not in placed:
            wrong.append(f"a dead letter ({letter['reason']}) for a good tick at {place}")
        elif letter["payload"] != bad[place] or not letter["reason"]:
            wrong.append(f"the dead letter of {placed[place]} at {place} is without its bytes or reason")
    return len(placed.keys() - met), wrong


def _without(placed: dict[tuple[int, int], str]) -> verify.Change:
    """An empty record in place of every bad one."""
    return lambda partition, record: b"" if (partition, record.offset) in placed else record.value
