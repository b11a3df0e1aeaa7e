"""Binance streams: bookTicker gives ticks, trade and aggTrade the last trade, depth and its snapshot a book.

Spot bookTicker carries no event time: its ticks take the receive time and say so by flag bit 1. Futures bookTicker
carries `T` and `E`; `E` is taken. In a trade `m` says that the buyer was the maker, so the seller was the aggressor.
The 24 hour ticker also has fields a, A, b and B and is no quote.

The book is there to tell that nothing is missing: as of each depth update its touch must be the last bookTicker with an
update id at most as high, price and size (`checks`). Depth updates that leave a gap in their ids, trades that leave one
in theirs, and three touches in a row that differ mark the ticks that follow (flag bit 4) until the next snapshot.
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from connectors.market import frames
from connectors.market.book import Level, Touch, levels
from connectors.market.columns import BUY, EVENT_TIME_IS_RECEIVE_TIME, GAP, SELL
from connectors.market.frames import BAD, Frame, named
from connectors.market.records import Malformed, Quote, Record, Tally, Trade
from connectors.market.session import LiveSession

VENUE = "BINANCE"
MILLISECOND = 1_000_000
WAITING = 1_000
"""Depth updates kept until a snapshot comes: 100 s of them. Older ones are in any snapshot by then."""
UNCHECKED = 64
"""Touches kept until a bookTicker tells whether they are right."""
DIFFERENT = 3
"""Touches in a row that may differ before the book is taken for wrong."""


def kind(frame: Frame) -> str:
    """What a frame is: bookTicker, trade, aggTrade, depthUpdate, snapshot, error or other.

    >>> kind({"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}})
    'bookTicker'
    """
    data = frame.get("data", frame)
    if "lastUpdateId" in data:
        return "snapshot"
    event = data.get("e")
    if event in ("bookTicker", "trade", "aggTrade", "depthUpdate"):
        return str(event)
    if event is None and "error" in frame:
        return "error"
    stream = frame.get("stream", "@bookTicker" if "u" in data and "A" in data else "")
    return "bookTicker" if event is None and stream.endswith("@bookTicker") else "other"


class _Depth:
    """How far the book of a symbol is, what it waits for, and what is known of its touch from elsewhere."""

    def __init__(self) -> None:
        self.id: int | None = None
        """Id of the last update in the book; None while there is no book."""
        self.linked = False
        """Whether an update has followed the snapshot: until then a gap between them means a snapshot too old."""
        self.waiting: deque[tuple[int, int, list[Level], list[Level]]] = deque(maxlen=WAITING)
        self.lowest, self.highest = 0.0, float("inf")
        """Prices that the snapshot reached to: levels beyond them are known only where they have changed since."""
        self.unchecked: deque[tuple[int, Touch]] = deque(maxlen=UNCHECKED)
        self.quoted: deque[tuple[int, Touch]] = deque(maxlen=UNCHECKED)
        """Update id and touch of the last bookTickers."""
        self.differing = 0
        self.trade: int | None = None


class Session(LiveSession):
    """Frames of one connection."""

    used = frozenset({"bookTicker", "trade", "aggTrade", "depthUpdate", "snapshot", "error"})

    def __init__(self, symbols: Iterable[str] = (), gap: bool = False) -> None:
        super().__init__(VENUE)
        self._depths: dict[str, _Depth] = {}
        self._gap = gap
        self._marked: set[str] = set()
        self.wanting = set(symbols)

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, list[Record]]:
        """Kind and records of one frame, at most one record."""
        data, what = frame.get("data", frame), kind(frame)
        self.sent_ns = int(data["E"]) * MILLISECOND if "E" in data else 0
        if what == "bookTicker":
            return what, self._quote(ts_recv, data)
        if what in ("trade", "aggTrade"):
            return what, self._trade(ts_recv, data)
        if what == "depthUpdate":
            self._update(data)
        elif what == "snapshot":
            self._snapshot(frame.get("stream", ""), data)
        elif what == "error":
            self.refusals.append(str(frame["error"]))
        return what, []

    def _depth(self, symbol: str) -> _Depth:
        if symbol not in self._depths:
            self._depths[symbol] = _Depth()
            self.wanting.add(symbol)
            if self._gap:
                self._marked.add(symbol)
        return self._depths[symbol]

    # ------------------------------------------------------------------------------------------- quotes and trades

    def _quote(self, ts_recv: int, data: Frame) -> list[Record]:
        symbol, number, stamped = named(data["s"]), int(data["u"]), "E" in data
        touch = Touch(float(data["b"]), float(data["a"]), float(data["B"]), float(data["A"]))
        depth = self._depth(symbol)
        if depth.quoted and number < depth.quoted[-1][0]:
            return []
        while depth.unchecked and depth.unchecked[0][0] < number:
            self._check(symbol, depth, *depth.unchecked.popleft())
        depth.quoted.append((number, touch))
        flags = 0 if stamped else EVENT_TIME_IS_RECEIVE_TIME
        if symbol in self._marked:
            flags |= GAP
            if symbol not in self.books.lost:
                self._marked.discard(symbol)
        return [Quote(ts_recv, int(data["E"]) * MILLISECOND if stamped else ts_recv, VENUE, symbol, *touch, flags)]

    def _trade(self, ts_recv: int, data: Frame) -> list[Record]:
        if not isinstance(data["m"], bool):
            raise Malformed(f"m must be true or false, it is {data['m']!r}")
        symbol = named(data["s"])
        trade = Trade(ts_recv, VENUE, symbol, float(data["p"]), float(data["q"]), SELL if data["m"] else BUY)
        if data["e"] == "trade" and not self._next_trade(symbol, int(data["t"])):
            return []
        return [trade]

    def _next_trade(self, symbol: str, number: int) -> bool:
        """Whether a trade is new; a gap before it marks the next tick. The book tells of its own gaps."""
        depth = self._depth(symbol)
        expected = number if depth.trade is None else depth.trade + 1
        if number < expected:
            return False
        if number > expected:
            self.gaps += 1
            self._marked.add(symbol)
        depth.trade = number
        return True

    # ---------------------------------------------------------------------------------------------------- the book

    def _update(self, data: Frame) -> None:
        symbol = named(data["s"])
        depth = self._depth(symbol)
        try:
            update = int(data["U"]), int(data["u"]), levels(data["b"]), levels(data["a"])
        except BAD:
            self._lose(symbol, depth)
            raise
        if depth.id is not None:
            self._apply(symbol, depth, update)
        if symbol in self.wanting:
            depth.waiting.append(update)

    def _snapshot(self, stream: str, data: Frame) -> None:
        """Start a book. A snapshot names no symbol: it is in the stream's name, or there is only one."""
        symbol = stream.partition("@")[0].upper() or (next(iter(self._depths)) if len(self._depths) == 1 else "")
        bids, asks = levels(data["bids"]), levels(data["asks"])
        if not (symbol and bids and asks):
            return
        depth = self._depth(symbol)
        number, waiting = int(data["lastUpdateId"]), list(depth.waiting)
        if waiting and number + 1 < waiting[0][0]:
            return                                             # older than all updates: another one is needed
        depth.waiting.clear()
        self.wanting.discard(symbol)
        self.books.snapshot(symbol, bids, asks)
        depth.id, depth.linked, depth.differing = number, False, 0
        depth.lowest, depth.highest = min(price for price, _ in bids), max(price for price, _ in asks)
        depth.unchecked.clear()
        for i, update in enumerate(waiting):
            if depth.id is None:                               # a gap among them: the rest waits for the next snapshot
                depth.waiting.extend(waiting[i:])
                break
            self._apply(symbol, depth, update)

    def _apply(self, symbol: str, depth: _Depth, update: tuple[int, int, list[Level], list[Level]]) -> None:
        first, last, bids, asks = update
        if depth.id is None or last <= depth.id:
            return
        if first > depth.id + 1:
            if depth.linked:
                self.gaps += 1
                self._lose(symbol, depth)
            else:
                self._want(symbol, depth)
            return
        depth.linked = True
        self.books.update(symbol, bids, asks)
        depth.id = last
        book = self.books.book(symbol)
        touch = book.touch() if book else None
        if touch is None or touch.bid > touch.ask:
            self._lose(symbol, depth)
        else:
            if depth.quoted and depth.quoted[-1][0] > last:
                self._check(symbol, depth, last, touch)
            else:
                depth.unchecked.append((last, touch))
            if touch.bid < depth.lowest or touch.ask > depth.highest:
                self.wanting.add(symbol)                       # right so far, but levels unknown to it come near

    def _check(self, symbol: str, depth: _Depth, number: int, touch: Touch) -> None:
        """Compare a touch with the last bookTicker up to its update id, which held until the one that has come."""
        quoted = next((quoted for at, quoted in reversed(depth.quoted) if at <= number), None)
        if quoted is None:
            return
        equal = touch == quoted
        self.checks["equal" if equal else "different"] += 1
        depth.differing = 0 if equal else depth.differing + 1
        if depth.differing >= DIFFERENT:
            self._lose(symbol, depth)

    def _want(self, symbol: str, depth: _Depth) -> None:
        depth.id, depth.differing = None, 0
        depth.unchecked.clear()
        self.wanting.add(symbol)

    def _lose(self, symbol: str, depth: _Depth) -> None:
        self._want(symbol, depth)
        self.books.lose(symbol)
        self._marked.add(symbol)


class Binance:
    """Raw Binance frames, alone or in combined-stream form."""

    name = "Binance frames"
    kinds: tuple[str, ...] = ("bookTicker", "trade", "depthUpdate", "snapshot", "other")

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether any of the first frames has a known Binance form."""
        return frames.matching(head, lambda frame: "stream" in frame or kind(frame) not in ("other", "error"))

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order."""
        return frames.read(path, lambda _: Session(), tally)
