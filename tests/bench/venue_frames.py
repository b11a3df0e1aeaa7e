"""What a venue sends, again and again, for tests.bench.venues: whole recordings whose numbers go on from pass to pass.

A pass is a recording from its first frame to its last, all kinds included. Each begins with the snapshots, so that the
book of the pass before is replaced; Coinbase's, of 7.6 MB, are whole in the first pass and a hundred levels a side
afterwards, since a venue sends them once a connection. What a venue counts (update ids, trade ids, sequence numbers)
goes on, so nothing is missing, and the ticks of a pass are known from reading it without a socket.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from connectors.market.columns import Instrument
from connectors.market.lines import lines
from connectors.market.recordings import Builder
from connectors.venues.binance import Binance
from connectors.venues.bybit import Bybit
from connectors.venues.coinbase import Coinbase
from connectors.venues.feed import Link, Venue, decoded

DATA = Path(__file__).parents[3] / "shared" / "data"
SPOT = ("btcusdt", "ethusdt")
LEVELS = 100
"""Of a side of a Coinbase snapshot after the first pass."""
_NUMBERS = re.compile(rb'"(u|U|t|lastUpdateId)":(\d+)')
_SEQUENCE = re.compile(rb'"sequence_num":(\d+)')

Passes = Iterator[list[bytes]]


class Streams(Binance):
    """Binance whose snapshots are not asked for: they are in the stream."""

    async def resync(self, link: Link, symbols: Sequence[str]) -> None:
        """Nothing."""


class Played:
    """A venue, its symbols, and the passes over what it sends."""

    def __init__(self, venue: Callable[[str], Venue], symbols: tuple[str, ...], passes: Callable[[], Passes]) -> None:
        self.venue, self.symbols, self.passes = venue, symbols, passes

    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Frames and ticks of the first pass and of each one after it, read without a socket."""
        session, builder = self.venue("").session(self.symbols, False), Builder(_one)
        found = []
        for frames in islice(self.passes(), 3):
            for frame in frames:
                for record in session.frame(1, decoded(frame))[1]:
                    builder.add(record)
            found.append((len(frames), len(builder)))
            if len(builder):
                builder.take()
        if session.gaps or found[1] != found[2]:
            raise AssertionError(f"the passes are not alike: {found}, {session.gaps} gaps")
        return found[0], found[1]


def _one(_: Instrument) -> int:
    return 1


def binance() -> Passes:
    """Both symbols of the recording, in the order of receipt, the snapshots first."""
    numbered = [_binance_frames(name) for name in SPOT]
    merged = [frame for _, frame in heapq.merge(*numbered, key=itemgetter(0))]
    merged.sort(key=lambda frame: b"depthSnapshot" not in frame)         # stable: only the snapshots move
    parts = [_split(frame) for frame in merged]
    spans = {key: 1 + max(of) - min(of) for key, of in _by_counter(parts).items()}
    for number in count():
        yield [b"".join(_moved(part, spans, number)) for part in parts]


def _binance_frames(name: str) -> Iterator[tuple[int, bytes]]:
    for line in lines(DATA / "binance_spot" / f"{name}_20240808.gz"):
        stamp, _, frame = line.partition(b" ")
        if frame.startswith(b'{"lastUpdateId"'):
            frame = b'{"stream":"%s@depthSnapshot","data":%s}' % (name.encode(), frame)
        yield int(stamp), frame


Part = tuple[list[bytes], list[tuple[tuple[bytes, bool], int]]]
"""Text between the numbers, and each number with what counts it: the symbol, and whether it is of trades."""


def _split(frame: bytes) -> Part:
    stream = frame[11:18]                                               # {"stream":"btcusdt@...
    texts, numbers, end = list[bytes](), list[tuple[tuple[bytes, bool], int]](), 0
    for found in _NUMBERS.finditer(frame):
        texts.append(frame[end:found.start(2)])
        numbers.append(((stream, found[1] == b"t"), int(found[2])))
        end = found.end()
    return [*texts, frame[end:]], numbers


def _by_counter(parts: Sequence[Part]) -> dict[tuple[bytes, bool], list[int]]:
    held: dict[tuple[bytes, bool], list[int]] = {}
    for _, numbers in parts:
        for key, number in numbers:
            held.setdefault(key, []).append(number)
    return held


def _moved(part: Part, spans: dict[tuple[bytes, bool], int], times: int) -> Iterator[bytes]:
    texts, numbers = part
    for text, (key, number) in zip(texts, numbers, strict=False):
        yield text
        yield b"%d" % (number + times * spans[key])
    yield texts[-1]


