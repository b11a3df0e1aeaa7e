"""A chunk of ticks as columns: what every market source gives and `connectors.ticks.TickWriter` takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN, BUY, SELL = 0, 1, 2
"""Values of `last_side`: the positions of the symbols of enum Side in schemas/tick.avsc."""

EVENT_TIME_IS_RECEIVE_TIME = 1
"""Flag bit 1 of a tick: the venue sends no event time."""

GAP = 4
"""Flag bit 4 of a tick: the venue's messages before it were lost. The chain sets the same bit where `seq` leaves a gap.
"""

Instrument = tuple[str, str]
"""Venue and symbol."""


@dataclass(frozen=True)
class Ticks:
    """Ticks in the order in which they were received, one array element each.

    `instrument` points into `instruments`; times are ns since 1970-01-01 UTC, prices in quote currency, sizes in base
    units; `last_price` and `last_size` are NaN where no trade is known yet.
    """

    instruments: tuple[Instrument, ...]
    instrument: NDArray[np.int64]
    seq: NDArray[np.int64]
    ts_event: NDArray[np.int64]
    ts_recv: NDArray[np.int64]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    bid_size: NDArray[np.float64]
    ask_size: NDArray[np.float64]
    last_price: NDArray[np.float64]
    last_size: NDArray[np.float64]
    last_side: NDArray[np.int64]
    flags: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.instrument)

    def take(self, rows: slice | NDArray[np.int64]) -> Ticks:
        """Some of the rows, instruments unchanged."""
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    def later(self, offset_ns: int) -> Ticks:
        """The same ticks with both times moved by an offset."""
        return replace(self, ts_event=self.ts_event + offset_ns, ts_recv=self.ts_recv + offset_ns)


COLUMNS = tuple(field.name for field in fields(Ticks) if field.name != "instruments")
"""Names of the array columns, instrument first."""

INTEGERS = frozenset({"instrument", "seq", "ts_event", "ts_recv", "last_side", "flags"})
"""Columns of whole numbers; the others are float64."""


def concat(chunks: Iterable[Ticks]) -> Ticks:
    """All chunks of one source as one. A later chunk may know more instruments, never others in the same place."""
    parts = list(chunks)
    if not parts:
        return empty(())
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return Ticks(parts[-1].instruments, **columns)


def empty(instruments: tuple[Instrument, ...]) -> Ticks:
    """No rows."""
    columns: dict[str, Any] = {name: np.zeros(0, np.int64 if name in INTEGERS else np.float64) for name in COLUMNS}
    return Ticks(instruments, **columns)
