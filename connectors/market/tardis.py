"""Recorded tardis.dev CSV: quotes and trades, with exchange and receive time in microseconds.

https://docs.tardis.dev/downloadable-csv-files
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from connectors.market import tables
from connectors.market.columns import BUY, SELL, UNKNOWN
from connectors.market.lines import head
from connectors.market.records import Quote, Record, Tally, Trade
from connectors.market.tables import Row

MICROSECOND = 1_000
_SIDES = {"buy": BUY, "sell": SELL, "unknown": UNKNOWN}


class TardisQuotes:
    """Top of book updates, one tick each."""

    name = "tardis quotes"
    kinds: tuple[str, ...] = ("quote",)
    _columns = ("local_timestamp", "timestamp", "exchange", "symbol", "bid_price", "ask_price", "bid_amount",
                "ask_amount")

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether the first line names all columns."""
        return set(self._columns) <= set(tables.header(head))

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        at = [tables.header(head(path, 1)).index(name) for name in self._columns]

        def quote(row: Row) -> Quote:
            recv, event, exchange, symbol, *numbers = (row[i] for i in at)
            bid, ask, bid_size, ask_size = map(float, numbers)
            return Quote(int(recv) * MICROSECOND, int(event) * MICROSECOND, exchange.upper(), symbol, bid, ask,
                         bid_size, ask_size, 0)

        return tables.read(path, tally, "quote", quote, skip=1)


class TardisTrades:
    """Trades; `side` is the aggressor's."""

    name = "tardis trades"
    kinds: tuple[str, ...] = ("trade",)
    _columns = ("local_timestamp", "exchange", "symbol", "price", "amount", "side")

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether the first line names all columns."""
        return set(self._columns) <= set(tables.header(head))

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        at = [tables.header(head(path, 1)).index(name) for name in self._columns]

        def trade(row: Row) -> Trade:
            recv, exchange, symbol, price, size, side = (row[i] for i in at)
            return Trade(int(recv) * MICROSECOND, exchange.upper(), symbol, float(price), float(size),
                         _SIDES.get(side, UNKNOWN))

        return tables.read(path, tally, "trade", trade, skip=1)
