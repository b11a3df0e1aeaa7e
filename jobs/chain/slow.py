"""Slow values in one partition: from which tick on each is read.

An indicator arrives by a clock, so its place is not settled by the log. As with commands, the worker that reads it
writes a ruling first: from the end that the partition's log has now on. The ruling holds the value itself, so every
restart and every replay needs only rulings.v1.
"""
from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

import numpy as np

from jobs.chain.commands import Ruling
from jobs.chain.total_order import Edges
from udfs import slow
from udfs.slow import Slow, SlowValue
from udfs.stage import Columns

INDICATOR = "indicator"
ALL = ""
"""Symbol of a value that is about every instrument."""


class SlowValues:
    """The values of some names."""

    def __init__(self, edges: Edges, partition: int, names: Sequence[str]) -> None:
        self._edges, self._partition, self._names = edges, partition, tuple(names)
        self._held: dict[tuple[str, str], list[SlowValue]] = {}
        self._ruled: set[int] = set()
        for ruling in edges.rulings():
            if ruling.kind == INDICATOR and ruling.partition == partition:
                self._take(ruling)

    def _take(self, ruling: Ruling) -> None:
        self._ruled.add(ruling.command)
        value = SlowValue(ruling.known, ruling.command, ruling.first, ruling.value, ruling.until)
        insort(self._held.setdefault((ruling.indicator, ruling.symbol), []), value)

    def learn(self) -> None:
        """Rule on what has come since the last time; later, where the place cannot be told yet."""
        new = [i for i in self._edges.indicators() if i.offset not in self._ruled and i.name in self._names]
        first = self._edges.end(self._partition) if new else None
        if first is None:
            return
        made = [Ruling(i.offset, INDICATOR, "", self._partition, first, 0, i.name, i.symbol, i.value, i.known, i.until)
                for i in new]
        self._edges.rule(made)
        for ruling in made:
            self._take(ruling)

    def columns(self, columns: Columns, names: Sequence[bytes]) -> Columns:
        """For each name NAME its value, `NAME_life` and `NAME_silence` at each tick; `names` are VENUE:SYMBOL by slot.
        """
        out: Columns = {}
        for name in self._names:
            found = self._read(name, columns, names)
            out |= {name: found.value, f"{name}_life": found.life, f"{name}_silence": found.silence}
        self._forget(columns)
        return out

    def _read(self, name: str, columns: Columns, names: Sequence[bytes]) -> Slow:
        offset, ts_order, slots = columns["offset"], columns["ts_order"], columns["slot"]
        found = slow.read(self._held.get((name, ALL), ()), offset, ts_order)
        for slot in np.unique(slots).tolist():
            own = self._held.get((name, names[slot].split(b":", 1)[1].decode()))
            if own:
                rows = np.flatnonzero(slots == slot)
                general = Slow(found.value[rows], found.life[rows], found.silence[rows])
                chosen = slow.own_or_general(slow.read(own, offset[rows], ts_order[rows]), general)
                found.value[rows], found.life[rows], found.silence[rows] = chosen.value, chosen.life, chosen.silence
        return found

    def _forget(self, columns: Columns) -> None:
        offset, ts_order = int(columns["offset"][-1]), int(columns["ts_order"][-1])
        for key, values in self._held.items():
            if len(values) > 1:
                self._held[key] = slow.living(values, offset, ts_order)
