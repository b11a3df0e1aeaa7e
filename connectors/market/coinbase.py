"""Coinbase feeds: ticks are the touch of the book that level 2 gives, one wherever a frame has changed it.

The `ticker` channel is counted and not used: it fires on trades, lags level 2, and the older feed's has no sizes. The
side of a trade is the maker's on both feeds, so the aggressor's is the other; trades inside one Advanced Trade message
are newest first. Event time is the newest one of the message's updates; where it is missing or senseless (the older
feed has sent year 1) it is the receive time, flag bit 1.

Advanced Trade numbers all messages of a connection by one counter, over channels and acknowledgements: a number left
out may have been an update of any book, so every book is lost until its next snapshot. Snapshots come before the
acknowledgement of the subscription.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from connectors.market import frames
from connectors.market.book import Books, Level, level, levels
from connectors.market.columns import BUY, SELL
from connectors.market.frames import BAD, Frame, named
from connectors.market.records import Malformed, Quote, Record, Tally, Trade
from connectors.market.session import LiveSession

VENUE = "COINBASE"
OLDEST_NS, NEWEST_NS = 1_262_304_000_000_000_000, 2**63 - 1
"""2010-01-01 and 2262-04-11: an event time outside of them is no event time."""

_AGGRESSOR = {"BUY": SELL, "SELL": BUY}
_BOOK_SIDE = {"bid": 0, "offer": 1, "ask": 1, "buy": 0, "sell": 1}


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


def _sides(changes: Iterable[tuple[str, str, str]]) -> tuple[list[Level], list[Level]]:
    """Bids and asks of changes (side, price, size)."""
    both: tuple[list[Level], list[Level]] = ([], [])
    for side, price, size in changes:
        if side not in _BOOK_SIDE:
            raise Malformed(f"unknown side {side!r}")
        both[_BOOK_SIDE[side]].append(level(price, size))
    return both


class AdvancedSession(LiveSession):
    """Frames of one Advanced Trade connection."""

    used = frozenset({"l2_data", "market_trades", "heartbeats", "subscriptions", "error"})

    def __init__(self, symbols: Iterable[str] = (), gap: bool = False) -> None:
        super().__init__(VENUE, symbols, gap)
        self._next: int | None = None

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, list[Record]]:
        """Kind and records of one frame."""
        if "channel" not in frame and frame.get("type") == "error":
            self.refusals.append(str(frame.get("message")))
            return "error", []
        channel, records = named(frame["channel"]), list[Record]()
        self.sent_ns = nanoseconds(frame.get("timestamp"))
        if not self._in_sequence(frame["sequence_num"]):
            return "old", []
        if channel == "l2_data":
            records = [quote for event in frame["events"] for quote in self._level2(ts_recv, event)]
        elif channel == "market_trades":
            records = [_trade(ts_recv, trade) for event in frame["events"] for trade in reversed(event["trades"])]
        return channel, records

    def _in_sequence(self, number: int) -> bool:
        """Whether a message is new; the books are lost where its number leaves a gap."""
        expected, self._next = self._next, number + 1
        if expected is None or number == expected:
            return True
        if 0 < number < expected:
            self._next = expected
            return False
        self.gaps += 1
        self.books.lose()
        return True

    def _level2(self, ts_recv: int, event: Frame) -> Iterator[Quote]:
        product = named(event["product_id"])
        try:
            updates = event["updates"]
            bids, asks = _sides((update["side"], update["price_level"], update["new_quantity"]) for update in updates)
            newest = max(map(nanoseconds, {update["event_time"] for update in updates}), default=0)
        except BAD:
            self.books.lose(product)
            raise
        change = self.books.snapshot if event["type"] == "snapshot" else self.books.update
        change(product, bids, asks)
        yield from self.books.quote(product, ts_recv, newest)


class ExchangeSession:
    """Frames of one session of the older Exchange feed. Its level 2 has no sequence numbers."""

    def __init__(self) -> None:
        self._books = Books(VENUE)

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
        try:
            if frame["type"] == "snapshot":
                self._books.snapshot(product, levels(frame["bids"]), levels(frame["asks"]))
            else:
                self._books.update(product, *_sides(frame["changes"]))
        except BAD:
            self._books.lose(product)
            raise
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
        return frames.read(path, lambda _: AdvancedSession(), tally)


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
        return frames.read(path, lambda _: ExchangeSession(), tally)
