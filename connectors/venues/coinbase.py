"""Coinbase Advanced Trade: public channels, no key.

A gap in the connection's counter may be in any book. It is repaired on the same connection: level 2 is unsubscribed and
subscribed again, and each subscription begins with a snapshot.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from connectors.market.coinbase import AdvancedSession
from connectors.venues.feed import Link, Venue

ADDRESS, REST_ADDRESS = "wss://advanced-trade-ws.coinbase.com", "https://api.coinbase.com"
CHANNELS = ("heartbeats", "level2", "market_trades", "ticker")
"""Heartbeats first: they come every second and keep a quiet connection open."""
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")


class Coinbase(Venue):
    """The venue as `connectors.venues.feed.Feed` wants it."""

    name, venues, default_symbols = "coinbase", ("COINBASE",), SYMBOLS
    heartbeat: str | None = "heartbeats"

    def __init__(self, address: str = ADDRESS, rest_address: str = REST_ADDRESS) -> None:
        self._address, self.rest_address = address, rest_address

    def address(self, symbols: Sequence[str]) -> str:
        """One address for all; what is wanted is sent."""
        return self._address

    def session(self, symbols: Sequence[str], gap: bool) -> AdvancedSession:
        """The parser of recordings, told what to expect."""
        return AdvancedSession(symbols, gap)

    def greeting(self, symbols: Sequence[str]) -> list[str]:
        """One subscription for each channel."""
        return [_request("subscribe", channel, symbols) for channel in CHANNELS]

    async def resync(self, link: Link, symbols: Sequence[str]) -> None:
        """Subscribe level 2 anew."""
        await link.send(_request("unsubscribe", "level2", symbols), _request("subscribe", "level2", symbols))


def _request(kind: str, channel: str, symbols: Sequence[str]) -> str:
    return orjson.dumps({"type": kind, "product_ids": list(symbols), "channel": channel}).decode()
