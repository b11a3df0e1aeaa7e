"""An order book by price level, kept only for its touch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from connectors.market.records import Malformed


class Touch(NamedTuple):
    """Best bid and offer with their sizes."""

    bid: float
    ask: float
    bid_size: float
    ask_size: float


class Book:
    """Levels of both sides; `set` replaces a level, size 0 removes it.

    >>> book = Book()
    >>> book.replace([("10", "1"), ("9", "2")], [("11", "3")])
    >>> book.set("bid", "10", "0")
    >>> book.touch()
    Touch(bid=9.0, ask=11.0, bid_size=2.0, ask_size=3.0)
    """

    def __init__(self) -> None:
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._best_bid = self._best_ask = 0.0

    def replace(self, bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> None:
        """Start anew from a snapshot. Raises ValueError for a price or size that is no number."""
        new_bids = {float(price): float(size) for price, size in bids}
        new_asks = {float(price): float(size) for price, size in asks}
        self._bids = {price: size for price, size in new_bids.items() if size > 0}
        self._asks = {price: size for price, size in new_asks.items() if size > 0}
        self._best_bid, self._best_ask = max(self._bids, default=0.0), min(self._asks, default=0.0)

    def set(self, side: str, price: str, size: str) -> None:
        """Set one level of side bid or ask."""
        level, amount = float(price), float(size)
        if side == "bid":
            self._best_bid = _set(self._bids, level, amount, self._best_bid, max)
        elif side == "ask":
            self._best_ask = _set(self._asks, level, amount, self._best_ask, min)
        else:
            raise Malformed(f"side must be bid or ask, it is {side!r}")

    def touch(self) -> Touch | None:
        """Best bid and offer, None while a side is empty."""
        if not self._bids or not self._asks:
            return None
        return Touch(self._best_bid, self._best_ask, self._bids[self._best_bid], self._asks[self._best_ask])


def _set(levels: dict[float, float], price: float, size: float, best: float, better: Any) -> float:
    """Set a level and give the new best price; all levels are searched only where the best one has gone."""
    if size > 0:
        levels[price] = size
        return price if len(levels) == 1 else float(better(best, price))
    if levels.pop(price, None) is not None and price == best:
        return float(better(levels, default=0.0))
    return best
