"""One total order over all symbols of an account, from streams that are each in order: the shards.

Within a shard (a partition of the ticks topic) `ts_order` never falls. The total order is (ts_order, shard, place in the
shard). A tick may leave as soon as no shard can still send an earlier one, that is when every shard's latest tick lies
behind it. The order is therefore a function of the shards' contents alone and not of how they arrive. A shard that has
been silent for long is left out by the caller's word (`silent`); should it then send an earlier tick after all, that tick
takes the next place.

A row travels as one column of two matrices, `ints` and `floats`, with the fields named below; `slot` numbers the symbols
of the account.
"""
from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.stage import Columns, Store

INTS = ("slot", "seq", "tick_id", "ts_event", "ts_order", "flags", "history", "regime", "top_alpha", "horizon", "warm")
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
    """Rows of one shard that wait; `start` of them have already left. `number` is its key in the store, 0 if not there."""

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
    bound: tuple[int, int] = (0, 0)
    """Place (ts_order, shard) up to which all has been released."""
    _number: int = 0
    _frontier: dict[int, int] = field(default_factory=dict)
    _waiting: dict[int, deque[_Chunk]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        packed = self.store.get(META)
        if packed is None:
            return
        self.seq, self._number, self._frontier, waiting = pickle.loads(packed)
        for shard, chunks in waiting.items():
            held = [_Chunk(pickle.loads(self.store.get(f"chunk:{n}") or b""), start, n) for n, start in chunks]
            self._waiting[shard] = deque(held)

    def add(self, shard: int, new: Rows) -> None:
        """Take the next rows of a shard."""
        if len(new):
            self._waiting.setdefault(shard, deque()).append(_Chunk(new))
            self._frontier[shard] = max(self._frontier.get(shard, 0), int(new.ints[TS, -1]))

    @property
    def pending(self) -> int:
        """Rows that wait."""
        return sum(len(c.rows) - c.start for chunks in self._waiting.values() for c in chunks)

    def release(self, silent: Collection[int] = ()) -> Rows:
        """All rows that may leave, in order. `silent` shards are not waited for."""
        active = [s for s in range(self.shards) if s not in silent]
        latest = {s: self._frontier.get(s, -1) for s in (active or self._frontier)}
        if not latest:
            return join([])
        bound = min((ts, s) for s, ts in latest.items()) if active else max((ts, s) for s, ts in latest.items())
        return self._merge(*bound)

    def release_until(self, ts: int, shard: int, seq: int) -> Rows | None:
        """The rows up to place (ts, shard) when they are `seq` in all with those before, else None."""
        if self.seq + self._count(ts, shard) < seq:
            return None
        return self._merge(ts, shard)

    def _end(self, chunk: _Chunk, shard: int, ts: int, bound: int) -> int:
        side: Any = "right" if shard <= bound else "left"
        return max(chunk.start, int(np.searchsorted(chunk.rows.ints[TS], ts, side)))

    def _count(self, ts: int, bound: int) -> int:
        return sum(self._end(c, s, ts, bound) - c.start for s, chunks in self._waiting.items() for c in chunks)

    def _merge(self, ts: int, bound: int) -> Rows:
        self.bound = ts, bound
        parts: list[Rows] = []
        for shard in sorted(self._waiting):
            chunks = self._waiting[shard]
            while chunks:
                chunk, end = chunks[0], self._end(chunks[0], shard, ts, bound)
                if end > chunk.start:
                    parts.append(chunk.rows.cut(chunk.start, end))
                    chunk.start = end
                if end < len(chunk.rows):
                    break
                self._drop(chunks.popleft())
        merged = join(parts)
        if len(parts) > 1:
            order = np.argsort(merged.ints[TS], kind="stable")
            merged = Rows(merged.ints[:, order], merged.floats[:, order])
        self.seq += len(merged)
        return merged

    def _drop(self, chunk: _Chunk) -> None:
        if chunk.number:
            self.store.remove(f"chunk:{chunk.number}")

    def save(self) -> None:
        """Write what waits to the store: each chunk once, and the frontier."""
        for chunks in self._waiting.values():
            for chunk in chunks:
                if not chunk.number:
                    self._number += 1
                    chunk.number = self._number
                    kept = Rows(np.ascontiguousarray(chunk.rows.ints[:, chunk.start:]),
                                np.ascontiguousarray(chunk.rows.floats[:, chunk.start:]))
                    chunk.rows, chunk.start = kept, 0
                    self.store.put(f"chunk:{chunk.number}", pickle.dumps(kept))
        waiting = {s: [(c.number, c.start) for c in chunks] for s, chunks in self._waiting.items() if chunks}
        self.store.put(META, pickle.dumps((self.seq, self._number, self._frontier, waiting)))
