"""A host on loopback that answers requests as a test says, and a log in a list."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from connectors.slow.items import Record
from connectors.slow.poll import Poller
from connectors.slow.source import Manners, Source

NOW = 1_769_851_800_000_000_000
"""2026-01-31T09:30:00Z"""
QUICK = Manners(0.0, 0.01, 0.02, Random(1))


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float


Reply = tuple[int, dict[str, str], Any]
"""Status, headers, and a body: bytes as they are, anything else as JSON. Status 0 hangs up without an answer."""


@dataclass
class Host:
    """An HTTP/1.1 server that answers with `reply(request)`."""

    reply: Callable[[Asked], Reply]
    asked: list[Asked] = field(default_factory=list)
    address: str = ""

    async def __aenter__(self) -> Host:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            parts = urlsplit(target)
            params = {name: values[0] for name, values in parse_qs(parts.query).items()}
            asked = Asked(method, parts.path, params, headers, body, asyncio.get_running_loop().time())
            self.asked.append(asked)
            status, more, said = self.reply(asked)
            if status:
                payload = said if isinstance(said, bytes) else orjson.dumps(said)
                fields = {"content-length": str(len(payload)), "connection": "close"} | more
                lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in fields.items())]
                writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class ListLog:
    """A log in a list. `fails_after` records it raises, once: what was written before stays."""

    def __init__(self, records: Sequence[Record] = (), fails_after: int = -2) -> None:
        self.records, self._fails_after = list(records), fails_after

    def read(self) -> Iterator[tuple[int, Record]]:
        yield from enumerate(list(self.records))

    def write(self, records: Sequence[Record]) -> None:
        for record in records:
            self._fails_after -= 1
            if self._fails_after == -1:
                raise KilledError
            self.records.append(record)

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in self.records]


class KilledError(Exception):
    """The process ends in the middle of writing."""


def polled(reply: Callable[[Asked], Reply], source: Callable[[str], Source], log: ListLog, rounds: int = 1,
           now: int = NOW, said: list[str] | None = None) -> Host:
    """Poll a source against a host for some rounds; gives the host with what it was asked."""
    async def run() -> Host:
        async with Host(reply) as host, asyncio.timeout(20):
            made = source(host.address)
            poller = Poller(made, log, 0.0, lambda: now, Random(1), (said if said is not None else []).append)
            await poller.run(asyncio.Event(), rounds)
            return host

    return asyncio.run(run())


@contextmanager
def growing(port: int = 0) -> Iterator[str]:
    """The address of a feed that has an entry more at each look, and shows the last thirty.

    On any free port, or on this one.
    """
    count = [0]

    class Feed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            count[0] += 1
            items = "".join(f"<item><title>n{i}</title><guid>g{i}</guid></item>"
                            for i in range(count[0], max(0, count[0] - 30), -1))
            body = f"<rss version='2.0'><channel><title>t</title>{items}</channel></rss>".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Feed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/feed"
    finally:
        server.shutdown()
        server.server_close()
