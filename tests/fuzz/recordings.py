"""Fuzz of every reader of recorded market data: single lines in a sound file, and whole files, packed or not."""
from __future__ import annotations

import gzip
import inspect
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import orjson
import zstandard

from connectors.market import bars, binance, book, coinbase, frames, lines, recordings, records, tables, tardis
from connectors.market.columns import COLUMNS, Ticks, concat
from sigmaflow.errors import UserError
from tests.fuzz.lines_reached import LinesReached
from tests.fuzz.mutation import Corpus, mutate
from tests.fuzz.outcome import Faults, crash

READERS: tuple[ModuleType, ...] = (bars, binance, book, coinbase, frames, lines, records, recordings, tables, tardis)
FILES = [inspect.getfile(module) for module in READERS]
NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Kind:
    """A format: `start` are lines that tell it and stay as they are, `seeds` sound lines to mutate.

    `silent` says which lines are no frame and are rightly not counted. `ticks` names the kind of frame that gives one
    tick each, where there is one. `quotes` is a second file, for formats that hold no quote themselves.
    """

    name: str
    member: str
    start: tuple[bytes, ...]
    seeds: tuple[bytes, ...]
    silent: Callable[[bytes], bool]
    skip: int = 0
    ticks: str = ""
    quotes: tuple[str, bytes] | None = None


def _no_frame(line: bytes) -> bool:
    if line.startswith(b"{"):
        try:
            outer = orjson.loads(line)
        except ValueError:
            return False
        return "t" in outer and outer["t"] != "recv"
    return not line or line.startswith((b"ws", b"http", b"configuration"))


def _blank(line: bytes) -> bool:
    return not line.strip()


def _json(*values: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(value).encode() for value in values)


def _binance() -> Kind:
    made = _json(
        {"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT", "b": "1.0", "B": "2", "a": "1.5", "A": "3"}},
        {"e": "bookTicker", "E": 1_699_999_999_999, "u": 1, "s": "X", "b": "1", "B": "2", "a": "2", "A": "3"},
        {"stream": "x@trade", "data": {"e": "trade", "E": 1, "s": "X", "p": "1.1", "q": "0.5", "m": True}},
        {"e": "aggTrade", "s": "X", "p": "1.1", "q": "0.5", "m": False}, {"lastUpdateId": 1, "bids": [], "asks": []},
        {"e": "depthUpdate", "s": "X", "b": [], "a": []}, {"result": None, "id": 1}, {"e": "24hrTicker", "A": "1"})
    return Kind("binance", "a", (b"%d %s" % (NS, made[0]),), tuple(b"%d %s" % (NS + n, m) for n, m in enumerate(made)),
                _no_frame, ticks="bookTicker")


def _advanced() -> Kind:
    def level2(kind: str, *updates: tuple[str, str, str]) -> dict[str, Any]:
        held = [{"side": side, "price_level": price, "new_quantity": size, "event_time": "2023-11-14T22:13:20.25Z"}
                for side, price, size in updates]
        return {"channel": "l2_data", "events": [{"type": kind, "product_id": "BTC-USD", "updates": held}]}

    trades = [{"product_id": "BTC-USD", "price": "10.5", "size": "2", "side": "SELL"}]
    made = [level2("snapshot", ("bid", "10", "1"), ("bid", "9", "5"), ("offer", "11", "2")),
            level2("update", ("bid", "10", "0"), ("offer", "10.8", "7")), level2("update", ("bid", "10.1", "3")),
            {"channel": "market_trades", "events": [{"type": "update", "trades": trades}]},
            {"channel": "heartbeats", "events": [{"current_time": "2026-08-09 21:05:48"}]}]
    sent = [{"t": "recv", "ts": 1_700_000_000.5 + n, "data": json.dumps({"sequence_num": n} | frame)}
            for n, frame in enumerate(made)]
    start = _json({"t": "header", "exchange": "COINBASE"}, sent[0])
    return Kind("coinbase advanced", "a", start, (*start, *_json(*sent, {"t": "send", "ts": 1.0, "data": "{}"})),
                _no_frame)


