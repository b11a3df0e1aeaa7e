"""Recorded consolidated ticks of US equities in LEAN's form, venue CONSOLIDATED.

- Quotes (`20131007_ibm_Quote_Tick.csv` in a zip: ms since midnight New York, bid price, bid size, ask price, ask size,
  exchange, condition, suspicious): each row tells one side, the other is 0. Each side is carried forward: a row gives a
  tick as soon as both are known. Locked and crossed ones are real (two exchanges) and left to admission.
- Trades (`..._Trade_Tick.csv`: ms, price, size, exchange, conditions, suspicious): the last trade, side unknown.

Prices are times 10,000, sizes are shares. A row that the vendor marks as suspicious is counted and not used.
https://github.com/QuantConnect/Lean/blob/master/Data/readme.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from connectors.market import tables
from connectors.market.bars import EQUITY_SCALE, MILLISECOND, NEW_YORK, midnight_ns
from connectors.market.book import Touch
from connectors.market.columns import UNKNOWN
from connectors.market.lines import member
from connectors.market.records import Malformed, Quote, Record, Tally, Trade
from connectors.market.tables import Row

VENUE = "CONSOLIDATED"
_NAME = re.compile(r"(\d{8})_([a-z0-9.]+)_(quote|trade)_tick\.csv$", re.IGNORECASE)


def _named(name: str) -> tuple[int, str, str] | None:
    """Midnight (ns), symbol and kind that a file's name tells."""
    found = _NAME.search(name)
    try:
        day = date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None
    return (midnight_ns(day, NEW_YORK), found[2].upper(), found[3].lower()) if found and day else None


class _LeanTicks:
    """Ticks of one instrument and day; `_kind` is quote or trade."""

    _kind: str
    _width: int

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether the name says so and the rows have the right number of fields."""
        named = _named(member)
        return named is not None and named[2] == self._kind and len(tables.header(head)) == self._width

    def _file(self, path: Path) -> tuple[int, str]:
        """Midnight in ns and symbol."""
        named = _named(member(path))
        if named is None:
            raise Malformed("no LEAN name")
        return named[:2]


class Sides:
    """The newest bid and the newest ask of one instrument.

    >>> sides = Sides()
    >>> sides.take(0.0, 0.0, 183.63, 100.0)
    >>> sides.take(180.01, 300.0, 0.0, 0.0)
    Touch(bid=180.01, ask=183.63, bid_size=300.0, ask_size=100.0)
    """

    def __init__(self) -> None:
        self._bid = self._ask = (0.0, 0.0)

    def take(self, bid: float, bid_size: float, ask: float, ask_size: float) -> Touch | None:
        """The touch after a row that tells one of them or both; None while one is unknown."""
        if bid:
            self._bid = bid, bid_size
        if ask:
            self._ask = ask, ask_size
        if not (self._bid[0] and self._ask[0]):
            return None
        return Touch(self._bid[0], self._ask[0], self._bid[1], self._ask[1])


class LeanQuoteTicks(_LeanTicks):
    """Quotes, one side a row."""

    name = "LEAN quote ticks"
    kinds: tuple[str, ...] = ("quote",)
    _kind, _width = "quote", 8

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        midnight, symbol = self._file(path)
        sides = Sides()

        def quote(row: Row) -> Quote | None:
            bid, bid_size, ask, ask_size = map(float, row[1:5])
            moment = midnight + int(row[0]) * MILLISECOND
            if row[7].strip() != "0":
                return None
            touch = sides.take(bid / EQUITY_SCALE, bid_size, ask / EQUITY_SCALE, ask_size)
            return Quote(moment, moment, VENUE, symbol, *touch, 0) if touch else None

        return tables.read(path, tally, "quote", quote)


class LeanTradeTicks(_LeanTicks):
    """Trades."""

    name = "LEAN trade ticks"
    kinds: tuple[str, ...] = ("trade",)
    _kind, _width = "trade", 6

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        midnight, symbol = self._file(path)

        def trade(row: Row) -> Trade | None:
            price, size, moment = float(row[1]), float(row[2]), midnight + int(row[0]) * MILLISECOND
            return Trade(moment, VENUE, symbol, price / EQUITY_SCALE, size, UNKNOWN) if row[5].strip() == "0" else None

        return tables.read(path, tally, "trade", trade)
