"""What every recorded format is read into: quotes and trades, and a count of all else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import NamedTuple, Protocol


class Quote(NamedTuple):
    """A best bid and offer; becomes one tick."""

    ts_recv: int
    ts_event: int
    venue: str
    symbol: str
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    flags: int


class Trade(NamedTuple):
    """A trade; fills the last-trade fields of the ticks of its symbol that follow. `side` is the aggressor's."""

    ts_recv: int
    venue: str
    symbol: str
    price: float
    size: float
    side: int


Record = Quote | Trade


class Malformed(Exception):
    """A line or frame that is not what its format says; counted, never fatal."""


def in_range(time: int) -> int:
    """The same time, ns since 1970. Raises Malformed where it is before 1970 or no 64-bit one."""
    if not 0 <= time < 2**63:
        raise Malformed(f"time {time} out of range")
    return time


def checked(record: Record) -> Record:
    """The same record. Raises Malformed for a time that is no 64-bit one or a trade whose price is no number.

    A quote's numbers are left to the chain's admission, which keeps what it rejects.
    """
    in_range(record.ts_recv)
    if isinstance(record, Quote):
        in_range(record.ts_event)
    if isinstance(record, Trade) and not (isfinite(record.price) and isfinite(record.size)):
        raise Malformed(f"a trade of {record.size} at {record.price}")
    return record


class Refused(NamedTuple):
    """A line that was not read, and why."""

    path: Path
    line: int
    reason: str


KEPT = 100
"""Unreadable lines kept by number and reason."""


@dataclass
class Tally:
    """What was met in the files: frames by kind, and the lines that could not be read."""

    frames: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    """The first lines that could not be read, at most KEPT."""
    rejected: int = 0
    """Number of all lines that could not be read."""
    lines: int = 0
    """Lines read so far."""

    def refuse(self, path: Path, line: int, error: Exception) -> None:
        """Count a line that could not be read."""
        self.rejected += 1
        if len(self.refused) < KEPT:
            self.refused.append(Refused(path, line, f"{type(error).__name__}: {error}"))


class Format(Protocol):
    """One recorded format."""

    name: str
    """What a user calls it."""
    kinds: tuple[str, ...]
    """Kinds of frames that are always counted, even where there are none."""

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether a file that starts with these lines and has this name is of the format."""

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Its records in file order."""