def _exchange() -> Kind:
    made = _json(
        {"type": "snapshot", "product_id": "X", "bids": [["9202.70", "1"]], "asks": [["9222.39", "2"]]},
        {"type": "l2update", "product_id": "X", "changes": [["sell", "9215", "4"]], "time": "0001-01-01T00:00:00.0Z"},
        {"type": "l2update", "product_id": "X", "changes": [["buy", "9203", "5"]], "time": "2023-11-14T22:13:20.25Z"},
        {"type": "match", "product_id": "X", "price": "9210", "size": "3", "side": "buy", "time": "x"},
        {"type": "ticker", "product_id": "X", "best_bid": "1", "best_ask": "2"}, {"type": "subscriptions"})
    sent = tuple(b"%d.5: %s" % (1_700_000_000 + n, frame) for n, frame in enumerate(made))
    return Kind("coinbase exchange", "a", (b"wss://host <-> 1700000000.5", sent[0]), sent, _no_frame)


def _tardis() -> tuple[Kind, Kind]:
    quotes = b"exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"
    quote = b"binance-futures,BTCUSDT,1000000,1000100,0.84,9682,9681.92,0.67"
    trades = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
    sold = (b"binance-futures,BTCUSDT,1000000,1000400,1,sell,9682,0.132",
            b"binance-futures,BTCUSDT,1000000,1000400,1,unknown,1e3,5")
    return (Kind("tardis quotes", "q", (quotes, quote), (quote, b"x,Y,1,2,,,3,4"), _blank, 1, "quote"),
            Kind("tardis trades", "t", (trades, sold[0]), sold, _blank, 1, "", ("q", quotes + b"\n" + quote + b"\n")))


def _lean() -> tuple[Kind, Kind, Kind]:
    quote = b"0,7424.9,7424.9,7424.9,7424.9,1.5,7424.91,7424.91,7424.91,7424.91,33.25"
    half = b"34260000,,,,,,1,1,1,1676000,400"
    sold = b"34200000,1,1,1,1675700,700"
    header = b"timestamp,open,high,low,close,volume"
    bar = (b"2021-12-31 23:01:00.000000,1,1,1,46377.0,9", b"2021-12-31 23:02:00.000000,1,1,1,46411.0,9")
    name = "20180404_btcusd_minute_quote.csv"
    return (Kind("LEAN quotes", name, (quote,), (quote, half), _blank),
            Kind("LEAN trades", "20131004_spy_minute_trade.csv", (sold,), (sold,), _blank, 0, "",
                 (name, quote + b"\n")),
            Kind("bars", "btc-perp-20211231_1m.csv", (header, *bar), bar, _blank, 1, "bar"))


def kinds() -> tuple[Kind, ...]:
    """Every recorded format."""
    return (_binance(), _advanced(), _exchange(), *_tardis(), *_lean())


def _pack(how: str, member: str, data: bytes) -> bytes:
    if how == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            # A zip entry made from a name alone carries the time of day.
            archive.writestr(zipfile.ZipInfo(member), data, zipfile.ZIP_DEFLATED)
        return out.getvalue()
    if how == "gzip":
        return gzip.compress(data, mtime=0)
    return zstandard.compress(data) if how == "zstandard" else data


