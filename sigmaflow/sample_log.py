"""A short log with everything in it, from the chain itself: what the auditor is tried on.

Seeded quotes of a few instruments, with bad and repeated ones, through the in-process chain under an eager profile, so
that a few hundred ticks make dozens of fills. The auditor itself does not import this: it sees the bytes.
"""
from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import Any

import fastavro
import numpy as np

import schemas
from jobs.chain import commands as commands_
from jobs.chain.chained import Chained
from jobs.chain.commands import Ruling, command
from jobs.chain.inprocess import Chain, MemoryEdges, contracts
from jobs.chain.messages import RecordWriter
from sigmaflow.audit.decode import HEADER, Row
from sigmaflow.audit.log import COMMANDS, COMMITTED, DEAD, FRONTIERS, RULINGS, TICKS, TOPICS, Log, Record
from udfs import profiles
from udfs.profiles import NS, Profile, Risk, Sizing

SHARDS = 3
VENUE = "TEST"
START_NS = 1_704_205_800_000_000_000
STEP_NS = 3_000_000
"""Mean event time between ticks, ns; with five instruments an order waits for the next tick but one or two."""

ACCOUNT = profiles.DEFAULT.fills.account
IMPATIENT = 0.3
"""How often the account gives up on every partition that has not sent yet: each time frontiers are written."""

COMMANDED = (("reduce", 0.40), ("resume", 0.44), ("halt", 0.70), ("resume", 0.72))
"""What operators say, and how far into the run."""

COMMIT_EVERY = 23
"""Records of a transaction: the marker behind them takes an offset."""


