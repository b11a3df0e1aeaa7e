"""Bybit v5 spot or linear: public streams, no key.

A gap in a book is repaired by subscribing it anew, which begins with a snapshot. The venue wants a ping every 20 s.
https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from connectors.market.bybit import Session, venue
from connectors.venues.feed import Link, Venue

ADDRESS, REST_ADDRESS = "wss://stream.bybit.com/v5/public", "https://api.bybit.com"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
AT_ONCE = 10
"""Topics in a request: the venue takes no more of spot."""


class Bybit(Venue):
    """The venue as `connectors.venues.feed.Feed` wants it. `category`: spot or linear; `depth`: 1, 50, 200 or 1000."""

    default_symbols = SYMBOLS
    heartbeat: str | None = None

    def __init__(self, address: str = ADDRESS, rest_address: str = REST_ADDRESS, category: str = "spot",
                 depth: int = 50) -> None:
        self._address, self.rest_address, self._category, self._depth = address, rest_address, category, depth
        self.name, self.venues = "bybit" if category == "spot" else f"bybit-{category}", (venue(category),)

    def address(self, symbols: Sequence[str]) -> str:
        """One address a category."""
        return f"{self._address}/{self._category}"

    def session(self, symbols: Sequence[str], gap: bool) -> Session:
        """The parser of recordings, told what to expect."""
        return Session(self._category, symbols, gap)

    def greeting(self, symbols: Sequence[str]) -> list[str]:
        """Books and trades."""
        return _requests("subscribe", [*self._books(symbols), *(f"publicTrade.{symbol}" for symbol in symbols)])

    def ping(self) -> str | None:
        """The venue's own."""
        return '{"op":"ping"}'

    async def resync(self, link: Link, symbols: Sequence[str]) -> None:
        """Subscribe the books anew."""
        books = self._books(symbols)
        await link.send(*_requests("unsubscribe", books), *_requests("subscribe", books))

    def _books(self, symbols: Sequence[str]) -> list[str]:
        return [f"orderbook.{self._depth}.{symbol}" for symbol in symbols]


def _requests(kind: str, topics: Sequence[str]) -> list[str]:
    """As few requests as the venue takes.

    >>> len(_requests("subscribe", ["t"] * 11))
    2
    """
    return [orjson.dumps({"op": kind, "args": list(topics[at:at + AT_ONCE])}).decode()
            for at in range(0, len(topics), AT_ONCE)]
