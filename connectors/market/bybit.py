"""Bybit v5 public streams: ticks are the touch of the order book, the last trade comes from publicTrade.

Spot and derivatives are connections of their own with the same symbols, so each is a venue: BYBIT-SPOT, BYBIT-LINEAR.
A delta's `u` is one above the last; a snapshot, also one with `u` 1 after a restart of the venue, starts anew. `cts` is
when the matching engine made the change; `ts`, when the message was sent, is taken where there is none. `S` of a trade
is the taker's side; trades inside one message are oldest first.
https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from connectors.market import frames
from connectors.market.book import levels
from connectors.market.columns import BUY, SELL
from connectors.market.frames import BAD, Frame, named
from connectors.market.records import Malformed, Quote, Record, Tally, Trade
from connectors.market.session import LiveSession

MILLISECOND = 1_000_000
_SIDES = {"Buy": BUY, "Sell": SELL}


def venue(category: str) -> str:
    """Name of the venue of a category, the last part of a stream's address.

    >>> venue("spot")
    'BYBIT-SPOT'
    """
    return f"BYBIT-{category.upper()}"


class Session(LiveSession):
    """Frames of one connection."""

    used = frozenset({"orderbook", "publicTrade", "subscribe", "pong", "error"})

    def __init__(self, category: str, symbols: Iterable[str] = (), gap: bool = False) -> None:
        self._venue = venue(category)
        super().__init__(self._venue, symbols, gap)
        self._ids: dict[str, int] = {}

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, list[Record]]:
        """Kind and records of one frame."""
        self.sent_ns = int(frame["ts"]) * MILLISECOND if "ts" in frame else 0
        if "topic" not in frame:
            return self._answer(frame), []
        topic, records = named(frame["topic"]).partition(".")[0], list[Record]()
        if topic == "orderbook":
            records = list(self._orderbook(ts_recv, frame))
        elif topic == "publicTrade":
            records = [self._trade(ts_recv, trade) for trade in frame["data"]]
        return topic, records

    def _answer(self, frame: Frame) -> str:
        if frame.get("success") is False:
            self.refusals.append(str(frame.get("ret_msg")))
            return "error"
        return "pong" if frame.get("ret_msg") == "pong" else named(frame["op"])

    def _orderbook(self, ts_recv: int, frame: Frame) -> Iterator[Quote]:
        data = frame["data"]
        symbol = named(data["s"])
        try:
            number, bids, asks = int(data["u"]), levels(data["b"]), levels(data["a"])
            moment = int(frame["cts"] if "cts" in frame else frame["ts"]) * MILLISECOND
            if frame["type"] not in ("snapshot", "delta"):
                raise Malformed(f"unknown type {frame['type']!r}")
        except BAD:
            self.books.lose(symbol)
            raise
        last, self._ids[symbol] = self._ids.get(symbol), number
        if frame["type"] == "snapshot":
            self.books.snapshot(symbol, bids, asks)
        else:
            if last is not None and number <= last:
                self._ids[symbol] = last
                return
            if last is not None and number > last + 1:
                self.gaps += 1
                self.books.lose(symbol)
            self.books.update(symbol, bids, asks)
        yield from self.books.quote(symbol, ts_recv, moment)

    def _trade(self, ts_recv: int, trade: Frame) -> Trade:
        return Trade(ts_recv, self._venue, named(trade["s"]), float(trade["p"]), float(trade["v"]), _SIDES[trade["S"]])


class Bybit:
    """Raw Bybit v5 frames; the recording says which address each connection had."""

    name = "Bybit v5 frames"
    kinds: tuple[str, ...] = ()

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether a frame has a topic of the public streams."""
        return frames.matching(head, lambda frame: frame.get("topic", "").partition(".")[0] in (
            "orderbook", "publicTrade", "tickers", "kline"))

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        return frames.read(path, lambda address: Session(address.rpartition("/")[2] or "spot"), tally)