class Lines:
    """The target: mutated lines behind the sound start of a file of one kind."""

    def __init__(self, random: Random, kind: Kind, folder: Path) -> None:
        self.name = f"lines of {kind.name}"
        self._random, self._kind, self._folder = random, kind, folder
        self._corpus = Corpus(kind.seeds)
        self._fresh: set[int] = set()
        self._recording: recordings.Recording | None = None
        self._tracer = LinesReached(FILES, self._reached)

    @property
    def reached(self) -> int:
        """Lines of the readers that were reached so far."""
        return len(self._tracer)

    def batch(self, size: int) -> list[bytes]:
        """Lines to try."""
        return [self._corpus.next(self._random).replace(b"\n", b" ") for _ in range(size)]

    def try_batch(self, tried: Sequence[bytes]) -> Faults:
        """Read the lines, then once more in small chunks; learn which of them reached something new."""
        try:
            first, faults = self._read(tried, recordings.CHUNK, traced=True)
            again, _ = self._read(tried, 7, traced=False)
        except Exception as error:
            return Faults(crash=crash(error))
        for at in sorted(self._fresh):
            if at < len(tried):
                self._corpus.learn(self._random, tried[at], (self.name, len(self._corpus)))
        return Faults(faults.lost, faults.doubled, int(not _equal(first, again)))

    def _reached(self) -> None:
        if self._recording is not None:
            self._fresh.add(self._recording.lines_read - len(self._kind.start) - 1)

    def _read(self, tried: Sequence[bytes], chunk: int, traced: bool) -> tuple[Ticks, Faults]:
        path = self._folder / self._kind.member
        path.write_bytes(b"".join(line + b"\n" for line in (*self._kind.start, *tried)))
        paths = [path]
        if self._kind.quotes:
            paths.append(self._folder / f"quotes-{self._kind.quotes[0]}")
            paths[-1].write_bytes(self._kind.quotes[1])
        self._fresh.clear()
        self._recording = recording = recordings.open_recording(paths)
        if traced:
            with self._tracer:
                ticks = concat(recording.ticks(chunk))
        else:
            ticks = concat(recording.ticks(chunk))
        self._recording = None
        return ticks, self._account(recording, tried, ticks)

    def _account(self, recording: recordings.Recording, tried: Sequence[bytes], ticks: Ticks) -> Faults:
        """Lines that were counted nowhere, or twice, and ticks that are more or fewer than their frames."""
        kind = self._kind
        held = [line.rstrip(b"\r") for line in (*kind.start, *tried)]
        expected = sum(not kind.silent(line) for line in held[kind.skip:])
        if kind.quotes:
            expected += kind.quotes[1].count(b"\n") - (kind.name == "tardis trades")
        counted = sum(recording.frames.values()) + recording.rejected
        made = recording.frames[kind.ticks] if kind.ticks else len(ticks)
        return Faults(max(0, expected - counted) + max(0, made - len(ticks)),
                      max(0, counted - expected) + max(0, len(ticks) - made))

    def example(self, tried: Sequence[bytes]) -> str:
        """The lines as hexadecimal, for `--reproduce`."""
        return " ".join(line.hex() or "empty" for line in tried)

    @staticmethod
    def parse(text: str) -> list[bytes]:
        """What `example` wrote. Raises ValueError for what is no hexadecimal."""
        return [b"" if word == "empty" else bytes.fromhex(word) for word in text.split()]


def _equal(one: Ticks, other: Ticks) -> bool:
    # An instrument that has only traded so far is known to a chunk or not, and no tick points at it.
    return all(known == same for known, same in zip(one.instruments, other.instruments, strict=False)) and all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in COLUMNS)


class Files:
    """The target: whole files of any kind, mutated before or after they were packed, under a mutated name.

    Each case is a name and its bytes, as one byte string: the name, a zero byte, the content.
    """

    name = "files"

    def __init__(self, random: Random, folder: Path) -> None:
        self._random, self._folder = random, folder
        self._fresh = False
        self._tracer = LinesReached(FILES, self._reached)
        self._plain = [_case(kind.member, b"\n".join((*kind.start, *kind.seeds)) + b"\n") for kind in kinds()]
        self._corpus = Corpus(self._plain)

    @property
    def reached(self) -> int:
        """Lines of the readers that were reached so far."""
        return len(self._tracer)

    def batch(self, size: int) -> list[bytes]:
        """Files to try."""
        return [self._one() for _ in range(size)]

    def _one(self) -> bytes:
        how = self._random.choice(("plain", "plain", "gzip", "zstandard", "zip"))
        case = self._corpus.next(self._random) if self._random.random() < 0.5 else self._random.choice(self._plain)
        name, _, content = case.partition(b"\0")
        member = name.decode(errors="replace").replace("/", "") or "a"
        packed = _pack(how, member, content)
        if how != "plain" and self._random.random() < 0.7:
            packed = mutate(self._random, packed, [packed])
        return _case(member, packed)

    def try_batch(self, tried: Sequence[bytes]) -> Faults:
        """Read each file to its end; only UserError may stop it."""
        lost = doubled = 0
        for case in tried:
            self._fresh = False
            try:
                more = self._read(case)
            except Exception as error:
                return Faults(crash=crash(error))
            lost, doubled = lost + max(0, more), doubled + max(0, -more)
            if self._fresh:
                self._corpus.learn(self._random, case, len(self._corpus))
        return Faults(lost, doubled)

    def _reached(self) -> None:
        self._fresh = True

    def _read(self, case: bytes) -> int:
        """Lines that the reader was given and did not read, 0 where it refused the file."""
        name, _, content = case.partition(b"\0")
        path = self._folder / (name.decode()[:80] or "a")
        path.write_bytes(content)
        try:
            with self._tracer:
                recording = recordings.open_recording([path])
                for _ in recording.ticks():
                    pass
        except UserError:
            return 0
        finally:
            path.unlink()
        return recording.line_count - recording.lines_read

    example, parse = Lines.example, staticmethod(Lines.parse)


def _case(name: str, content: bytes) -> bytes:
    return name.encode() + b"\0" + content
