"""Order books by price level, and the quotes that their changes give.

A book that has missed an update is wrong until its next snapshot. `Books` knows which ones those are: their quotes
carry flag bit 4 (gap), and so does the first quote after the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush, nlargest, nsmallest
from math import inf
from typing import NamedTuple

from connectors.market.columns import EVENT_TIME_IS_RECEIVE_TIME, GAP
from connectors.market.records import Malformed, Quote

Level = tuple[float, float]
"""Price and size."""

SPARE = 1_024
"""Prices that a side's heap may hold in vain beyond one for each level, before it is built anew."""


class Touch(NamedTuple):
    """Best bid and offer with their sizes."""

    bid: float
    ask: float
    bid_size: float
    ask_size: float


def level(price: str | float, size: str | float) -> Level:
    """A price and size as a venue writes them, as numbers.

    Raises ValueError or Malformed for what is none, a price that is not positive or a negative size.

    >>> level("10.50", "0.000")
    (10.5, 0.0)
    >>> level("10", "0.-10000")
    Traceback (most recent call last):
    ValueError: could not convert string to float: '0.-10000'
    """
    number, amount = float(price), float(size)
    if not (0 < number < inf and 0 <= amount < inf):
        raise Malformed(f"a level of {amount} at {number}")
    return number, amount


def levels(pairs: Iterable[Sequence[str]]) -> list[Level]:
    """All levels of a side. Raises as `level` does."""
    return [level(pair[0], pair[1]) for pair in pairs]


class _Side:
    """Levels of one side. The best price is found by a heap, from which prices that are gone leave only at its top."""

    def __init__(self, held: Iterable[Level], sign: int) -> None:
        self.sizes = {price: size for price, size in held if size > 0}
        self._sign = sign
        self._tidy()

    def set(self, price: float, size: float) -> None:
        if size <= 0:
            self.sizes.pop(price, None)
            return
        if price not in self.sizes:
            heappush(self._heap, price * self._sign)
            if len(self._heap) > 2 * len(self.sizes) + SPARE:
                self.sizes[price] = size
                self._tidy()
        self.sizes[price] = size

    def best(self) -> float | None:
        heap = self._heap
        while heap and heap[0] * self._sign not in self.sizes:
            heappop(heap)
        return heap[0] * self._sign if heap else None

    def _tidy(self) -> None:
        self._heap = [price * self._sign for price in self.sizes]
        heapify(self._heap)


class Book:
    """Levels of both sides; `update` replaces levels, size 0 removes one.

    >>> book = Book([(10.0, 1.0), (9.0, 2.0)], [(11.0, 3.0)])
    >>> book.update([(10.0, 0.0)], [])
    >>> book.touch()
    Touch(bid=9.0, ask=11.0, bid_size=2.0, ask_size=3.0)
    """

    def __init__(self, bids: Iterable[Level] = (), asks: Iterable[Level] = ()) -> None:
        self._bids, self._asks = _Side(bids, -1), _Side(asks, 1)

    def update(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Set levels of both sides."""
        for price, size in bids:
            self._bids.set(price, size)
        for price, size in asks:
            self._asks.set(price, size)

    def touch(self) -> Touch | None:
        """Best bid and offer, None while a side is empty."""
        bid, ask = self._bids.best(), self._asks.best()
        if bid is None or ask is None:
            return None
        return Touch(bid, ask, self._bids.sizes[bid], self._asks.sizes[ask])

    def top(self, depth: int) -> tuple[list[Level], list[Level]]:
        """The best levels of both sides, best first.

        >>> Book([(10.0, 1.0), (9.0, 2.0)], [(12.0, 4.0), (11.0, 3.0)]).top(1)
        ([(10.0, 1.0)], [(11.0, 3.0)])
        """
        bids, asks = self._bids.sizes, self._asks.sizes
        return ([(price, bids[price]) for price in nlargest(depth, bids)],
                [(price, asks[price]) for price in nsmallest(depth, asks)])

    def __len__(self) -> int:
        return len(self._bids.sizes) + len(self._asks.sizes)


class Books:
    """One book for each symbol of a venue, what is wrong with them, and the touch last given for each.

    `gap` says that something was lost before the first snapshot: a connection was cut. `expected` names the symbols
    that will come, where that is known: an update that is lost may have been a snapshot.
    """

    def __init__(self, venue: str, expected: Iterable[str] = (), gap: bool = False) -> None:
        self._venue, self._expected = venue, tuple(expected)
        self._books: dict[str, Book] = {}
        self._given: dict[str, Touch] = {}
        self._gap = gap
        self._after: set[str] = set()
        self.lost: set[str] = set()
        """Symbols whose book has missed an update and waits for a snapshot."""

    def book(self, symbol: str) -> Book | None:
        """A symbol's book, None before its first snapshot."""
        return self._books.get(symbol)

    def snapshot(self, symbol: str, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Start a symbol's book anew."""
        if symbol in self.lost or (self._gap and symbol not in self._books):
            self._after.add(symbol)
        self.lost.discard(symbol)
        self._books[symbol] = Book(bids, asks)

    def update(self, symbol: str, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Change levels; without a snapshot before there is no book to change, and nothing happens."""
        book = self._books.get(symbol)
        if book is not None:
            book.update(bids, asks)

    def lose(self, *symbols: str) -> None:
        """Updates of these symbols were lost, of all where none is named."""
        self.lost.update(symbols or (*self._expected, *self._books))

    def flags(self, symbol: str) -> int:
        """GAP where updates before the next quote of a symbol were lost, else 0. Tells it once after a snapshot."""
        marked = symbol in self.lost or symbol in self._after
        self._after.discard(symbol)
        return GAP if marked else 0

    def quote(self, symbol: str, ts_recv: int, ts_event: int) -> Iterator[Quote]:
        """A quote where the touch differs from the last one given. A crossed book gives none: an update was lost."""
        book = self._books.get(symbol)
        touch = book.touch() if book else None
        if touch is None or touch == self._given.get(symbol):
            return
        if touch.bid > touch.ask:
            self.lose(symbol)
            return
        self._given[symbol] = touch
        stamp = 0 if ts_event else EVENT_TIME_IS_RECEIVE_TIME
        yield Quote(ts_recv, ts_event or ts_recv, self._venue, symbol, *touch, stamp | self.flags(symbol))
