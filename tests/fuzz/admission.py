"""Fuzz of admission: any bytes of a partition, through the shard worker of the one-job chain, and its accounting."""
from __future__ import annotations

import io
import math
import struct
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from random import Random
from typing import Any

import fastavro

import schemas
from jobs.chain import plans
from jobs.chain.contracts import Contracts
from jobs.chain.inprocess import Memory, contracts
from jobs.chain.messages import MicroBatch
from jobs.chain.shard import DEAD, TICKS, ShardPlan, opened
from tests.fuzz.mutation import Corpus
from tests.fuzz.outcome import Faults, crash
from udfs import profiles
from udfs.profiles import NS
from udfs.stages import admission

Message = bytes | None
FEATURES, RISK = "features.v1", "risk.v1"
START = 1_700_000_000 * NS
PARTITION, FIRST, STRIDE = 3, 11, 3
"""Offsets have holes, as transactions leave them: offset is no row number."""

HEADER = 5
EXTREME: dict[str, tuple[Any, ...]] = {
    "venue": ("", "A" * 64, "A" * 65, "A:B", "\x00", "é" * 32, "\U0010ffff"),
    "symbol": ("", "X" * 64, "X" * 65, ":", "\x00", "BTC", "漢字", "\ud7ff"),
    "seq": (0, 1, 2, 3, -1, 2**53, 2**53 + 1, 2**63 - 1, -2**63),
    "ts_event": (0, START - 61 * NS, START + 61 * NS, 2**63 - 1, -2**63, -1),
    "ts_recv": (0, START - 61 * NS, START + 61 * NS, 2**63 - 1, -2**63, -1),
    "bid": (0.0, -0.0, 5e-324, 1e308, -1.0, math.nan, math.inf, 99.5, 101.0),
    "ask": (0.0, 5e-324, 1.7e308, math.nan, -math.inf, 99.0, 98.0),
    "bid_size": (0.0, 5e-324, 1.7e308, math.nan, -1.0), "ask_size": (0.0, 5e-324, 1.7e308, math.inf, -1.0),
    "last_price": (None, 0.0, math.nan, 1e308), "last_size": (None, -1.0, math.inf),
    "last_side": ("UNKNOWN", "BUY", "SELL"), "flags": (0, 1, 7, -1, 2**31 - 1, -2**31)}
"""Values at the edges of each field's rules."""

GOOD: dict[str, Any] = {
    "venue": "BINANCE", "symbol": "BTCUSDT", "seq": 1, "ts_event": START, "ts_recv": START, "bid": 99.0, "ask": 101.0,
    "bid_size": 2.0, "ask_size": 3.0, "last_price": None, "last_size": None, "last_side": "UNKNOWN", "flags": 0}

OWN_RULES = frozenset({"bad_symbol", "not_finite", "not_positive_price", "not_positive_size", "crossed", "time_ahead",
                       "out_of_range", "seq_range"})
"""Reasons that follow from the tick alone."""


@lru_cache(maxsize=1)
def _contracts() -> Contracts:
    return contracts()


@lru_cache(maxsize=1)
def _plan() -> ShardPlan:
    return plans.shard("pipeline", profiles.DEFAULT, _contracts(), 4, (FEATURES, RISK))


@lru_cache(maxsize=4)
def _schema(topic: str) -> Any:
    return fastavro.parse_schema(schemas.load(schemas.topics()[topic].schema))


