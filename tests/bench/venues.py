"""How fast a live feed is, from the socket to the record that Kafka has confirmed.

    python -m tests.bench.venues --bootstrap 127.0.0.1:9092 --registry http://127.0.0.1:8080/apis/ccompat/v7

A process of its own plays a venue's recording, whole and again and again (tests/bench/venue_frames.py), over a real
WebSocket as fast as the frames are taken; where there is no recording, made-up Binance frames in its proportions.
Measured for each venue: frames/s to confirmed ticks, memory at the start, in the middle and at the end, whether every
tick is there (as the feed counts and as the topic's end offsets tell), and, with a sink that takes only so many
ticks/s, whether the reading slows down with nothing lost. Ticks go to --topic, which must exist (the contract's own
topic by default). Without --bootstrap the ticks are encoded and thrown away. Exits 1 if a figure is not met.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition
from websockets.asyncio.server import ServerConnection, serve

from connectors import broker
from connectors.market.columns import Ticks
from connectors.ticks import TOPIC, TickEncoder, TickWriter
from connectors.venues.feed import Feed
from sigmaflow.settings import Settings, load
from tests.bench.venue_frames import DATA, PLAYED, Played

TARGET_PER_S = 20_000
FLAT_MB = 32.0
"""Memory that may be added after the first fifth of the frames: librdkafka's queues fill once."""
SLOW_PER_S = 5_000
SLOW_FRAMES = 25_000
CHUNK = 200
"""Frames handed to the socket at once."""
WATERMARK = 1 << 20


def wire(payload: bytes) -> bytes:
    """A text message as a server sends it."""
    size = len(payload)
    length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big") if size < 65_536 else (
        bytes([127]) + size.to_bytes(8, "big"))
    return b"\x81" + length + payload


def chunks(played: Played, passes: int) -> Iterator[bytes]:
    """So many passes, laid out for the socket."""
    for _, frames in zip(range(passes), played.passes(), strict=False):
        for at in range(0, len(frames), CHUNK):
            yield b"".join(map(wire, frames[at:at + CHUNK]))


def serving(played: Played, passes: int, port: Any) -> None:
    """Serve the passes to whoever connects."""
    async def play(socket: ServerConnection) -> None:
        for chunk in chunks(played, passes):
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


def run(played: Played, sink: Any, passes: int, count: int) -> tuple[Feed, float, list[float]]:
    """One feed over so many passes, which are so many frames."""
    port: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serving, args=(played, passes, port), daemon=True)
    server.start()
    try:
        feed = Feed(played.venue(f"ws://127.0.0.1:{port.get()}"), played.symbols, sink,
                    first=lambda _: time.time_ns() // 1_000)
        return feed, *asyncio.run(measured(feed, count))
    finally:
        server.kill()
        server.join()


def settings(bootstrap: str, registry: str) -> Settings:
    """The settings with these servers."""
    host, _, port = bootstrap.rpartition(":")
    environ = dict(os.environ) | {"SIGMAFLOW_KAFKA_HOST": host, "SIGMAFLOW_KAFKA_PORT": port}
    environ.pop("SIGMAFLOW_PORT_OFFSET", None)                          # the addresses given are whole
    if registry:
        address = registry.split("//")[-1].split("/")[0]
        environ |= {"SIGMAFLOW_REGISTRY_HOST": address.rpartition(":")[0],
                    "SIGMAFLOW_REGISTRY_PORT": address.rpartition(":")[2]}
    return load(environ=environ)


def records(given: argparse.Namespace) -> int:
    """Records ever written to the topic, by its end offsets; 0 without Kafka."""
    if not given.bootstrap:
        return 0
    consumer = Consumer(broker.client(given.bootstrap) | {"group.id": "bench"})
    try:
        parts = consumer.list_topics(given.topic, timeout=10).topics[given.topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(given.topic, part))[1] for part in parts)
    finally:
        consumer.close()


def writer(given: argparse.Namespace) -> Any:
    """The sink that production uses, or one that only encodes."""
    return TickWriter(settings(given.bootstrap, given.registry), given.topic) if given.bootstrap else Encoding()


def speed(name: str, given: argparse.Namespace) -> bool:
    """Speed, memory and completeness of one venue; whether all are as asked."""
    played = PLAYED[name]
    (first, first_ticks), (later, later_ticks) = played.counts()
    passes = max(1, round((given.frames - first) / later) + 1)
    count, ticks = first + (passes - 1) * later, first_ticks + (passes - 1) * later_ticks
    there, began = records(given), time.process_time()
    feed, seconds, memory = run(played, writer(given), passes, count)
    cost_us, rate = (time.process_time() - began) / count * 1e6, count / seconds
    there, growth = records(given) - there if given.bootstrap else ticks, memory[-1] - memory[0]
    whole = there == feed.health.ticks == ticks and feed.health.frames == count and feed.health.gaps == 0
    where = f"confirmed by {given.bootstrap}" if given.bootstrap else "encoded, no Kafka"
    print(f"{name} speed: {rate:,.0f} frames/s ({count:,} frames in {passes} passes, {feed.health.ticks:,} ticks "
          f"{where}, {seconds:.1f} s, {cost_us:.0f} us of processor a frame); at least {TARGET_PER_S:,}: "
          f"{_verdict(rate >= TARGET_PER_S)}")
    print(f"{name} memory: {memory[0]:.0f} MB after a fifth, {memory[len(memory) // 2]:.0f} MB in the middle, "
          f"{memory[-1]:.0f} MB at the end; at most {FLAT_MB:.0f} MB more: {_verdict(growth <= FLAT_MB)}")
    print(f"{name} nothing lost: {there:,} of {ticks:,} ticks, {feed.health.gaps} gaps, "
          f"{feed.health.rejected.total()} rejected: {_verdict(whole)}")
    return rate >= TARGET_PER_S and growth <= FLAT_MB and whole


def back_pressure(name: str) -> bool:
    """Whether a sink that is slower than the venue slows the reading, and gets all."""
    played, slow = PLAYED[name], Slow()
    (first, first_ticks), (later, later_ticks) = played.counts()
    passes = max(1, round((SLOW_FRAMES - first) / later) + 1)
    ticks = first_ticks + (passes - 1) * later_ticks
    feed, seconds, memory = run(played, slow, passes, first + (passes - 1) * later)
    growth, all_there = memory[-1] - memory[0], slow.taken == feed.health.ticks == ticks
    steady = ticks / seconds <= 1.1 * SLOW_PER_S and all_there and growth <= FLAT_MB
    print(f"{name} back pressure: a sink of {SLOW_PER_S:,} ticks/s is fed {ticks / seconds:,.0f} ticks/s, "
          f"{slow.taken:,} of {ticks:,} ticks there, {feed.health.reconnects} reconnects, {growth:+.0f} MB: "
          f"{_verdict(steady)}")
    return steady


def main() -> int:
    """Print one line a figure; 1 where one is not met."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bootstrap", default="", help="Kafka, host:port; left out, ticks are only encoded")
    options.add_argument("--registry", default="", help="schema registry; its settings when left out")
    options.add_argument("--topic", default=TOPIC)
    options.add_argument("--frames", type=int, default=400_000, help="about so many: whole passes")
    options.add_argument("--venue", choices=PLAYED, action="append", help="may be given again; all when left out")
    given = options.parse_args()
    names = given.venue or ([name for name in PLAYED if name != "made"] if DATA.exists() else ["made"])
    met = [speed(name, given) for name in names] + [back_pressure(names[0])]
    return 0 if all(met) else 1


def _verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


if __name__ == "__main__":
    sys.exit(main())
