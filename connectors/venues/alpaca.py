"""Alpaca stocks and crypto: quotes and one-minute bars by stream and by REST, with a key from the environment.

APCA_API_KEY_ID and APCA_API_SECRET_KEY hold the key. The stream greets, is told the key, and then what is wanted. So
that ticks do not wait for the next quote of a quiet symbol, the newest ones are asked for by REST at each connection.
https://docs.alpaca.markets/docs/streaming-market-data
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence

import orjson
from pydantic import SecretStr

from connectors.market.alpaca import KINDS, Session, events
from connectors.market.frames import Frame
from connectors.venues.feed import Link, Venue
from connectors.venues.rest import Rest
from sigmaflow.errors import UserError

ADDRESS, REST_ADDRESS = "wss://stream.data.alpaca.markets", "https://data.alpaca.markets"
SYMBOLS = ("SPY", "AAPL", "MSFT")
KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
PAGE = 10_000
"""Events in a page of history: the most that the venue gives."""
STREAMS = {"stocks": "v2", "crypto": "v1beta3/crypto"}
REQUESTS = {"stocks": "/v2/stocks/{}", "crypto": "/v1beta3/crypto/us/{}"}
LATEST = {"stocks": "/v2/stocks/{}/latest", "crypto": "/v1beta3/crypto/us/latest/{}"}


class Alpaca(Venue):
    """The venue as `connectors.venues.feed.Feed` wants it.

    `market`: stocks or crypto; `source`: iex (free), sip, delayed_sip, for crypto us; `channels`: what is subscribed.
    Raises UserError where the environment holds no key.
    """

    name, venues, default_symbols = "alpaca", ("ALPACA",), SYMBOLS
    heartbeat: str | None = None

    def __init__(self, address: str = ADDRESS, rest_address: str = REST_ADDRESS, market: str = "stocks",
                 source: str = "iex", channels: Sequence[str] = ("quotes", "bars"),
                 environ: Mapping[str, str] | None = None) -> None:
        env = os.environ if environ is None else environ
        absent = [name for name in (KEY, SECRET) if not env.get(name)]
        if absent:
            raise UserError("feed", "alpaca must have a key", f"{' and '.join(absent)} is not set",
                            f"export {KEY} and {SECRET}")
        self._key, self._secret = SecretStr(env[KEY]), SecretStr(env[SECRET])
        self._address, self.rest_address, self._market, self._source = address, rest_address, market, source
        self._channels = tuple(channels)

    def address(self, symbols: Sequence[str]) -> str:
        """One address a source."""
        return f"{self._address}/{STREAMS[self._market]}/{self._source}"

    def session(self, symbols: Sequence[str], gap: bool) -> Session:
        """A parser that knows whether quotes will come."""
        return Session(symbols, gap, "quotes" in self._channels)

    def greeting(self, symbols: Sequence[str]) -> list[str]:
        """Nothing: the venue speaks first."""
        return []

    def answer(self, frame: Frame, symbols: Sequence[str]) -> list[str]:
        """The key when it is asked for, then the subscription."""
        said = [message.get("msg") for message in frame["messages"] if message.get("T") == "success"]
        if "connected" in said:
            return [_text(action="auth", key=self._key.get_secret_value(), secret=self._secret.get_secret_value())]
        if "authenticated" in said:
            return [_text(action="subscribe", **{channel: list(symbols) for channel in self._channels})]
        return []

    def headers(self) -> dict[str, str]:
        """The key."""
        return {"APCA-API-KEY-ID": self._key.get_secret_value(),
                "APCA-API-SECRET-KEY": self._secret.get_secret_value()}

    async def resync(self, link: Link, symbols: Sequence[str]) -> None:
        """Ask for the newest bar and quote of each symbol; a symbol that has none is left to the stream."""
        for kind in ("b", "q"):
            if KINDS[kind] in self._channels:
                answer = await link.rest.get(LATEST[self._market].format(KINDS[kind]), symbols=",".join(symbols))
                link.read(events(kind, answer, symbols))

    async def history(self, rest: Rest, kind: str, symbols: Sequence[str], start: str,
                      end: str) -> AsyncIterator[Frame]:
        """Past events of a kind (`q` quotes, `t` trades, `b` one-minute bars) page by page, as frames.

        `start` and `end` are ISO 8601, both included. Ends after the last page; an empty answer gives nothing. Of
        several symbols the venue gives one after another.
        """
        params: dict[str, str | int] = {"symbols": ",".join(symbols), "start": start, "end": end, "limit": PAGE}
        if kind == "b":
            params["timeframe"] = "1Min"
        if self._market == "stocks":
            params["feed"] = "sip" if self._source.endswith("sip") else self._source
        while True:
            answer = await rest.get(REQUESTS[self._market].format(KINDS[kind]), **params)
            frame = events(kind, answer)
            if frame["messages"]:
                yield frame
            token = answer.get("next_page_token")
            if not token:
                return
            params["page_token"] = token


def _text(**fields: object) -> str:
    return orjson.dumps(fields).decode()
