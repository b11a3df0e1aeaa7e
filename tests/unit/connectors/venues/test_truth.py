"""Whole recordings through a socket: what a live feed makes of them is what the replayer makes of them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.testing import assert_array_equal
from websockets.asyncio.server import ServerConnection

from connectors.market.columns import COLUMNS, Ticks, concat
from connectors.market.lines import lines
from connectors.market.recordings import open_recording
from connectors.venues.binance import Binance
from connectors.venues.bybit import Bybit
from connectors.venues.coinbase import Coinbase
from tests.venue_server import QUICK, Server, hold, played

DATA = Path(__file__).parents[5] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"the recordings are not at {DATA}")
BINANCE = [DATA / "binance_spot" / f"{name}_20240808.gz" for name in ("btcusdt", "ethusdt")]


def same(live: Ticks, recorded: Ticks) -> None:
    """Assert equal ticks: receive times apart, and event times where those are receive times."""
    assert live.instruments == recorded.instruments
    for name in COLUMNS:
        if name not in ("ts_recv", "ts_event"):
            assert_array_equal(getattr(live, name), getattr(recorded, name), name)
    stamped = recorded.flags == 0
    assert_array_equal(live.ts_event[stamped], recorded.ts_event[stamped])


def recorded(*paths: Path) -> Ticks:
    return concat(open_recording(list(paths)).ticks())


def frames_of(path: Path) -> Iterator[tuple[int, bytes]]:
    for line in lines(path):
        stamp, _, frame = line.partition(b" ")
        yield int(stamp), frame


def test_every_frame_of_binance_is_counted_and_the_book_is_the_venues_own() -> None:
    merged = [frame for _, frame in heapq.merge(*map(frames_of, BINANCE), key=itemgetter(0))]
    snapshots: dict[str, Any] = {}
    answered = asyncio.Event()

    async def script(socket: ServerConnection) -> None:
        for frame in merged:
            if frame.startswith(b'{"lastUpdateId"'):               # it was asked for here: wait for the question
                snapshots["BTCUSDT" if b'"61837.63000000"' in frame[:80] else "ETHUSDT"] = orjson.loads(frame)
                if len(snapshots) == 2:
                    answered.set()
                    while len(server.paths) < 2:
                        await asyncio.sleep(0.005)
                    await asyncio.sleep(0.1)
            else:
                await socket.send(frame, text=True)
        await hold(socket)

    class Waiting(Binance):
        async def resync(self, link: Any, symbols: Any) -> None:
            await answered.wait()
            await super().resync(link, symbols)

    server = Server([script], answers=lambda path: (200, {}, snapshots[path.split("symbol=")[1].split("&")[0]]))
    feed, sink = played(server, lambda s: Waiting(s.ws, s.http, settle_s=0.0), ("BTCUSDT", "ETHUSDT"),
                        lambda feed, sink: feed.health.frames >= len(merged) and sink.count >= 52_117, limit_s=60)
    asked = feed.health.used.pop("snapshot")                       # BTC leaves its range, and asks in vain again
    assert asked >= 2 and len(merged) == 74_867
    assert feed.health.used == {"bookTicker": 52_117, "trade": 15_863, "depthUpdate": 6_885}
    assert feed.health.ignored.total() == feed.health.rejected.total() == feed.health.gaps == 0
    assert feed.health.checks == {"equal": 6_881}
    assert feed.health.reconnects == 0
    same(sink.ticks, recorded(*BINANCE))


def cryptofeed(path: Path, connection: str) -> list[str]:
    held = (orjson.loads(line) for line in lines(path) if line.startswith(b'{"t":"recv"'))
    return [line["data"] for line in held if line["conn"] == connection]


def playing(frames: list[str]) -> Any:
    async def script(socket: ServerConnection) -> None:
        for frame in frames:
            await socket.send(frame)
        await hold(socket)

    return script


def test_coinbase_is_followed_to_its_last_frame() -> None:
    path = DATA / "coinbase" / "COINBASE.jsonl.zst"
    frames, ticks = cryptofeed(path, "COINBASE.ws.2"), recorded(path)
    feed, sink = played(Server([playing(frames)]), lambda s: Coinbase(s.ws), ("BTC-USD", "ETH-USD"),
                        lambda feed, sink: feed.health.frames >= len(frames) and sink.count >= len(ticks))
    assert feed.health.frames == len(frames) == 1_030
    assert feed.health.ignored.keys() == {"ticker", "candles"}
    assert feed.health.rejected.total() == feed.health.gaps == feed.health.resyncs == feed.health.reconnects == 0
    same(sink.ticks, ticks)


@pytest.mark.parametrize(("category", "connection"), [("linear", "BYBIT.ws.2"), ("spot", "BYBIT.ws.3")])
def test_bybit_is_followed_to_its_last_frame(category: str, connection: str) -> None:
    path = DATA / "bybit" / "BYBIT.jsonl.zst"
    frames, ticks = cryptofeed(path, connection), recorded(path)
    here = [i for i, (venue, _) in enumerate(ticks.instruments) if venue == f"BYBIT-{category.upper()}"]
    ticks = ticks.take(np.flatnonzero(np.isin(ticks.instrument, here)))
    feed, sink = played(Server([playing(frames)]), lambda s: Bybit(s.ws, category=category), ("BTCUSDT", "ETHUSDT"),
                        lambda feed, sink: feed.health.frames >= len(frames) and sink.count >= len(ticks),
                        patience=QUICK)
    assert feed.health.frames == len(frames)
    assert feed.health.rejected.total() == feed.health.gaps == feed.health.resyncs == 0
    assert_array_equal(sink.ticks.bid, ticks.bid)
    assert_array_equal(sink.ticks.ts_event, ticks.ts_event)