def profile() -> Profile:
    """The default ledger under the reference alphas, warm at once and eager, with limits near enough to bind."""
    alphas = profiles.REFERENCE.alphas
    ensemble = profiles.REFERENCE.ensemble.model_copy(update={"warm_up": 20})
    sizing = Sizing(entry=0.1, fixed_notional=60_000.0, cvar_budget=1e-4, cvar_horizon_s=0.06, cvar_band=1.2,
                    gross_cap=220_000.0, lot=1e-4, select=3, select_hold=4, select_bar_ns=NS // 100, select_bars=40)
    fills = profiles.DEFAULT.fills.model_copy(update={
        "mark_every_ns": NS // 50, "max_position": 30_000.0, "max_gross": 60_000.0, "reduce_drawdown": 3e-4})
    return Profile(name="sample", alphas=alphas, ensemble=ensemble, risk=Risk(window=20), sizing=sizing, fills=fills)


def make(ticks: int = 300, symbols: int = 5, seed: int = 1, wanted: Profile | None = None,
         taps: tuple[str, ...] = ()) -> Log:
    """A log of about this many ticks, as a broker would hold it when every job has come to the end."""
    keys, values = _inputs(ticks, symbols, np.random.default_rng(seed))
    commands = _commands()
    chain = Chain(wanted or profile(), SHARDS, largest=40, seed=seed, taps=taps, impatient=IMPATIENT,
                  together=1)
    written = chain.run(["pipeline"], values, rulings=_rulings(commands, ticks))
    written |= {COMMANDS: [[value for value, _ in commands]], **_learnt(chain.edges)}
    records = {TICKS: {p: [Record(n, *kv) for n, kv in enumerate(zip(keys[p], values[p], strict=True))]
                       for p in range(SHARDS)}}
    for topic in TOPICS:
        if topic != TICKS:
            records[topic] = {0: _written(topic, written.get(topic, [[]])[0])}
    for topic in taps:
        records[topic] = {p: [Record(n, b"", v) for n, v in enumerate(held)] for p, held in enumerate(written[topic])}
    return Log(records, {topic: contracts().writers(topic) for topic in TOPICS})


def many(seed: int) -> Iterator[Log]:
    """Logs without end, by turns with orders that wait, with orders filled at once and a mark at every tick, and with
    limit orders that rest, expire and earn a rebate."""
    waiting = profile()
    at_once = {"latency_ns": 0, "mark_every_ns": 0, "price": "mid", "size": "whole"}
    resting = {"order": "limit", "order_life_ns": NS // 10, "maker_fee_bps": -0.1, "latency_ns": NS // 1000,
               "reduce_drawdown": 6e-5}
    kinds = [waiting, *(waiting.model_copy(update={"fills": waiting.fills.model_copy(update=changed)})
                        for changed in (at_once, resting))]
    for number in count(seed):
        yield make(ticks=240, seed=number, wanted=kinds[number % len(kinds)])


def _commands() -> list[tuple[bytes, Row]]:
    """What operators said: bytes and values."""
    rows = [{"account": ACCOUNT, "kind": kind, "model_digest": "", "reason": f"a test of {kind}",
             "ts_sent": START_NS + n} for n, (kind, _) in enumerate(COMMANDED)]
    return [(encode(row, COMMANDS), row) for row in rows]


def _rulings(commands: list[tuple[bytes, Row]], ticks: int) -> list[Ruling]:
    """From where on each of them holds."""
    given = [command(n, value, row) for n, (value, row) in enumerate(commands)]
    return [Ruling(c.offset, c.kind, "", commands_.ACCOUNT, 1 + int(ticks * share), command_hash=c.hash)
            for c, (_, share) in zip(given, COMMANDED, strict=True)]


def _learnt(edges: MemoryEdges) -> dict[str, list[list[bytes]]]:
    """Frontiers and rulings as their writers seal them."""
    rows: dict[str, list[Row]] = {
        RULINGS: [ruling.record(ACCOUNT) for ruling in edges.ruled],
        FRONTIERS: [{"account": ACCOUNT, "partition": f.shard, "offset": f.offset, "ts_order": f.ts_order}
                    for f in edges.held]}
    found = {}
    for topic, held in rows.items():
        log = Chained(RecordWriter(topic, _id(topic)), commands_.group if topic == RULINGS else lambda _: None)
        found[topic] = [[log.write(row) for row in held]]
    return found


def _written(topic: str, values: list[bytes]) -> list[Record]:
    """Messages of one partition with their keys; transactions leave gaps between offsets."""
    if topic != DEAD:
        return [Record(n + n // COMMIT_EVERY * (topic in COMMITTED), ACCOUNT.encode(), v) for n, v in enumerate(values)]
    letters = [decode(value, DEAD) for value in values]
    return [Record(n, f"{row['topic']}:{row['partition']}".encode(), value)
            for n, (row, value) in enumerate(zip(letters, values, strict=True))]


def _inputs(ticks: int, symbols: int, random: np.random.Generator) -> tuple[list[list[bytes | None]], list[list[Any]]]:
    """Keys and values of each partition. What cannot be read has no key."""
    keys: list[list[bytes | None]] = [[] for _ in range(SHARDS)]
    values: list[list[Any]] = [[] for _ in range(SHARDS)]
    for row in _rows(ticks, symbols, random):
        shard = int(row["symbol"][3:]) % SHARDS
        key, good = f"{row['venue']}:{row['symbol']}".encode(), encode(row)
        for bad_key, bad in _faults(key, good, row, random):
            keys[shard].append(bad_key)
            values[shard].append(bad)
        keys[shard].append(key)
        values[shard].append(good)
        if random.random() < 0.04:
            keys[shard].append(key)
            values[shard].append(good)
    return keys, values


def _rows(ticks: int, symbols: int, random: np.random.Generator) -> list[Row]:
    """Quotes on a grid of 1/64 with some gaps in seq and some locked books."""
    mids, seqs, ts, rows = 50.0 + 20.0 * np.arange(symbols), [0] * symbols, START_NS, []
    for _ in range(ticks):
        s = int(random.integers(symbols))
        ts += int(random.exponential(STEP_NS)) + 1
        seqs[s] += 1 if random.random() > 0.05 else 3
        mids[s] += random.integers(-3, 4) / 64
        half = 0 if random.random() < 0.05 else 1 / 64
        traded = random.random() < 0.5
        rows.append({"venue": VENUE, "symbol": f"SYM{s}", "seq": seqs[s], "ts_event": ts, "ts_recv": ts + 500_000,
                     "bid": mids[s] - half, "ask": mids[s] + half, "bid_size": float(random.integers(1, 900)),
                     "ask_size": float(random.integers(1, 900)), "last_price": mids[s] if traded else None,
                     "last_size": 1.0 if traded else None, "last_side": "BUY" if traded else "UNKNOWN",
                     "flags": int(random.random() < 0.1)})
    return rows


def _faults(key: bytes, good: bytes, row: Row, random: np.random.Generator) -> list[tuple[bytes | None, bytes | None]]:
    """At times a bad input before a good one."""
    if random.random() > 0.06:
        return []
    kinds = [(None, b"\x01" + good[1:]), (None, good[:25]), (None, struct.pack(">bI", 0, 999_999) + good[5:]),
             (None, good + b"x"), (None, None), (key, encode(row | {"bid": float("nan")})),
             (key, encode(row | {"ask": row["bid"] - 1.0})), (key, encode(row | {"ask_size": -1.0})),
             (key, encode(row | {"ts_event": row["ts_recv"] + 7_200 * NS}))]
    return [kinds[int(random.integers(len(kinds)))]]


def encode(row: Row, topic: str = TICKS) -> bytes:
    """One message in the Confluent wire format, with the in-process chain's schema id."""
    out = io.BytesIO()
    out.write(struct.pack(">bI", 0, _id(topic)))
    fastavro.schemaless_writer(out, _schema(topic), row)
    return out.getvalue()


def decode(value: bytes, topic: str) -> Row:
    """The value of such a message."""
    row: Row = fastavro.schemaless_reader(io.BytesIO(value[HEADER:]), _schema(topic), None)
    return row


@cache
def _schema(topic: str) -> Any:
    return fastavro.parse_schema(schemas.load(schemas.topics()[topic].schema))


@cache
def _id(topic: str) -> int:
    return contracts().id(topic)
