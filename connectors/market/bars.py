"""Recorded bars as quotes, venue BARS: one tick at the end of each bar, so that no bar is known before it is over.

- Minute quotes of LEAN (`20180404_btcusd_minute_quote.csv` in a zip: ms since midnight, bid open, high, low, close,
  size, ask the same): the closing bid and ask with their sizes. Equities come as price times 10,000 in New York time;
  they are told by prices without a decimal point. Crypto comes as plain prices in UTC.
- Minute trades of LEAN (ms, open, high, low, close, volume): the close fills the last-trade fields, side unknown.
- Daily bars of LEAN (`19980102 00:00,open,high,low,close,volume`, price times 10,000, one file an instrument): at the
  end of the day in New York, with a made-up quote like the next kind's.
- Bars of one instrument (`timestamp,open,high,low,close,volume` under a header, time of the start in UTC): no quote was
  recorded, so one is made up: the close is the mid, the spread is SPREAD of it (2 basis points), both sizes are SIZE (1
  base unit); symbol is the file's name up to its first digit or underscore.

https://github.com/QuantConnect/Lean/blob/master/Data/readme.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from connectors.market import tables
from connectors.market.columns import UNKNOWN
from connectors.market.lines import head, member
from connectors.market.records import Malformed, Quote, Record, Tally, Trade
from connectors.market.tables import Row

VENUE = "BARS"
SPREAD = 0.0002
SIZE = 1.0
EQUITY_SCALE = 10_000.0
MILLISECOND, SECOND = 1_000_000, 1_000_000_000
MINUTE = 60 * SECOND
NEW_YORK = ZoneInfo("America/New_York")
_NAME = re.compile(r"(\d{8})_([a-z0-9.]+)_minute_(quote|trade)\.csv$", re.IGNORECASE)
_DAY = re.compile(r"\d{8} \d\d:\d\d")
_SAMPLE = 100


def midnight_ns(day: date, zone: ZoneInfo | None) -> int:
    """Start of a day in a zone (None: UTC), ns since 1970.

    >>> midnight_ns(date(2018, 4, 4), None)
    1522800000000000000
    """
    return int(datetime.combine(day, time(), zone or UTC).timestamp()) * SECOND


class LeanMinutes:
    """Minute bars of one instrument and day in LEAN's form; `_kind` is quote or trade."""

    _kind: str
    _width: int

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether the name says so and the rows have the right number of fields."""
        named = _NAME.search(member)
        return (named is not None and named[3].lower() == self._kind and _day(named[1]) is not None
                and len(tables.header(head)) == self._width)

    def _file(self, path: Path) -> tuple[int, str, float]:
        """Midnight in ns, symbol, price scale."""
        named = _NAME.search(member(path))
        day = _day(named[1]) if named else None
        if named is None or day is None:
            raise Malformed("no LEAN name")
        prices = [field for line in head(path, _SAMPLE) for field in line.decode(errors="replace").split(",")[1:5]]
        equity = not any("." in price for price in prices)
        return midnight_ns(day, NEW_YORK if equity else None), named[2].upper(), EQUITY_SCALE if equity else 1.0


class LeanQuotes(LeanMinutes):
    """Minute quotes."""

    name = "LEAN minute quotes"
    kinds: tuple[str, ...] = ("quote_bar",)
    _kind, _width = "quote", 11

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order; a bar without a bid or without an ask gives none."""
        midnight, symbol, scale = self._file(path)

        def quote(row: Row) -> Quote | None:
            end = midnight + int(row[0]) * MILLISECOND + MINUTE
            if not row[4] or not row[9]:
                return None
            return Quote(end, end, VENUE, symbol, float(row[4]) / scale, float(row[9]) / scale, float(row[5]),
                         float(row[10]), 0)

        return tables.read(path, tally, "quote_bar", quote)


class LeanTrades(LeanMinutes):
    """Minute trades."""

    name = "LEAN minute trades"
    kinds: tuple[str, ...] = ("trade_bar",)
    _kind, _width = "trade", 6

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        midnight, symbol, scale = self._file(path)

        def trade(row: Row) -> Trade:
            end = midnight + int(row[0]) * MILLISECOND + MINUTE
            return Trade(end, VENUE, symbol, float(row[4]) / scale, float(row[5]), UNKNOWN)

        return tables.read(path, tally, "trade_bar", trade)


class Ohlc:
    """Bars under a header, as quotes with a made-up spread and size."""

    name = "bars with a header"
    kinds: tuple[str, ...] = ("bar",)
    _columns = ("timestamp", "open", "high", "low", "close", "volume")

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether the first line names all columns."""
        return set(self._columns) <= set(tables.header(head))

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        start, close = (tables.header(head(path, 1)).index(name) for name in ("timestamp", "close"))
        length = _length(head(path, _SAMPLE)[1:], start)
        symbol = symbol_of(member(path))

        def quote(row: Row) -> Quote:
            return made_up(_moment(row[start]) + length, VENUE, symbol, float(row[close]))

        return tables.read(path, tally, "bar", quote, skip=1)


class LeanDaily:
    """Daily bars of one instrument in LEAN's form."""

    name = "LEAN daily bars"
    kinds: tuple[str, ...] = ("bar",)

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether the first row has a day and five numbers."""
        first = tables.header(head)
        return len(first) == 6 and _DAY.fullmatch(first[0]) is not None and _day(first[0][:8]) is not None

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        symbol = symbol_of(member(path))

        def quote(row: Row) -> Quote:
            day = datetime.strptime(row[0], "%Y%m%d %H:%M").date()
            return made_up(midnight_ns(day + timedelta(days=1), NEW_YORK), VENUE, symbol, float(row[4]) / EQUITY_SCALE)

        return tables.read(path, tally, "bar", quote)


def made_up(end: int, venue: str, symbol: str, mid: float) -> Quote:
    """The quote of a bar that has none."""
    half = 0.5 * SPREAD * mid
    return Quote(end, end, venue, symbol, mid - half, mid + half, SIZE, SIZE, 0)


def _day(text: str) -> date | None:
    """A day written as eight digits, None where there is no such day."""
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None


def _length(rows: list[bytes], start: int) -> int:
    """Least time from one bar to the next, a minute where no two can be read; rows that are no bars are passed over."""
    moments = []
    for row in rows:
        try:
            moments.append(_moment(row.decode().split(",")[start]))
        except (ValueError, IndexError, OverflowError):
            continue
    return min((later - earlier for earlier, later in pairwise(moments) if later > earlier), default=MINUTE)


def symbol_of(name: str) -> str:
    """Symbol in a file's name.

    >>> symbol_of("btc-perp-20211231-20220201_1m.csv")
    'BTC-PERP'
    """
    return re.split(r"[_.]|-\d", name)[0].upper() or "UNKNOWN"


def _moment(text: str) -> int:
    """Nanoseconds of an ISO time, UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
