"""The account's total order at work: rows of all shards in, columns of released ticks out.

The one place of the chain that looks outside its input: it asks the broker whether a quiet shard's log holds anything
more. The answer becomes a frontier, which is written to frontiers.v1 before it is acted on, and is read back by every
restart and every replay. So the order is a function of the logs of market.ticks.v1 and frontiers.v1.
"""
from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from jobs.chain.commands import ACCOUNT, PROFILE, STATES, Channel, Rulings
from udfs import order
from udfs.order import Frontier
from udfs.profiles import Profile
from udfs.stage import Columns, KeyedState, Store

QUIET = 4
"""Beats without a row after which a shard's log is looked at."""

ARRIVALS = "arrivals"
"""Key of the symbols in the order they arrived here, which numbers the rows that wait."""


class Edges(Channel, Protocol):
    """What the order needs of the world outside."""

    def ends(self) -> list[tuple[int, int]]:
        """First and next offset of every partition of market.ticks.v1; empty when the broker does not answer."""

    def end(self, shard: int) -> int | None:
        """Next offset of a partition of market.ticks.v1; None when the broker does not answer."""

    def frontiers(self) -> list[Frontier]:
        """All frontiers written so far."""

    def write(self, frontiers: Sequence[Frontier]) -> None:
        """Make frontiers durable, or raise."""

    def last_seq(self) -> int:
        """The last account_seq of any message that was written for the account so far, 0 for none."""


class TotalOrder:
    """Ticks of one account in their total order. `state` gives each symbol its slot when its first tick is released."""

    def __init__(self, shards: int, store: Store, state: KeyedState, edges: Edges, profile: Profile) -> None:
        self._store, self._state, self._edges = store, state, edges
        self._merge = order.Merge(shards, store)
        self._names = [name for name in (store.get(ARRIVALS) or b"").split(b"\0") if name]
        self._numbers = {name: number for number, name in enumerate(self._names)}
        known = {name: slot for slot, name in enumerate(state.names)}
        self._slots = np.array([known.get(name, -1) for name in self._names], np.int64)
        self._beats = dict.fromkeys(range(shards), 0)
        earlier = edges.last_seq()  # asked once, now: it takes a second, and a kill switch has a quarter of one
        self._rulings = Rulings(edges, ACCOUNT, STATES, lambda: max(self._merge.seq, earlier) + 1)
        Rulings(edges, ACCOUNT, PROFILE, lambda: None).declare(profile, self._merge.seq + 1)
        for frontier in edges.frontiers():
            self._merge.quiet(frontier)

    def add(self, payload: bytes) -> None:
        """Take rows of some shards."""
        names, rows, shares = order.unpack(payload)
        numbers = np.array([self._number(name) for name in names], np.int64)
        rows.ints[order.SLOT] = numbers[rows.ints[order.SLOT]]
        at = 0
        for share in shares:
            self._beats[share.shard] = 0
            self._merge.add(share.shard, rows.cut(at, at + share.rows), share.seen)
            at += share.rows

    def quiet(self, frontier: Frontier) -> None:
        """Take a frontier that was written before."""
        self._merge.quiet(frontier)

    def held_by(self, shards: Collection[int]) -> int:
        """Of these shards the one that is furthest behind."""
        return min(shards, key=self._merge.latest)

    def skip(self, shard: int, offset: int) -> None:
        """Account for a tick that was refused."""
        self._merge.skip(shard, offset)

    def beat(self) -> None:
        """Count silence; where ticks wait for silent shards, set those a frontier."""
        for shard in self._beats:
            self._beats[shard] += 1
        if self._merge.pending:
            needed = self._merge.needed(self._silent())
            if needed:
                self._edges.write(needed)
            for frontier in needed:
                self._merge.quiet(frontier)

    def release(self) -> Columns | None:
        """Columns of all ticks that may leave, None where there are none."""
        self._rulings.learn()
        first = self._merge.seq + 1
        rows = self._merge.release()
        self._merge.save()
        if not len(rows):
            return None
        columns = rows.columns()
        columns["slot"] = self._located(columns["slot"])
        return columns | {"account_seq": np.arange(first, first + len(rows)),
                          "command": self._rulings.numbers(first, len(rows))}

    def _number(self, name: bytes) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
            self._slots = np.append(self._slots, -1)
            self._store.put(ARRIVALS, lambda: b"\0".join(self._names))
        return self._numbers[name]

    def _located(self, numbers: np.ndarray) -> np.ndarray:
        """Slots of symbols. New ones get theirs in the total order: arrival would give another order of sums."""
        if (self._slots[numbers] < 0).any():
            found, first = np.unique(numbers, return_index=True)
            for number in found[np.argsort(first)].tolist():
                self._slots[number] = self._state.slot(self._names[number])
        return self._slots[numbers]

    def _silent(self) -> list[int]:
        """Shards that were quiet for some beats and whose log holds nothing that is not accounted for.

        None while one that still gives is furthest behind: nothing could leave before it, so the broker is not asked.
        """
        quiet = [shard for shard, beats in self._beats.items() if beats >= QUIET]
        ends = self._edges.ends() if self.held_by(self._beats) in quiet else []
        return [shard for shard in quiet if ends and max(ends[shard][0], self._merge.seen[shard] + 1) >= ends[shard][1]]
