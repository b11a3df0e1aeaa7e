"""Recorded Binance streams: bookTicker gives ticks, trade and aggTrade the last trade, depth and snapshot are counted.

Spot bookTicker carries no event time: its ticks take the receive time and say so by flag bit 1. Futures bookTicker
carries `T` and `E`; `E` is taken. In a trade `m` says that the buyer was the maker, so the seller was the aggressor.
The 24 hour ticker also has fields a, A, b and B and is no quote.
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from connectors.market import frames
from connectors.market.columns import BUY, EVENT_TIME_IS_RECEIVE_TIME, SELL
from connectors.market.frames import Frame, named
from connectors.market.records import Malformed, Quote, Record, Tally, Trade

VENUE = "BINANCE"
MILLISECOND = 1_000_000


def kind(frame: Frame) -> str:
    """What a frame is: bookTicker, trade, aggTrade, depthUpdate, snapshot or other.

    >>> kind({"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}})
    'bookTicker'
    """
    data = frame.get("data", frame)
    if "lastUpdateId" in data:
        return "snapshot"
    event = data.get("e")
    if event in ("bookTicker", "trade", "aggTrade", "depthUpdate"):
        return str(event)
    stream = frame.get("stream", "@bookTicker" if "u" in data and "A" in data else "")
    return "bookTicker" if event is None and stream.endswith("@bookTicker") else "other"


class Session:
    """Frames of one session; nothing is kept between them."""

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, list[Record]]:
        """Kind and records of one frame, at most one record."""
        data, what = frame.get("data", frame), kind(frame)
        if what == "bookTicker":
            return what, [_quote(ts_recv, data)]
        return what, [_trade(ts_recv, data)] if what in ("trade", "aggTrade") else []


def _quote(ts_recv: int, data: Frame) -> Quote:
    stamped = "E" in data
    return Quote(ts_recv, int(data["E"]) * MILLISECOND if stamped else ts_recv, VENUE, named(data["s"]),
                 float(data["b"]), float(data["a"]), float(data["B"]), float(data["A"]),
                 0 if stamped else EVENT_TIME_IS_RECEIVE_TIME)


def _trade(ts_recv: int, data: Frame) -> Trade:
    if not isinstance(data["m"], bool):
        raise Malformed(f"m must be true or false, it is {data['m']!r}")
    return Trade(ts_recv, VENUE, named(data["s"]), float(data["p"]), float(data["q"]), SELL if data["m"] else BUY)


class Binance:
    """Raw Binance frames, alone or in combined-stream form."""

    name = "Binance frames"
    kinds: tuple[str, ...] = ("bookTicker", "trade", "depthUpdate", "snapshot", "other")

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether any of the first frames has a known Binance form."""
        return frames.matching(head, lambda frame: "stream" in frame or kind(frame) != "other")

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        return frames.read(path, Session(), tally)
