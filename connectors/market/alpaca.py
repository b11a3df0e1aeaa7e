"""Alpaca market data: quotes become ticks, trades and one-minute bars the last trade.

A message is an array of events, each with its type `T`; answers of the REST interface hold the same events under their
symbols (`events`). There are no sequence numbers: only a lost connection is known as a gap. A quote without a bid or
without an ask (price or size 0, outside of hours) is none. Sizes are as the venue states them.

A bar has its time at its start and is known at its end: its close is the last price, its volume the last size. Where no
quotes are subscribed, a bar makes a quote of a stated spread and size, as a recorded one does (bars.py).
https://docs.alpaca.markets/docs/real-time-stock-pricing-data
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from connectors.market import frames
from connectors.market.bars import MINUTE, made_up
from connectors.market.coinbase import nanoseconds
from connectors.market.columns import BUY, EVENT_TIME_IS_RECEIVE_TIME, SELL, UNKNOWN
from connectors.market.frames import Frame, named
from connectors.market.lines import head
from connectors.market.records import Quote, Record, Tally, Trade
from connectors.market.session import LiveSession

VENUE = "ALPACA"
KINDS = {"q": "quotes", "t": "trades", "b": "bars", "u": "updated_bars", "d": "daily_bars"}
PASSING = frozenset({404, 406, 407, 500})
"""Error codes that go by: authentication too late, another connection still open, too slow, the venue's own fault."""
_SIDES = {"B": BUY, "S": SELL}


def events(kind: str, answer: Mapping[str, Any], asked: Iterable[str] = ()) -> Frame:
    """A REST answer as a frame: events of one kind (`q`, `t` or `b`), in the order of their time.

    `asked`: symbols for which the newest events were asked, whether there were any or not.

    >>> events("b", {"bars": {"SPY": [{"t": "2022-07-26T20:50:00Z", "c": 392.18}]}, "next_page_token": None})
    {'messages': [{'T': 'b', 'S': 'SPY', 't': '2022-07-26T20:50:00Z', 'c': 392.18}], 'asked': []}
    """
    held = answer.get(KINDS[kind]) or {}
    found = [{"T": kind, "S": symbol} | event
             for symbol, one_or_more in held.items()
             for event in (one_or_more if isinstance(one_or_more, list) else [one_or_more])]
    return {"messages": sorted(found, key=lambda event: nanoseconds(event["t"])), "asked": list(asked)}


def known_ns(event: Mapping[str, Any]) -> int:
    """When an event could be known, ns since 1970: a bar at its end. Raises as a frame that is none does.

    >>> known_ns({"T": "b", "t": "2022-07-26T20:50:00Z"}) - known_ns({"T": "q", "t": "2022-07-26T20:50:00Z"})
    60000000000
    """
    return nanoseconds(event["t"]) + (MINUTE if event["T"] == "b" else 0)


class Session(LiveSession):
    """Frames of one connection. `quotes` is whether quotes are subscribed."""

    used = frozenset({*KINDS.values(), "mixed", "success", "subscription", "error"} - {"updated_bars", "daily_bars"})

    def __init__(self, symbols: Iterable[str] = (), gap: bool = False, quotes: bool = True) -> None:
        super().__init__(VENUE, symbols, gap)
        self._quotes = quotes
        self.wanting = set(symbols)
        if gap:
            self.books.lose(*self.wanting)

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, list[Record]]:
        """Kind and records of one frame; its kind is `mixed` where it holds several."""
        messages = frame["messages"]
        self.wanting.difference_update(frame.get("asked", ()))
        kinds = {named(message["T"]) for message in messages}
        records = [record for message in messages for record in self._event(ts_recv, message)]
        self.sent_ns = max((nanoseconds(message["t"]) for message in messages if message["T"] in "qt"), default=0)
        kind = kinds.pop() if len(kinds) == 1 else "mixed"
        return KINDS.get(kind, kind), records

    def _event(self, ts_recv: int, message: Frame) -> Iterator[Record]:
        what = message["T"]
        if what == "q":
            yield from self._quote(ts_recv, message)
        elif what == "t":
            yield Trade(ts_recv, VENUE, named(message["S"]), float(message["p"]), float(message["s"]),
                        _SIDES.get(message.get("tks", ""), UNKNOWN))
        elif what == "b":
            yield from self._bar(ts_recv, message)
        elif what == "error" and message["code"] not in PASSING:
            self.refusals.append(f"{message['code']} {message['msg']}")

    def _quote(self, ts_recv: int, message: Frame) -> Iterator[Quote]:
        symbol, moment = named(message["S"]), nanoseconds(message["t"])
        bid, ask, bid_size, ask_size = (float(message[name]) for name in ("bp", "ap", "bs", "as"))
        self.wanting.discard(symbol)
        if 0 in (bid, ask, bid_size, ask_size):
            return
        flags = self._flags(symbol) | (0 if moment else EVENT_TIME_IS_RECEIVE_TIME)
        yield Quote(ts_recv, moment or ts_recv, VENUE, symbol, bid, ask, bid_size, ask_size, flags)

    def _bar(self, ts_recv: int, message: Frame) -> Iterator[Record]:
        symbol, close, end = named(message["S"]), float(message["c"]), known_ns(message)
        yield Trade(ts_recv, VENUE, symbol, close, float(message["v"]), UNKNOWN)
        if not self._quotes:
            self.wanting.discard(symbol)
            yield made_up(end, VENUE, symbol, close)._replace(ts_recv=ts_recv, flags=self._flags(symbol))

    def _flags(self, symbol: str) -> int:
        """The flag of the first quote after a lost connection."""
        flags = self.books.flags(symbol)
        self.books.lost.discard(symbol)
        return flags


class Alpaca:
    """Recorded frames of the stream, and past events that were fetched (connectors/venues/past.py)."""

    name = "Alpaca events"
    kinds: tuple[str, ...] = ()
    _sample = 50

    def matches(self, head: list[bytes], member: str) -> bool:
        """Whether a frame holds a quote, a trade or a bar."""
        return bool(self._met(head))

    def read(self, path: Path, tally: Tally) -> Iterator[Record]:
        """Records in file order; bars make quotes where the file begins with bars alone."""
        quotes = "q" in self._met(head(path, self._sample))
        return frames.read(path, lambda _: Session(quotes=quotes), tally)

    def _met(self, head: list[bytes]) -> set[str]:
        """Types of the events among some lines."""
        arrays = [frame["messages"] for frame in frames.sample(head) if isinstance(frame.get("messages"), list)]
        return {message["T"] for array in arrays for message in array
                if isinstance(message, dict) and message.get("T") in ("q", "t", "b") and {"S", "t"} <= message.keys()}