def message(**changed: Any) -> bytes:
    """A tick in the wire format: a good one with some fields changed."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _schema(TICKS), GOOD | changed)
    return struct.pack(">bI", 0, _contracts().id(TICKS)) + out.getvalue()


def read(topic: str, value: bytes) -> dict[str, Any]:
    """A message as a plain Avro reader sees it. Raises what the reader raises, ValueError for bytes that are left."""
    body = io.BytesIO(value[HEADER:])
    record: Any = fastavro.schemaless_reader(body, _schema(topic))
    if body.read(1):
        raise ValueError("bytes after the record")
    return record


def broken_rules(tick: dict[str, Any]) -> set[str]:
    """Reasons of admission that hold for a tick by itself, in plain Python with integers that cannot overflow."""
    prices, sizes = (tick["bid"], tick["ask"]), (tick["bid_size"], tick["ask_size"])
    lasts = tick["last_price"], tick["last_size"]
    venue, symbol = tick["venue"].encode(), tick["symbol"].encode()
    named = all(0 < len(name) <= admission.LONGEST and b"\0" not in name for name in (venue, symbol))
    return {reason for reason, broken in {
        "bad_symbol": not named or b":" in venue,
        "not_finite": not all(map(math.isfinite, (*prices, *sizes))),
        "not_positive_price": not all(price > 0 for price in prices),
        "not_positive_size": not all(size > 0 for size in sizes),
        "crossed": not prices[0] <= prices[1],
        "time_ahead": tick["ts_event"] - tick["ts_recv"] > int(profiles.DEFAULT.admission.max_ahead_s * NS),
        "out_of_range": any(abs(number) > 1e15 for number in (*prices, *sizes, *(last or 0.0 for last in lasts))),
        "seq_range": not 0 <= tick["seq"] <= 2**53,
    }.items() if broken}


@dataclass(frozen=True)
class Judged:
    """Everything that came out for a list of messages."""

    accepted: list[dict[str, Any]]
    letters: list[dict[str, Any]]
    written: dict[str, list[bytes]]


def judge(messages: Sequence[Message], cuts: Sequence[int] = ()) -> Judged:
    """Run the messages through a fresh shard. At each cut the worker is made anew from its store."""
    store = Memory()
    written: dict[str, list[bytes]] = {FEATURES: [], RISK: [], DEAD: []}
    for start, end in pairwise([0, *cuts, len(messages)]):
        worker = opened(_plan(), None, {PARTITION: store})
        offsets = range(FIRST + STRIDE * start, FIRST + STRIDE * end, STRIDE)
        for e in worker.process([MicroBatch(TICKS, PARTITION, messages[start:end], offsets)]):
            if e.topic:
                written[e.topic] += e.values
    accepted = [read(FEATURES, value) for value in written[FEATURES]]
    return Judged(accepted, [read(DEAD, value) for value in written[DEAD]], written)


class Admission:
    """The target: batches of messages of one partition."""

    name = "admission"

    def __init__(self, random: Random) -> None:
        self._random = random
        self._corpus = Corpus([message(seq=seq, symbol=symbol, last_price=price)
                               for seq, price in ((0, None), (1, 100.0), (2, None)) for symbol in ("BTCUSDT", "ETH")])
        self.reached = 0

    def batch(self, size: int) -> list[Message]:
        """Messages to try: mutated ones, ones with fields at their edges, and a record without a value."""
        return [self._one() for _ in range(size)]

    def _one(self) -> Message:
        draw = self._random.random()
        if draw < 0.002:
            return None
        return self._edge() if draw < 0.15 else self._corpus.next(self._random)

    def _edge(self) -> bytes:
        fields = self._random.sample(sorted(EXTREME), self._random.choice((0, 1, 1, 1, 2, 3)))
        return message(**{"seq": self._random.randrange(1 << 20)}
                       | {name: self._random.choice(EXTREME[name]) for name in fields})

    def try_batch(self, messages: Sequence[Message]) -> Faults:
        """Judge a batch whole and in pieces; learn from it when nothing is wrong."""
        places = sorted(self._random.sample(range(1, len(messages)), min(3, len(messages) - 1)))
        faults, judged = check(messages, places)
        if judged is not None:
            self._learn(messages, judged)
        return faults

    def _learn(self, messages: Sequence[Message], judged: Judged) -> None:
        signals: list[tuple[int, Hashable]] = [
            (row["offset"], (row["flags"], row["seq"].bit_length() // 8, row["seq"] < 0, len(row["symbol"]) // 8))
            for row in judged.accepted]
        signals += [(letter["offset"], (letter["reason"], len(letter["payload"]) // 8)) for letter in judged.letters]
        for offset, signal in signals:
            self.reached += self._corpus.learn(self._random, messages[(offset - FIRST) // STRIDE] or b"", signal)

    def example(self, messages: Sequence[Message]) -> str:
        """The messages as hexadecimal, for `--reproduce`."""
        return " ".join("null" if m is None else m.hex() or "empty" for m in messages)

    @staticmethod
    def parse(text: str) -> list[Message]:
        """What `example` wrote. Raises ValueError for what is no hexadecimal."""
        return [None if word == "null" else b"" if word == "empty" else bytes.fromhex(word) for word in text.split()]


def check(messages: Sequence[Message], cuts: Sequence[int]) -> tuple[Faults, Judged | None]:
    """What is wrong with the judgement of these messages, and the judgement unless it crashed."""
    try:
        whole, pieces = judge(messages), judge(messages, cuts)
    except Exception as error:
        return Faults(crash=crash(error)), None
    times = Counter(row["offset"] for row in (*whole.accepted, *whole.letters))
    offsets = range(FIRST, FIRST + STRIDE * len(messages), STRIDE)
    kept = {letter["offset"]: letter["payload"] for letter in whole.letters}
    altered = sum(at in kept and kept[at] != (held or b"") for at, held in zip(offsets, messages, strict=True))
    unfinished = abs(len(whole.written[RISK]) - len(whole.accepted))
    lost = sum(times[at] == 0 for at in offsets) + altered + unfinished
    faults = Faults(lost, sum(count - 1 for count in times.values()),
                    int(whole.written != pieces.written), _misjudged(messages, whole))
    return faults, whole


def _misjudged(messages: Sequence[Message], judged: Judged) -> str:
    """The first verdict that plain Python does not share, empty for none."""
    try:
        return _wrongly_accepted(messages, judged) or _wrongly_rejected(judged)
    except Exception as error:
        return f"a plain Avro reader cannot read a message past the codec: {crash(error)}"


def _wrongly_accepted(messages: Sequence[Message], judged: Judged) -> str:
    latest, most_behind = 0, int(profiles.DEFAULT.admission.max_behind_s * NS)
    for row in judged.accepted:
        at = row["offset"]
        tick = read(TICKS, messages[(at - FIRST) // STRIDE] or b"")
        broken = broken_rules(tick)
        same = all(tick[name] == row[name] for name in ("venue", "symbol", "seq", "ts_event", "bid", "ask"))
        if broken or not same:
            return f"offset {at} is accepted as {row}, it is {tick}, broken {sorted(broken)}"
        latest = max(latest, tick["ts_event"])
        if row["ts_order"] != latest or latest - tick["ts_event"] > most_behind:
            return f"offset {at} is accepted at order time {row['ts_order']}, its partition is at {latest}"
    return ""


def _wrongly_rejected(judged: Judged) -> str:
    for letter in judged.letters:
        if letter["reason"] in OWN_RULES:
            broken = broken_rules(read(TICKS, letter["payload"]))
            if letter["reason"] not in broken:
                return f"offset {letter['offset']} is rejected as {letter['reason']}, broken {sorted(broken)}"
    return ""
