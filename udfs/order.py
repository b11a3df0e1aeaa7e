"""One total order over all symbols of an account, from streams that are each in order: the shards.

Within a shard (a partition of the ticks topic) `ts_order` never falls. The total order is (ts_order, shard, place in
the shard). A tick may leave as soon as no shard can still send an earlier one, that is when every shard's latest tick
lies behind it. The order is therefore a function of the shards' contents alone and not of how they arrive. A shard
whose log has nothing more is left out by the caller's word (`silent`); should it then send an earlier tick after all,
that tick takes the next place. How many ticks of each shard have left (`counts`) says exactly where a release was
cut, so that another job can release the same ticks in the same order (`release_until`), even then.

A row travels as one column of two matrices, `ints` and `floats`, with the fields named below; `slot` numbers the
symbols of the account.
"""
from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.stage import Columns, Store

INTS = ("slot", "seq", "tick_id", "partition", "offset", "ts_event", "ts_order",
        "flags", "history", "regime", "top_alpha", "horizon", "warm")
FLOATS = ("bid", "ask", "bid_size", "ask_size", "mid", "spread", "volatility", "score", "mu", "sigma", "cvar_975")
SLOT, TS = INTS.index("slot"), INTS.index("ts_order")
META = "order"
"""Key of the packed frontier."""


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
    counts: list[int] = field(default_factory=list)
    """The same by shard."""
    offsets: list[int] = field(default_factory=list)
    """Offset of the last tick that each shard has seen, -1 before the first."""
    _number: int = 0
    _frontier: list[int] = field(default_factory=list)
    _waiting: list[deque[_Chunk]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts, self.offsets, self._frontier = [0] * self.shards, [-1] * self.shards, [-1] * self.shards
        self._waiting = [deque() for _ in range(self.shards)]
        packed = self.store.get(META)
        if packed is None:
            return
        self.seq, self.counts, self.offsets, self._frontier, self._number, waiting = pickle.loads(packed)
        for chunks, held in zip(self._waiting, waiting, strict=True):
            chunks.extend(_Chunk(pickle.loads(self.store.get(f"chunk:{n}") or b""), start, n) for n, start in held)

    def add(self, shard: int, new: Rows, offset: int) -> None:
        """Take the next rows of a shard, which has seen its log up to `offset`."""
        self.offsets[shard] = max(self.offsets[shard], offset)
        if len(new):
            self._waiting[shard].append(_Chunk(new))
            self._frontier[shard] = max(self._frontier[shard], int(new.ints[TS, -1]))

    @property
    def pending(self) -> int:
        """Rows that wait."""
        return sum(map(self._held, range(self.shards)))

    def _held(self, shard: int) -> int:
        return sum(len(chunk.rows) - chunk.start for chunk in self._waiting[shard])

    def release(self, silent: Collection[int] = ()) -> Rows:
        """All rows that may leave, in order. `silent` shards are not waited for."""
        active = [(ts, shard) for shard, ts in enumerate(self._frontier) if shard not in silent]
        ts, shard = min(active) if active else max((ts, shard) for shard, ts in enumerate(self._frontier))
        return self._take([self._before(s, ts, "right" if s <= shard else "left") for s in range(self.shards)])

    def release_until(self, counts: Sequence[int]) -> Rows | None:
        """The rows that make up these counts by shard with those before; None while some have not come."""
        take = [max(0, wanted - had) for wanted, had in zip(counts, self.counts, strict=True)]
        if any(count > self._held(shard) for shard, count in enumerate(take)):
            return None
        return self._take(take)

    def _before(self, shard: int, ts: int, side: Any) -> int:
        """How many waiting rows of a shard lie before (or, with side right, at) an order time."""
        count = 0
        for chunk in self._waiting[shard]:
            end = int(np.searchsorted(chunk.rows.ints[TS], ts, side))
            count += max(0, end - chunk.start)
            if end < len(chunk.rows):
                break
        return count

    def _take(self, take: list[int]) -> Rows:
        parts = [part for shard, count in enumerate(take) for part in self._pop(shard, count)]
        merged = join(parts)
        if len(parts) > 1:
            order = np.argsort(merged.ints[TS], kind="stable")
            merged = Rows(merged.ints[:, order], merged.floats[:, order])
        self.seq += len(merged)
        return merged

    def _pop(self, shard: int, count: int) -> Iterator[Rows]:
        chunks = self._waiting[shard]
        self.counts[shard] += count
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
            self.store.put(f"chunk:{chunk.number}", pickle.dumps(chunk.rows))
        waiting = [[(chunk.number, chunk.start) for chunk in chunks] for chunks in self._waiting]
        self.store.put(META, pickle.dumps((self.seq, self.counts, self.offsets, self._frontier, self._number, waiting)))
