"""How fast a live feed is, from the socket to the record that Kafka has confirmed.

    python -m tests.bench.venues --bootstrap 127.0.0.1:9092 --registry http://127.0.0.1:8080/apis/ccompat/v7

A process of its own plays Binance frames (bookTicker, trade and depth, in the recording's proportions) over a real
WebSocket as fast as they are taken. Measured: frames/s to confirmed ticks, whether memory stays flat, whether every
frame is a tick or counted, and, with a sink that takes only so many ticks/s, whether the reading slows down with
nothing lost. Ticks go to --topic, which must exist (the contract's own topic by default); the symbols are made up
(BENCH0 ...), so that they are nobody's. Without --bootstrap the ticks are encoded and thrown away. Exits 1 if a figure
is not met.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import psutil
from websockets.asyncio.server import ServerConnection, serve

from connectors.market.columns import Ticks
from connectors.ticks import TOPIC, TickEncoder, TickWriter
from connectors.venues.binance import Binance
from connectors.venues.feed import Feed, Link
from sigmaflow.settings import load

TARGET_PER_S = 20_000
FLAT_MB = 32.0
"""Memory that may be added after the first fifth of the frames: librdkafka's queues fill once."""
SYMBOLS = tuple(f"BENCH{i}" for i in range(3))
SLOW_PER_S = 5_000
MIX = ("q",) * 7 + ("t",) * 2 + ("d",)
"""The recording: 52,117 bookTicker, 15,863 trade and 6,885 depth frames."""
WATERMARK = 1 << 20


class Streams(Binance):
    """Binance whose snapshots are not asked for: the server has none."""

    async def resync(self, link: Link, symbols: Sequence[str]) -> None:
        """Nothing."""


def frames(count: int) -> Iterator[bytes]:
    """Snapshots, then the frames of a market that goes up and down by cents; nothing is missing in it."""
    for symbol in SYMBOLS:
        levels = b",".join(b'["%d.5","1.00"]' % (50_000 + i) for i in range(1_000))
        yield (b'{"stream":"%s@depthSnapshot","data":{"lastUpdateId":0,"bids":[%s],"asks":[["70000","1"]]}}' % (
            symbol.lower().encode(), levels))
    trades, updates = Counter[str](), Counter[str]()
    for number in range(count - len(SYMBOLS)):
        symbol, bid = SYMBOLS[number % len(SYMBOLS)], 60_000 + (number % 200) / 100
        stream, name = symbol.lower().encode(), symbol.encode()
        match MIX[number % len(MIX)]:
            case "q":
                yield (b'{"stream":"%s@bookTicker","data":{"u":%d,"s":"%s","b":"%.8f","B":"3.78826000","a":"%.8f",'
                       b'"A":"1.54698000"}}' % (stream, 10**12 + number, name, bid, bid + 0.01))
            case "t":
                trades[symbol] += 1
                yield (b'{"stream":"%s@trade","data":{"e":"trade","E":1723161255343,"s":"%s","t":%d,"p":"%.8f",'
                       b'"q":"0.02000000","T":1723161255342,"m":true,"M":true}}' % (stream, name, trades[symbol], bid))
            case _:
                updates[symbol] += 1
                levels = b",".join(b'["%.8f","%.8f"]' % (bid - i, (number + i) % 3) for i in range(10))
                yield (b'{"stream":"%s@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"%s","U":%d,"u":%d,'
                       b'"b":[%s],"a":[]}}' % (stream, name, updates[symbol], updates[symbol], levels))


def wire(payload: bytes) -> bytes:
    """A text message as a server sends it."""
    size = len(payload)
    length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big") if size < 65_536 else (
        bytes([127]) + size.to_bytes(8, "big"))
    return b"\x81" + length + payload


