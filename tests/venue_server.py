"""Venues on loopback: real WebSocket and HTTP servers that say what a script tells them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.sync import server as blocking

from connectors.market.columns import Ticks, concat
from connectors.venues.feed import Feed, Patience, Venue

Script = Callable[[ServerConnection], Awaitable[None]]
QUICK = Patience(connect_s=2.0, silence_s=0.4, resync_s=0.1, close_s=0.2, steady_s=30.0, base_s=0.02, cap_s=0.05)
LIMIT_S = 10.0
"""A test that takes longer has hung."""


class List:
    """A sink that keeps everything, and knows what was flushed."""

    def __init__(self) -> None:
        self.chunks: list[Ticks] = []
        self.flushed = 0

    def write(self, ticks: Ticks) -> None:
        self.chunks.append(ticks)

    def flush(self) -> None:
        self.flushed = self.count

    @property
    def count(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    @property
    def ticks(self) -> Ticks:
        return concat(self.chunks)


@dataclass
class Server:
    """A venue that plays one script a connection, the last one again for all that follow."""

    scripts: list[Script]
    answers: Callable[[str], tuple[int, dict[str, str], Any]] = lambda path: (404, {}, {})
    """Status, headers and JSON of a plain HTTP request by its path."""
    turned_away: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers for the first handshakes."""
    connections: int = 0
    knocks: list[float] = field(default_factory=list)
    """When each handshake came, by the loop's clock."""
    paths: list[str] = field(default_factory=list)
    """Of all HTTP requests, handshakes left out."""
    heard: list[Any] = field(default_factory=list)
    """Messages of the clients, decoded."""
    port: int = 0
    talking: list[asyncio.Future[None]] = field(default_factory=list)
    """Scripts that were begun; a script ends with the test at the latest."""

    async def talk(self, socket: ServerConnection) -> None:
        self.talking.append(asyncio.ensure_future(self.scripts[min(self.connections, len(self.scripts)) - 1](socket)))
        await asyncio.wait(self.talking[-1:])

    def request(self, socket: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            self.knocks.append(asyncio.get_running_loop().time())
            if self.turned_away:
                status, headers = self.turned_away.pop(0)
                return _response(socket, status, headers, {})
            self.connections += 1
            return None
        self.paths.append(request.path)
        return _response(socket, *self.answers(request.path))

    def end(self) -> None:
        """End all scripts."""
        for script in self.talking:
            script.cancel()

    async def next(self, socket: ServerConnection) -> Any:
        """The next message of the client."""
        self.heard.append(orjson.loads(await socket.recv()))
        return self.heard[-1]

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _response(socket: ServerConnection, status: int, headers: dict[str, str], body: Any) -> Response:
    response = socket.respond(status, orjson.dumps(body).decode())
    for name, value in headers.items():
        response.headers[name] = value
    return response


def played(server: Server, venue: Callable[[Server], Venue], symbols: tuple[str, ...],
           until: Callable[[Feed, List], bool], sink: List | None = None, patience: Patience = QUICK,
           limit_s: float = LIMIT_S, **settings: Any) -> tuple[Feed, List]:
    """Run a feed against a server until a condition holds; then stop it in order."""
    return asyncio.run(_played(server, venue, symbols, until, sink or List(), patience, limit_s, settings))


async def _played(server: Server, venue: Callable[[Server], Venue], symbols: tuple[str, ...],
                  until: Callable[[Feed, List], bool], sink: List, patience: Patience, limit_s: float,
                  settings: dict[str, Any]) -> tuple[Feed, List]:
    async with serve(server.talk, "127.0.0.1", 0, process_request=server.request, compression=None,
                     max_size=None, close_timeout=0.2) as listening:
        server.port = next(iter(listening.sockets)).getsockname()[1]
        feed = Feed(venue(server), symbols, sink, **{"patience": patience, "rng": Random(1), "say": _silent} | settings)
        stop = asyncio.Event()
        try:
            async with asyncio.timeout(limit_s):
                running = asyncio.create_task(feed.run(stop))
                while not running.done() and not until(feed, sink):
                    await asyncio.sleep(0.005)
                stop.set()
                await running
        finally:
            server.end()
    return feed, sink


def _silent(text: str) -> None:
    """Say nothing."""


async def hold(socket: ServerConnection) -> None:
    """Keep the connection open until the client leaves."""
    await socket.wait_closed()


def send(*frames: Any) -> Script:
    """A script that sends frames, as they are or as JSON, and stays."""
    async def script(socket: ServerConnection) -> None:
        for frame in frames:
            await socket.send(frame if isinstance(frame, str | bytes) else orjson.dumps(frame).decode())
        await hold(socket)

    return script


def send_and_close(*frames: Any) -> Script:
    """A script that sends frames and ends the connection a moment later."""
    async def script(socket: ServerConnection) -> None:
        for frame in frames:
            await socket.send(frame if isinstance(frame, str | bytes) else orjson.dumps(frame).decode())
        await asyncio.sleep(0.1)

    return script


@contextmanager
def busy_bybit(pause_s: float = 0.0005) -> Iterator[str]:
    """The address of a Bybit whose book of XY changes all the time, after one message that nobody can read."""
    def endless(socket: blocking.ServerConnection) -> None:
        try:
            socket.send("nonsense")
            socket.send(_book_of_xy(1, "snapshot"))
            for number in range(2, 1_000_000):
                socket.send(_book_of_xy(number, "delta"))
                time.sleep(pause_s)
        except Exception:
            return                                         # the client has left

    with blocking.serve(endless, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


def _book_of_xy(number: int, kind: str) -> str:
    return orjson.dumps({"topic": "orderbook.50.XY", "type": kind, "ts": time.time_ns() // 1_000_000, "data": {
        "s": "XY", "b": [["10", str(number)]], "a": [["12", "2"]], "u": number, "seq": 1}}).decode()
