"""Recorded files as one stream of ticks, merged in the order in which their frames were received.

    recording = open_recording([Path("btcusdt.gz"), Path("ethusdt.gz")])
    for ticks in recording.ticks(): ...
    recording.frames                  # {"bookTicker": 52117, "trade": 15863, ...}

The format is told by content. A quote becomes one tick whose last-trade fields hold the newest trade of its symbol
received before it; `seq` counts from 1 for each venue and symbol, so a recording sent twice is a duplicate.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from connectors.market import lines
from connectors.market.alpaca import Alpaca
from connectors.market.bars import LeanDaily, LeanQuotes, LeanTrades, Ohlc
from connectors.market.binance import Binance
from connectors.market.bybit import Bybit
from connectors.market.coinbase import CoinbaseAdvanced, CoinbaseExchange
from connectors.market.columns import INTEGERS, UNKNOWN, Instrument, Ticks
from connectors.market.equity_ticks import LeanQuoteTicks, LeanTradeTicks
from connectors.market.records import Format, Quote, Record, Refused, Tally
from connectors.market.tardis import TardisQuotes, TardisTrades
from sigmaflow.errors import UserError

FORMATS: tuple[Format, ...] = (
    TardisTrades(), LeanTrades(), LeanTradeTicks(), Binance(), Bybit(), CoinbaseAdvanced(), CoinbaseExchange(),
    Alpaca(), TardisQuotes(), LeanQuotes(), LeanQuoteTicks(), LeanDaily(), Ohlc())
"""Trades first: at the same moment a trade fills the quote and not the next one."""

HEAD = 50
"""Lines looked at to tell a format."""
CHUNK = 8_192
"""Ticks in a chunk."""


class Recording:
    """Some recorded files. `frames`, `rejected` and `lines_read` tell what the last `ticks()` has met so far."""

    def __init__(self, sources: list[tuple[Path, Format]], line_count: int) -> None:
        self._sources = sources
        self._tally = Tally()
        self.line_count = line_count
        """Lines of all files together."""

    @property
    def frames(self) -> dict[str, int]:
        """Frames by kind."""
        return dict(self._tally.frames)

    @property
    def rejected(self) -> int:
        """Number of lines that could not be read: rejected at the edge, they never enter Kafka."""
        return self._tally.rejected

    @property
    def refused(self) -> list[Refused]:
        """The first of those lines, with the reason."""
        return self._tally.refused

    @property
    def lines_read(self) -> int:
        """Lines read so far."""
        return self._tally.lines

    def ticks(self, chunk: int = CHUNK) -> Iterator[Ticks]:
        """Chunks of ticks from the start. Raises UserError when the files hold no quote at all."""
        self._tally = Tally()
        for _, form in self._sources:
            self._tally.frames.update(dict.fromkeys(form.kinds, 0))
        streams = [form.read(path, self._tally) for path, form in self._sources]
        merged = heapq.merge(*streams, key=itemgetter(0)) if len(streams) > 1 else streams[0]
        builder = Builder()
        found = False
        for record in merged:
            builder.add(record)
            if len(builder) == chunk:
                found = True
                yield builder.take()
        if len(builder):
            yield builder.take()
        elif not found:
            raise UserError(lines.STAGE, "a recording must hold quotes", self._nothing(),
                            "add a file with quotes (bookTicker, level 2, quotes or bars)")

    def _nothing(self) -> str:
        frames = ", ".join(f"{count} {kind}" for kind, count in self._tally.frames.items() if count) or "no frame"
        first = self._tally.refused[0] if self._tally.refused else None
        bad = f" and {self.rejected} unreadable lines, first {first.path} line {first.line}" if first else ""
        return f"{', '.join(str(path) for path, _ in self._sources)} gave {frames}{bad}"


class Builder:
    """Makes ticks of records: numbers them and fills in the last trades.

    `first` is the number of an instrument's first tick, 1 unless given.
    """

    def __init__(self, first: Callable[[Instrument], int] = lambda _: 1) -> None:
        self._first = first
        self._at: dict[Instrument, int] = {}
        self._seq: list[int] = []
        self._last: list[tuple[float, float, int]] = []
        self._rows: list[tuple[float, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, record: Record) -> None:
        """A quote makes a row, a trade is remembered."""
        if isinstance(record, Quote):
            at = self._instrument((record.venue, record.symbol))
            self._seq[at] += 1
            self._rows.append((at, self._seq[at], record.ts_event, record.ts_recv, record.bid, record.ask,
                               record.bid_size, record.ask_size, *self._last[at], record.flags))
        else:
            at = self._instrument((record.venue, record.symbol))
            self._last[at] = (record.price, record.size, record.side)

    def take(self) -> Ticks:
        """The rows so far as a chunk; the next ones start a new one."""
        columns = zip(*self._rows, strict=True)
        names = ("instrument", "seq", "ts_event", "ts_recv", "bid", "ask", "bid_size", "ask_size", "last_price",
                 "last_size", "last_side", "flags")
        arrays: dict[str, Any] = {name: np.array(column, np.int64 if name in INTEGERS else np.float64)
                                  for name, column in zip(names, columns, strict=True)}
        self._rows = []
        return Ticks(tuple(self._at), **arrays)

    def _instrument(self, key: Instrument) -> int:
        at = self._at.get(key)
        if at is None:
            at = self._at[key] = len(self._at)
            self._seq.append(self._first(key) - 1)
            self._last.append((float("nan"), float("nan"), UNKNOWN))
        return at


def open_recording(paths: list[Path]) -> Recording:
    """Check the files and tell their formats.

    Raises UserError for a missing, empty, truncated or unknown one, before anything is read as market data.
    """
    if not paths:
        raise UserError(lines.STAGE, "a replay must have files", "none was given", 'give FILES="a.gz b.gz"')
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise UserError(lines.STAGE, "every file must be given once", f"{twice[0]} is not", "leave it out once")
    line_count = sum(lines.check(path) for path in paths)
    sources = [(path, _format(path)) for path in paths]
    sources.sort(key=lambda source: FORMATS.index(source[1]))
    return Recording(sources, line_count)


def _format(path: Path) -> Format:
    head, member = lines.head(path, HEAD), lines.member(path)
    for form in FORMATS:
        if form.matches(head, member):
            return form
    known = ", ".join(form.name for form in FORMATS)
    start = head[0][:60].decode(errors="replace") if head else ""
    raise UserError(lines.STAGE, f"{path} must be a known recording", f"line 1 starts {start!r}", f"known are {known}")