def coinbase() -> Passes:
    """The recording's connection with level 2; its numbers are given anew."""
    frames = list(_cryptofeed("coinbase/COINBASE.jsonl.zst", "COINBASE.ws.2"))
    texts, cut = ([_SEQUENCE.split(shaped(frame))[::2] for frame in frames] for shaped in (bytes, _cut))
    numbers = count()
    yield [b'%s"sequence_num":%d%s' % (head, next(numbers), tail) for head, tail in texts]
    while True:
        yield [b'%s"sequence_num":%d%s' % (head, next(numbers), tail) for head, tail in cut]


def _cut(frame: bytes) -> bytes:
    """The same frame; of a snapshot, the best levels."""
    held = orjson.loads(frame)
    if held.get("channel") != "l2_data" or held["events"][0]["type"] != "snapshot":
        return frame
    for event in held["events"]:
        sides: dict[str, list[dict[str, Any]]] = {"bid": [], "offer": []}
        for update in event["updates"]:
            sides[update["side"]].append(update)
        bids = sorted(sides["bid"], key=lambda update: -float(update["price_level"]))[:LEVELS]
        event["updates"] = bids + sorted(sides["offer"], key=lambda update: float(update["price_level"]))[:LEVELS]
    return orjson.dumps(held)


def bybit() -> Passes:
    """The recording's connection to the linear futures: a snapshot starts its numbers anew."""
    frames = list(_cryptofeed("bybit/BYBIT.jsonl.zst", "BYBIT.ws.2"))
    while True:
        yield frames


def _cryptofeed(name: str, connection: str) -> Iterator[bytes]:
    for line in lines(DATA / name):
        if line.startswith(b'{"t":"recv"'):
            held = orjson.loads(line)
            if held["conn"] == connection:
                yield held["data"].encode()


MADE = tuple(f"BENCH{i}" for i in range(3))
MIX = ("q",) * 7 + ("t",) * 2 + ("d",)
"""The recording: 52,117 bookTicker, 15,863 trade and 6,885 depth frames."""
PASS = 30_000
"""Made-up frames of a pass."""


def made() -> Passes:
    """Binance frames of a market that goes up and down by cents, where there is no recording."""
    trades, updates, numbers = Counter[str](), Counter[str](), count()
    first = list(map(_made_snapshot, MADE))
    while True:
        yield first + [_made(number, trades, updates) for number in islice(numbers, PASS)]
        first = []


def _made_snapshot(symbol: str) -> bytes:
    levels = b",".join(b'["%d.5","1.00"]' % (50_000 + i) for i in range(1_000))
    return (b'{"stream":"%s@depthSnapshot","data":{"lastUpdateId":0,"bids":[%s],"asks":[["70000","1"]]}}' % (
        symbol.lower().encode(), levels))


def _made(number: int, trades: Counter[str], updates: Counter[str]) -> bytes:
    symbol, bid = MADE[number % len(MADE)], 60_000 + (number % 200) / 100
    stream, name = symbol.lower().encode(), symbol.encode()
    match MIX[number % len(MIX)]:
        case "q":
            return (b'{"stream":"%s@bookTicker","data":{"u":%d,"s":"%s","b":"%.8f","B":"3.78826000","a":"%.8f",'
                    b'"A":"1.54698000"}}' % (stream, 10**12 + number, name, bid, bid + 0.01))
        case "t":
            trades[symbol] += 1
            return (b'{"stream":"%s@trade","data":{"e":"trade","E":1723161255343,"s":"%s","t":%d,"p":"%.8f",'
                    b'"q":"0.02000000","T":1723161255342,"m":true,"M":true}}' % (stream, name, trades[symbol], bid))
        case _:
            updates[symbol] += 1
            levels = b",".join(b'["%.8f","%.8f"]' % (bid - i, (number + i) % 3) for i in range(10))
            return (b'{"stream":"%s@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"%s","U":%d,"u":%d,'
                    b'"b":[%s],"a":[]}}' % (stream, name, updates[symbol], updates[symbol], levels))


PLAYED = {
    "binance": Played(Streams, ("BTCUSDT", "ETHUSDT"), binance),
    "coinbase": Played(Coinbase, ("BTC-USD", "ETH-USD"), coinbase),
    "bybit": Played(lambda address: Bybit(address, category="linear"),
                    ("BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT"), bybit),
    "made": Played(Streams, MADE, made)}
"""By the names of --venue."""
