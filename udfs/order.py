"""One total order over all symbols of an account, from streams that are each in order: the shards.

Within a shard (a partition of the ticks topic) `ts_order` never falls. The total order is (ts_order, shard, place in
the shard). A tick may leave as soon as no shard can still send an earlier one, that is when every shard's latest tick
lies behind it. The order is therefore a function of the shards' contents alone and not of how they arrive.

Waiting for a shard whose log holds nothing more would never end, so the caller may set it a `Frontier`: from some
offset on, nothing in that shard comes before some order time. A tick that does is moved up to it. The caller writes
every frontier down before it acts on it: shards and frontiers together settle the order, whoever reads them again.

A row travels as one column of two matrices, `ints` and `floats`, with the fields named below; `slot` numbers the
symbols of the account.
"""
from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.stage import Columns, Store

INTS = ("slot", "seq", "tick_id", "partition", "offset", "ts_event", "ts_order",
        "flags", "last_side", "history", "regime", "top_alpha", "horizon", "warm", "model")
FLOATS = ("bid", "ask", "bid_size", "ask_size", "last_price", "last_size", "mid", "spread", "volatility", "score", "mu",
          "sigma", "cvar_975")
SLOT, TS, OFFSET = INTS.index("slot"), INTS.index("ts_order"), INTS.index("offset")
META = "order"
"""Key of the packed frontier."""


@dataclass(frozen=True)
class Frontier:
    """From `offset` on, ticks of `shard` have an order time of at least `ts_order`, nanoseconds."""

    shard: int
    offset: int
    ts_order: int


@dataclass(frozen=True)
class Rows:
    """Some ticks in order: `ints` is (len(INTS), n), `floats` is (len(FLOATS), n)."""

    ints: NDArray[np.int64]
    floats: NDArray[np.float64]

    def __len__(self) -> int:
        return self.ints.shape[1]

    def cut(self, start: int, end: int) -> Rows:
        """The rows from `start` up to `end`."""
        return Rows(self.ints[:, start:end], self.floats[:, start:end])

    def columns(self) -> Columns:
        """The rows as columns by name."""
        return dict(zip(INTS, self.ints, strict=True)) | dict(zip(FLOATS, self.floats, strict=True))


def rows(columns: Columns) -> Rows:
    """Pack columns; a field that the stages so far do not make is 0."""
    count = len(columns["slot"])
    ints, floats = np.zeros((len(INTS), count), np.int64), np.zeros((len(FLOATS), count))
    for names, out in ((INTS, ints), (FLOATS, floats)):
        for i, name in enumerate(names):
            if name in columns:
                out[i] = columns[name]
    return Rows(ints, floats)


@dataclass(frozen=True)
class Share:
    """What one shard has in some rows: how many, and the offset up to which its log is accounted for."""

    shard: int
    rows: int
    seen: int


def pack(names: Sequence[bytes], made: Rows, shares: Sequence[Share]) -> bytes:
    """Rows whose `slot` is a place in `names`, those of one shard behind those of another."""
    joined = b"\0".join(names)
    head = [len(joined), len(shares), *(number for s in shares for number in (s.shard, s.rows, s.seen))]
    return b"".join([np.array(head, np.int64).data, joined, made.ints.tobytes(), made.floats.tobytes()])


def unpack(payload: bytes) -> tuple[list[bytes], Rows, list[Share]]:
    """What `pack` made bytes of; the rows may be written to.

    >>> two = rows({"slot": np.array([0, 0]), "bid": np.array([1.0, 2.0])})
    >>> names, made, shares = unpack(pack([b"A:X"], two, [Share(3, 2, 7)]))
    >>> names, len(made), made.columns()["bid"].tolist(), shares
    ([b'A:X'], 2, [1.0, 2.0], [Share(shard=3, rows=2, seen=7)])
    """
    length, parts = np.frombuffer(payload, np.int64, 2).tolist()
    table = np.frombuffer(payload, np.int64, 3 * parts, 16).reshape(parts, 3).tolist()
    shares = [Share(*numbers) for numbers in table]
    count, at = sum(share.rows for share in shares), 16 + 24 * parts
    ints, floats = at + length, at + length + 8 * len(INTS) * count
    return payload[at:ints].split(b"\0") if length else [], Rows(
        np.frombuffer(payload, np.int64, len(INTS) * count, ints).reshape(len(INTS), count).copy(),
        np.frombuffer(payload, np.float64, len(FLOATS) * count, floats).reshape(len(FLOATS), count).copy()), shares


def join(parts: Sequence[Rows]) -> Rows:
    """Parts one behind the other."""
    if len(parts) == 1:
        return parts[0]
    empty = [Rows(np.zeros((len(INTS), 0), np.int64), np.zeros((len(FLOATS), 0)))]
    held = list(parts) or empty
    return Rows(np.concatenate([p.ints for p in held], axis=1), np.concatenate([p.floats for p in held], axis=1))


@dataclass
class _Chunk:
    """Rows of one shard that wait; `start` of them have already left. `number` is its key in the store, 0 if not there.
    """

    rows: Rows
    start: int = 0
    number: int = 0


