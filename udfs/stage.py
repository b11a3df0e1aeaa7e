"""What a stage is: a pure step over the columns of a micro-batch, with explicit state.

    columns = step(state, columns)

`columns` maps names to arrays with one row for each tick, in order. The step goes through them tick by tick and
updates `state` in place, so the result cannot depend on where a micro-batch was cut. `state.symbols` has one record
for each symbol, found by the column `slot`; `state.shared` has one for all symbols of a part. A step adds columns and
never edits one.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, Any]
NOTHING = np.dtype([("unused", np.int8)])
"""State of a stage that keeps none."""

GROWTH = 16
"""Symbols a part makes room for at first; the room of all doubles when one is full."""


@dataclass
class StageState:
    """State of one stage: `symbols`, a record array by slot, and `shared`, a record array by part.

    Each part has as many slots as any other, so that slot s lies in part s // (len(symbols) // len(shared)).
    """

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
class _Part:
    """Where the symbols of one Flink key are kept, and their places in it by name."""

    store: Store
    places: dict[bytes, int] = field(default_factory=dict)


@dataclass
class KeyedState:
    """State of consecutive stages: a record for each symbol, packed by pages of symbols.

    A part is what one Flink key holds. All parts lie in the same arrays, so that a step goes once over the ticks of all
    of them. Only what a micro-batch touched is written back, so that the cost does not grow with the number of symbols.
    Within a part places are numbered in the order symbols were first seen, and a restore keeps the numbers: sums over
    slots then have the same bits.
    """

    stages: Sequence[Stage]
    room: int = 0
    """Slots of each part."""
    names: list[bytes] = field(default_factory=list)
    """Symbols by slot, empty where a part has room left before the next."""
    states: list[StageState] = field(default_factory=list)
    _parts: list[_Part] = field(default_factory=list)
    _known_puts: dict[int, tuple[Callable[[], None], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.digest = layout(self.stages)
        self.page = max(1, PAGE_BYTES // sum(stage.symbol.itemsize for stage in self.stages))
        self.room = -(-GROWTH // self.page) * self.page
        self.states = [StageState(np.zeros(0, s.symbol), np.zeros(0, s.shared)) for s in self.stages]

    def open(self, store: Store) -> int:
        """Begin a part with what its store holds; its number. Raises StateLayoutError."""
        part = len(self._parts)
        self._parts.append(_Part(store))
        for state in self.states:
            state.symbols = np.concatenate([state.symbols, np.zeros(self.room, state.symbols.dtype)])
            state.shared = np.concatenate([state.shared, np.zeros(1, state.shared.dtype)])
        self._restore(store, SHARED, [state.shared for state in self.states], part, 1)
        for name in filter(None, (store.get(NAMES) or b"").split(b"\0")):
            self._add(name, part)
        for start in range(0, len(self._parts[part].places), self.page):
            arrays = [state.symbols for state in self.states]
            self._restore(store, f"page/{start}", arrays, part * self.room + start, self.page)
        return part

    def known(self, part: int = 0) -> Sequence[bytes]:
        """Symbols of a part in the order in which they were first seen."""
        return list(self._parts[part].places)

    def slot(self, name: bytes, part: int = 0) -> int:
        """Slot of the symbol `VENUE:SYMBOL`, a new one if it was never seen in the part."""
        held = self._parts[part]
        if name not in held.places:
            self._add(name, part)
            held.store.put(NAMES, lambda: b"\0".join(held.places))
        return part * self.room + held.places[name]

    def _add(self, name: bytes, part: int) -> None:
        places = self._parts[part].places
        if len(places) == self.room:
            self._double()
        slot = part * self.room + len(places)
        places[name] = len(places)
        self.names += [b""] * (slot + 1 - len(self.names))
        self.names[slot] = name

    def _double(self) -> None:
        """Twice the room for every part, whose slots change unless it is the first."""
        for state in self.states:
            wider = np.zeros((len(self._parts), 2 * self.room), state.symbols.dtype)
            wider[:, :self.room] = state.symbols.reshape(-1, self.room)
            state.symbols = wider.reshape(-1)
        self.room *= 2
        self._known_puts.clear()
        held = [part.places for part in self._parts]
        self.names = [b""] * max((n * self.room + len(places) for n, places in enumerate(held) if places), default=0)
        for part, places in enumerate(held):
            self.names[part * self.room:part * self.room + len(places)] = places

    def _restore(self, store: Store, key: str, arrays: Sequence[NDArray[Any]], first: int, count: int) -> None:
        packed = store.get(key)
        if packed is None:
            return
        if packed[:8] != self.digest:
            raise StateLayoutError(self.stages, key)
        start = 8
        for array in arrays:
            array[first:first + count] = np.frombuffer(packed, array.dtype, count, start)
            start += count * array.dtype.itemsize

    def save(self, slots: NDArray[np.int64]) -> None:
        """Write back the pages of these slots, and the shared records of their parts."""
        for number in dict.fromkeys((slots // self.page).tolist()):
            for put in self._puts(number):
                put()

    def _puts(self, number: int) -> Sequence[Callable[[], None]]:
        """What writes a page, and what is shared in its part: made once, since each call touches a dozen."""
        if number not in self._known_puts:
            part, page = divmod(number, self.room // self.page)
            start, store = page * self.page, self._parts[part].store
            self._known_puts[number] = (partial(store.put, SHARED, partial(self._shared, part)),
                                        partial(store.put, f"page/{start}", partial(self._page, part, start)))
        return self._known_puts[number]

    def _shared(self, part: int) -> bytes:
        return self.digest + b"".join(state.shared[part:part + 1].tobytes() for state in self.states)

    def _page(self, part: int, start: int) -> bytes:
        first = part * self.room + start
        return self.digest + b"".join(state.symbols[first:first + self.page].tobytes() for state in self.states)

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
