"""Recorded Coinbase feeds: ticks are the touch of the book that level 2 gives, one wherever a frame has changed it.

The `ticker` channel is counted and not used: it fires on trades, lags level 2, and the older feed's has no sizes. The
side of a trade is the maker's on both feeds, so the aggressor's is the other; trades inside one Advanced Trade message
are newest first. Event time is the newest one of the message's updates; where it is missing or senseless (the older
feed has sent year 1) it is the receive time, flag bit 1.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from connectors.market import frames
from connectors.market.book import Book, Touch
from connectors.market.columns import BUY, EVENT_TIME_IS_RECEIVE_TIME, SELL
from connectors.market.frames import Frame, named
from connectors.market.records import Malformed, Quote, Record, Tally, Trade

VENUE = "COINBASE"
OLDEST_NS, NEWEST_NS = 1_262_304_000_000_000_000, 2**63 - 1
"""2010-01-01 and 2262-04-11: an event time outside of them is no event time."""

_AGGRESSOR = {"BUY": SELL, "SELL": BUY}
_BOOK_SIDE = {"bid": "bid", "offer": "ask", "ask": "ask", "buy": "bid", "sell": "ask"}


def nanoseconds(text: str | None) -> int:
    """Nanoseconds of an ISO 8601 time in UTC, 0 for none, one before 2010 or one that takes more than 64 bits.

    >>> nanoseconds("2026-08-09T21:05:48.228568804Z")
    1786309548228568804
    >>> nanoseconds("0001-01-01T00:00:00.000000Z")
    0
    """
    if not text:
        return 0
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    moment = seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)
    return moment if OLDEST_NS <= moment <= NEWEST_NS else 0


class Books:
    """One book for each product, and the touch last given for it."""

    def __init__(self) -> None:
        self._books: dict[str, Book] = {}
        self._given: dict[str, Touch] = {}

    def snapshot(self, product: str, bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> None:
        """Start a product's book anew."""
        book = Book()
        book.replace(bids, asks)
        self._books[product] = book

    def set(self, product: str, side: str, price: str, size: str) -> None:
        """Change one level; without a snapshot before there is no book to change, and nothing happens."""
        book = self._books.get(product)
        if side not in _BOOK_SIDE:
            raise Malformed(f"unknown side {side!r}")
        if book is not None:
            book.set(_BOOK_SIDE[side], price, size)

    def quote(self, product: str, ts_recv: int, ts_event: int) -> Iterator[Quote]:
        """A quote where the touch differs from the last one given."""
        book = self._books.get(product)
        touch = book.touch() if book else None
        if touch is not None and touch != self._given.get(product):
            self._given[product] = touch
            yield Quote(ts_recv, ts_event or ts_recv, VENUE, product, *touch,
                        0 if ts_event else EVENT_TIME_IS_RECEIVE_TIME)


class AdvancedSession:
    """Frames of one Advanced Trade session."""

    def __init__(self) -> None:
        self._books = Books()

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, list[Record]]:
        """Kind and records of one frame."""
        channel, records = frame["channel"], list[Record]()
        if channel == "l2_data":
            records = [quote for event in frame["events"] for quote in self._level2(ts_recv, event)]
        elif channel == "market_trades":
            records = [_trade(ts_recv, trade) for event in frame["events"] for trade in reversed(event["trades"])]
        return channel, records

    def _level2(self, ts_recv: int, event: Frame) -> Iterator[Quote]:
        product, updates = named(event["product_id"]), event["updates"]
        if event["type"] == "snapshot":
            sides: dict[str, list[tuple[str, str]]] = {"bid": [], "ask": []}
            for update in updates:
                sides[_BOOK_SIDE[update["side"]]].append((update["price_level"], update["new_quantity"]))
            self._books.snapshot(product, sides["bid"], sides["ask"])
        else:
            for update in updates:
                self._books.set(product, update["side"], update["price_level"], update["new_quantity"])
        newest = max(map(nanoseconds, {update["event_time"] for update in updates}), default=0)
        yield from self._books.quote(product, ts_recv, newest)


class ExchangeSession:
    """Frames of one session of the older Exchange feed."""

    def __init__(self) -> None:
        self._books = Books()

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, list[Record]]:
        """Kind and records of one frame."""
        what, records = frame["type"], list[Record]()
        if what in ("match", "last_match"):
            records = [_trade(ts_recv, frame)]
        elif what in ("snapshot", "l2update"):
            records = list(self._level2(ts_recv, frame))
        return what, records

    def _level2(self, ts_recv: int, frame: Frame) -> Iterator[Quote]:
        product = named(frame["product_id"])
        if frame["type"] == "snapshot":
            self._books.snapshot(product, frame["bids"], frame["asks"])
        else:
            for side, price, size in frame["changes"]:
                self._books.set(product, side, price, size)
        yield from self._books.quote(product, ts_recv, nanoseconds(frame.get("time")))


def _trade(ts_recv: int, trade: Frame) -> Trade:
    return Trade(ts_recv, VENUE, named(trade["product_id"]), float(trade["price"]), float(trade["size"]),
                 _AGGRESSOR[trade["side"].upper()])


class CoinbaseAdvanced:
    """Raw Coinbase Advanced Trade frames."""

    name = "Coinbase Advanced Trade frames"
    kinds: tuple[str, ...] = ()

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether a frame names a channel and its sequence number."""
        return frames.matching(head, lambda frame: "channel" in frame and "sequence_num" in frame)

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        return frames.read(path, AdvancedSession(), tally)


class CoinbaseExchange:
    """Raw frames of the older Coinbase Exchange feed."""

    name = "Coinbase Exchange frames"
    kinds: tuple[str, ...] = ()
    _types = frozenset({"subscriptions", "snapshot", "l2update", "ticker", "match", "last_match"})

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether a frame has one of the feed's types and names a product or channels."""
        return frames.matching(head, lambda frame: frame.get("type") in self._types
                               and ("product_id" in frame or "channels" in frame))

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        return frames.read(path, ExchangeSession(), tally)