@dataclass
class Merge:
    """Waiting rows of all shards. What waits at the end of a call is in the store."""

    shards: int
    store: Store
    seq: int = 0
    """Ticks released so far: the account sequence number of the last one."""
    seen: list[int] = field(default_factory=list)
    """Offset up to which each shard's log has been accounted for, -1 before the first."""
    _number: int = 0
    _latest: list[int] = field(default_factory=list)
    """Order time of each shard that no tick still to come from it can be before."""
    _skipped: list[set[int]] = field(default_factory=list)
    _frontiers: list[deque[Frontier]] = field(default_factory=list)
    _waiting: list[deque[_Chunk]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen, self._latest = [-1] * self.shards, [-1] * self.shards
        self._skipped = [set() for _ in range(self.shards)]
        self._frontiers = [deque() for _ in range(self.shards)]
        self._waiting = [deque() for _ in range(self.shards)]
        packed = self.store.get(META)
        if packed is None:
            return
        self.seq, self.seen, self._latest, self._skipped, self._number, waiting = pickle.loads(packed)
        for chunks, held in zip(self._waiting, waiting, strict=True):
            chunks.extend(_Chunk(pickle.loads(self.store.get(f"chunk:{n}") or b""), start, n) for n, start in held)

    def add(self, shard: int, new: Rows, offset: int) -> None:
        """Take the next rows of a shard, whose log is accounted for up to `offset`."""
        ts, offsets = new.ints[TS], new.ints[OFFSET]
        np.maximum(ts, self._latest[shard], out=ts)
        self._account(shard, offset)
        for frontier in self._reached(shard):
            behind = int(np.searchsorted(offsets, frontier.offset))
            np.maximum(ts[behind:], frontier.ts_order, out=ts[behind:])
            self._latest[shard] = max(self._latest[shard], frontier.ts_order)
        if len(new):
            self._waiting[shard].append(_Chunk(new))
            self._latest[shard] = max(self._latest[shard], int(ts[-1]))

    def skip(self, shard: int, offset: int) -> None:
        """Account for a tick of a shard that was refused."""
        if offset > self.seen[shard]:
            self._skipped[shard].add(offset)
            self._account(shard, self.seen[shard])
            self._move(shard)

    def quiet(self, frontier: Frontier) -> None:
        """Take a frontier; it holds as soon as the shard's log is accounted for up to its offset."""
        self._frontiers[frontier.shard].append(frontier)
        self._move(frontier.shard)

    def _move(self, shard: int) -> None:
        for frontier in self._reached(shard):
            self._latest[shard] = max(self._latest[shard], frontier.ts_order)

    def _account(self, shard: int, offset: int) -> None:
        seen, skipped = max(self.seen[shard], offset), self._skipped[shard]
        while seen + 1 in skipped:
            seen += 1
        self.seen[shard] = seen
        if skipped:
            self._skipped[shard] = {offset for offset in skipped if offset > seen}

    def _reached(self, shard: int) -> Iterator[Frontier]:
        known = self._frontiers[shard]
        while known and known[0].offset <= self.seen[shard] + 1:
            yield known.popleft()

    def latest(self, shard: int) -> int:
        """Order time that no tick still to come from a shard can be before."""
        return self._latest[shard]

    def needed(self, shards: Sequence[int]) -> list[Frontier]:
        """Frontiers of those of these shards that hold a waiting row back, so that none is written for nothing."""
        last = max(((int(chunks[-1].rows.ints[TS][-1]), s) for s, chunks in enumerate(self._waiting) if chunks),
                   default=(-1, -1))
        ts = max(self._latest) + 1
        return [Frontier(s, self.seen[s] + 1, ts) for s in shards if (self._latest[s], s) < last]

    @property
    def pending(self) -> int:
        """Rows that wait."""
        return sum(len(chunk.rows) - chunk.start for chunks in self._waiting for chunk in chunks)

    def release(self) -> Rows:
        """All rows that may leave, in order."""
        ts, shard = min((ts, shard) for shard, ts in enumerate(self._latest))
        return self._take([self._before(s, ts, "right" if s <= shard else "left") for s in range(self.shards)])

    def _before(self, shard: int, ts: int, side: Any) -> int:
        """How many waiting rows of a shard lie before (or, with side right, at) an order time."""
        count = 0
        for chunk in self._waiting[shard]:
            end = int(chunk.rows.ints[TS].searchsorted(ts, side))
            count += max(0, end - chunk.start)
            if end < len(chunk.rows):
                break
        return count

    def _take(self, take: list[int]) -> Rows:
        parts = [part for shard, count in enumerate(take) for part in self._pop(shard, count)]
        merged = join(parts)
        if len(parts) > 1:
            order = np.argsort(merged.ints[TS], kind="stable")
            # An index would give the transpose of an array in this order, whose columns are slow to read.
            merged = Rows(merged.ints.take(order, axis=1), merged.floats.take(order, axis=1))
        self.seq += len(merged)
        return merged

    def _pop(self, shard: int, count: int) -> Iterator[Rows]:
        chunks = self._waiting[shard]
        while count:
            chunk = chunks[0]
            end = min(len(chunk.rows), chunk.start + count)
            count -= end - chunk.start
            yield chunk.rows.cut(chunk.start, end)
            chunk.start = end
            if end == len(chunk.rows):
                self._drop(chunks.popleft())

    def _drop(self, chunk: _Chunk) -> None:
        if chunk.number:
            self.store.remove(f"chunk:{chunk.number}")

    def save(self) -> None:
        """Write what waits to the store: each chunk once, and how far each shard is."""
        for chunk in (chunk for chunks in self._waiting for chunk in chunks if not chunk.number):
            self._number += 1
            chunk.number = self._number
            chunk.rows = Rows(np.ascontiguousarray(chunk.rows.ints[:, chunk.start:]),
                              np.ascontiguousarray(chunk.rows.floats[:, chunk.start:]))
            chunk.start = 0
            self.store.put(f"chunk:{chunk.number}", partial(pickle.dumps, chunk.rows))
        self.store.put(META, self._packed)

    def _packed(self) -> bytes:
        waiting = [[(chunk.number, chunk.start) for chunk in chunks] for chunks in self._waiting]
        return pickle.dumps((self.seq, self.seen, self._latest, self._skipped, self._number, waiting))
