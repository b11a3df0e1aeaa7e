"""What a stage is: a pure step over the columns of a micro-batch, with explicit state.

    columns = step(state, columns)

`columns` maps names to arrays with one row for each tick, in order. The step goes through them tick by tick and
updates `state` in place, so the result cannot depend on where a micro-batch was cut. `state.symbols` has one record
for each symbol, found by the column `slot`; `state.shared` is one record for all of them. A step adds columns and
never edits one.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, Any]
NOTHING = np.dtype([("unused", np.int8)])
"""State of a stage that keeps none."""

GROWTH = 16
"""Symbols a shard makes room for at first; the room doubles when it is full."""


@dataclass
class StageState:
    """State of one stage: `symbols`, a record array by slot, and `shared`, a record array of length one."""

    symbols: NDArray[Any]
    shared: NDArray[Any]


@dataclass(frozen=True)
class Stage:
    """A named step with the layout of its state. The name is the operator's, the metric's and the state's."""

    name: str
    step: Callable[[StageState, Columns], Columns]
    symbol: np.dtype[Any] = NOTHING
    shared: np.dtype[Any] = NOTHING


class Store(Protocol):
    """Where packed state is kept between calls: bytes by key. Flink's MapState, or a dict in tests."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, make: Callable[[], bytes]) -> None:
        """Keep what `make` gives: now, or what it gives when the state is next written."""

    def remove(self, key: str) -> None: ...


SHARED, NAMES = "shared", "names"
"""Keys of the packed shared records and of the symbols in slot order."""

PAGE_BYTES = 4_096
"""Symbols are packed by pages of about this size: a write costs much more than a few kilobytes in it."""


@dataclass
class KeyedState:
    """State of consecutive stages for one Flink key: a record for each symbol, packed by pages of symbols.

    Only what a micro-batch touched is written back, so that the cost does not grow with the number of symbols. Slots
    are numbered in the order symbols were first seen, and a restore keeps the numbers: sums over slots then have the
    same bits.
    """

    stages: Sequence[Stage]
    store: Store
    slots: dict[bytes, int] = field(default_factory=dict)
    names: list[bytes] = field(default_factory=list)
    states: list[StageState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.digest = layout(self.stages)
        self.page = max(1, PAGE_BYTES // sum(stage.symbol.itemsize for stage in self.stages))
        room = -(-GROWTH // self.page) * self.page
        self.states = [StageState(np.zeros(room, s.symbol), np.zeros(1, s.shared)) for s in self.stages]
        self._restore(SHARED, [state.shared for state in self.states], 0, 1)
        for name in filter(None, (self.store.get(NAMES) or b"").split(b"\0")):
            self._add(name)
        for start in range(0, len(self.names), self.page):
            self._restore(f"page/{start}", [state.symbols for state in self.states], start, self.page)

    def slot(self, name: bytes) -> int:
        """Slot of the symbol `VENUE:SYMBOL`, a new one if it was never seen."""
        found = self.slots.get(name)
        if found is None:
            found = self._add(name)
            self.store.put(NAMES, lambda: b"\0".join(self.names))
        return found

    def _add(self, name: bytes) -> int:
        slot = self.slots[name] = len(self.names)
        self.names.append(name)
        if slot == len(self.states[0].symbols):
            for state in self.states:
                state.symbols = np.concatenate([state.symbols, np.zeros_like(state.symbols)])
        return slot

    def _restore(self, key: str, arrays: list[NDArray[Any]], first: int, count: int) -> None:
        packed = self.store.get(key)
        if packed is None:
            return
        if packed[:8] != self.digest:
            raise StateLayoutError(self.stages, key)
        start = 8
        for array in arrays:
            array[first:first + count] = np.frombuffer(packed, array.dtype, count, start)
            start += count * array.dtype.itemsize

    def save(self, slots: Iterable[int]) -> None:
        """Write back the shared records and the pages of these slots."""
        self.store.put(SHARED, lambda: self.digest + b"".join(state.shared.tobytes() for state in self.states))
        for start in sorted({slot // self.page * self.page for slot in slots}):
            self.store.put(f"page/{start}", partial(self._page, start))

    def _page(self, start: int) -> bytes:
        return self.digest + b"".join(state.symbols[start:start + self.page].tobytes() for state in self.states)

    def run(self, columns: Columns) -> Columns:
        """All stages, one after another, over one micro-batch."""
        for stage, state in zip(self.stages, self.states, strict=True):
            columns = stage.step(state, columns)
        return columns


class StateLayoutError(Exception):
    """A savepoint holds state of another layout than these stages have."""

    def __init__(self, stages: Sequence[Stage], key: str) -> None:
        names = ", ".join(stage.name for stage in stages)
        super().__init__(f"{names}: state of {key!r} has another layout than this version of the stages; "
                         "start without the savepoint, or with the version that wrote it")


def layout(stages: Sequence[Stage]) -> bytes:
    """Eight bytes that name the state layout of these stages."""
    text = repr([(s.name, s.symbol.descr, s.shared.descr) for s in stages])
    return hashlib.sha256(text.encode()).digest()[:8]
