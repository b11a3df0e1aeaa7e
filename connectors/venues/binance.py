"""Binance spot: public streams, no key.

The streams are in the address, so a symbol that does not exist would be silence; the depth snapshot that every symbol
needs tells it (HTTP 400). The snapshot is asked for a moment after the updates have begun, so that they overlap.
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#how-to-manage-a-local-order-book-correctly
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from connectors.market.binance import Session
from connectors.venues.feed import Link, Venue

ADDRESS, REST_ADDRESS = "wss://stream.binance.com:9443", "https://api.binance.com"
STREAMS = ("bookTicker", "trade", "depth@100ms")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SETTLE_S = 0.5
"""Five depth updates."""


class Binance(Venue):
    """The venue as `connectors.venues.feed.Feed` wants it. `depth`: levels of a snapshot, 100, 500, 1000 or 5000."""

    name, venues, default_symbols = "binance", ("BINANCE",), SYMBOLS
    heartbeat: str | None = None

    def __init__(self, address: str = ADDRESS, rest_address: str = REST_ADDRESS, depth: int = 1_000,
                 settle_s: float = SETTLE_S) -> None:
        self._address, self.rest_address, self._depth, self._settle_s = address, rest_address, depth, settle_s

    def address(self, symbols: Sequence[str]) -> str:
        """The combined stream of all symbols."""
        streams = "/".join(f"{symbol.lower()}@{stream}" for symbol in symbols for stream in STREAMS)
        return f"{self._address}/stream?streams={streams}"

    def session(self, symbols: Sequence[str], gap: bool) -> Session:
        """The parser of recordings, told what to expect."""
        return Session(symbols, gap)

    def greeting(self, symbols: Sequence[str]) -> list[str]:
        """Nothing: the address says it all."""
        return []

    async def resync(self, link: Link, symbols: Sequence[str]) -> None:
        """Ask for the snapshots, one after another."""
        await asyncio.sleep(self._settle_s)
        for symbol in symbols:
            data = await link.rest.get("/api/v3/depth", symbol=symbol, limit=self._depth)
            link.read({"stream": f"{symbol.lower()}@depthSnapshot", "data": data})