def venue(count: int, port: Any) -> None:
    """Serve the frames to whoever connects. They are laid out before: the server is not what is measured."""
    every = frames(count)
    chunks = [b"".join(map(wire, islice(every, 200))) for _ in range(0, count, 200)]

    async def play(socket: ServerConnection) -> None:
        for chunk in chunks:
            socket.transport.write(chunk)
            while socket.transport.get_write_buffer_size() > WATERMARK:
                await asyncio.sleep(0.001)
        await socket.wait_closed()

    async def main() -> None:
        async with serve(play, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
            port.put(next(iter(server.sockets)).getsockname()[1])
            await asyncio.get_running_loop().create_future()

    asyncio.run(main())


class Encoding:
    """A sink that encodes and throws away: what the feed costs without Kafka."""

    def __init__(self) -> None:
        self._encoder, self.taken = TickEncoder(1), 0

    def write(self, ticks: Ticks) -> None:
        """Encode."""
        self.taken += len(self._encoder.encode(ticks)[1])

    def flush(self) -> None:
        """Nothing is waiting."""


class Slow(Encoding):
    """A sink that takes so many ticks/s, as a full queue in front of a slow broker does."""

    def write(self, ticks: Ticks) -> None:
        """Encode and wait."""
        super().write(ticks)
        time.sleep(len(ticks) / SLOW_PER_S)


async def measured(feed: Feed, count: int) -> tuple[float, list[float]]:
    """Seconds from the first frame to the last confirmed tick, and memory (MB) at each fifth of the way."""
    stop, memory, process = asyncio.Event(), list[float](), psutil.Process()
    running = asyncio.create_task(feed.run(stop))
    while feed.health.frames == 0 and not running.done():
        await asyncio.sleep(0.001)
    began = time.perf_counter()
    while feed.health.frames < count and not running.done():
        if feed.health.frames >= count * (len(memory) + 1) / 5:
            memory.append(process.memory_info().rss / 1e6)
        await asyncio.sleep(0.005)
    stop.set()
    await running
    return time.perf_counter() - began, [*memory, process.memory_info().rss / 1e6]


def run(sink: Any, count: int) -> tuple[Feed, float, list[float]]:
    """One feed over so many frames."""
    port: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=venue, args=(count, port), daemon=True)
    server.start()
    try:
        feed = Feed(Streams(f"ws://127.0.0.1:{port.get()}"), SYMBOLS, sink, first=lambda _: time.time_ns() // 1_000)
        return feed, *asyncio.run(measured(feed, count))
    finally:
        server.kill()
        server.join()


def writer(bootstrap: str, registry: str, topic: str) -> Any:
    """The sink that production uses, or one that only encodes."""
    if not bootstrap:
        return Encoding()
    host, _, port = bootstrap.rpartition(":")
    environ = dict(os.environ) | {"SIGMAFLOW_KAFKA_HOST": host, "SIGMAFLOW_KAFKA_PORT": port}
    if registry:
        address = registry.split("//")[-1].split("/")[0]
        environ |= {"SIGMAFLOW_REGISTRY_HOST": address.rpartition(":")[0],
                    "SIGMAFLOW_REGISTRY_PORT": address.rpartition(":")[2]}
    return TickWriter(load(environ=environ), topic)


def main() -> int:
    """Print one line a figure; 1 where one is not met."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bootstrap", default="", help="Kafka, host:port; left out, ticks are only encoded")
    options.add_argument("--registry", default="", help="schema registry; its settings when left out")
    options.add_argument("--topic", default=TOPIC)
    options.add_argument("--frames", type=int, default=400_000)
    given = options.parse_args()
    began = time.process_time()
    feed, seconds, memory = run(writer(given.bootstrap, given.registry, given.topic), given.frames)
    cost_us = (time.process_time() - began) / given.frames * 1e6
    rate, quotes, growth = given.frames / seconds, quoted(given.frames), memory[-1] - memory[0]
    whole = feed.health.ticks == quotes and feed.health.frames == given.frames
    where = f"confirmed by {given.bootstrap}" if given.bootstrap else "encoded, no Kafka"
    print(f"speed: {rate:,.0f} frames/s ({given.frames:,} frames, {feed.health.ticks:,} ticks {where}, "
          f"{seconds:.1f} s, {cost_us:.0f} us of processor a frame); at least {TARGET_PER_S:,}: "
          f"{_verdict(rate >= TARGET_PER_S)}")
    print(f"memory: {memory[0]:.0f} MB after a fifth, {memory[-1]:.0f} MB at the end; at most {FLAT_MB:.0f} MB more: "
          f"{_verdict(growth <= FLAT_MB)}")
    print(f"nothing lost: {feed.health.ticks:,} of {quotes:,} ticks: {_verdict(whole)}")
    slow = Slow()
    some = min(given.frames, 5 * SLOW_PER_S)
    held, held_s, held_memory = run(slow, some)
    pace, all_there = quoted(some) / held_s, slow.taken == held.health.ticks == quoted(some)
    steady = pace <= 1.1 * SLOW_PER_S and all_there and held_memory[-1] - held_memory[0] <= FLAT_MB
    print(f"back pressure: a sink of {SLOW_PER_S:,} ticks/s is fed {pace:,.0f} ticks/s, {slow.taken:,} of "
          f"{quoted(some):,} ticks there, {held.health.reconnects} reconnects, "
          f"{held_memory[-1] - held_memory[0]:+.0f} MB: {_verdict(steady)}")
    return 0 if rate >= TARGET_PER_S and growth <= FLAT_MB and whole and steady else 1


def quoted(count: int) -> int:
    """How many of so many frames are bookTickers."""
    return sum(MIX[number % len(MIX)] == "q" for number in range(count - len(SYMBOLS)))


def _verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


if __name__ == "__main__":
    sys.exit(main())
