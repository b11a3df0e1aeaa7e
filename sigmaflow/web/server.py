"""HTTP for the page: three files, and its parts as JSON beneath /api. Only GET and HEAD; nothing can be changed here.

    GET /                   the page; /page.css and /page.js belong to it
    GET /api                what there is: parts, sources, options
    GET /api/<part>         one part; /api/curve?range=1h

Every answer has an ETag, and one that has not changed is a 304. `X-Now-Ms` is this machine's clock, by which ages are
reckoned. The page may load nothing from elsewhere (Content-Security-Policy). A name that is neither an address nor
`localhost` is refused as Host: a foreign page whose name was made to point here would be let in by the browser
otherwise (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sigmaflow.web.parts import Part, Record

FILES = {"/": ("page.html", "text/html; charset=utf-8"), "/page.css": ("page.css", "text/css; charset=utf-8"),
         "/page.js": ("page.js", "text/javascript; charset=utf-8")}
JSON = "application/json; charset=utf-8"
OPTION = "range"
"""Name of the one parameter that a part may take."""
SILENT_S = 30.0
"""A connection that asks nothing for so long is closed."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                               "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class PageServer(ThreadingHTTPServer):
    """The page on a host and port; port 0 takes a free one. Raises OSError for a taken port."""

    daemon_threads = True

    def __init__(self, host: str, port: int, parts: Iterable[Part]) -> None:
        self.parts = {part.name: part for part in parts}
        folder = files("sigmaflow.web")
        self.files = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in FILES.items()}
        self.hosts = {"localhost", host}
        self._lines: set[socket.socket] = set()
        super().__init__((host, port), Handler)
        self.url = f"http://{host}:{self.server_port}"
        """Address of the page."""

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection, and remember it."""
        line, address = super().get_request()
        self._lines.add(line)
        return line, address

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        self._lines.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Let go of the port and of every connection: a browser keeps its own open."""
        super().server_close()
        for line in list(self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def index(self) -> Record:
        """What /api says."""
        return {"parts": [{"part": part.name, "source": part.source, "about": part.about, "every_s": part.every_s,
                           OPTION: list(part.options) if len(part.options) > 1 else []}
                          for part in self.parts.values()]}


class Handler(BaseHTTPRequestHandler):
    """One request after another on one connection."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sigmaflow", ""
    timeout = SILENT_S

    def do_GET(self) -> None:
        """Answer."""
        if not trusted(self.headers.get("Host", ""), self.server.hosts):
            self._fail(HTTPStatus.MISDIRECTED_REQUEST, "Host must be an address, localhost or web.host")
            return
        asked = urlsplit(self.path)
        if asked.path in self.server.files:
            self._send(HTTPStatus.OK, *self.server.files[asked.path])
        elif asked.path == "/api":
            self._json(HTTPStatus.OK, self.server.index())
        else:
            self._part(asked.path.removeprefix("/api/"), parse_qs(asked.query, keep_blank_values=True))

    do_HEAD = do_GET

    def _part(self, name: str, query: dict[str, list[str]]) -> None:
        part = self.server.parts.get(name)
        if part is None:
            self._fail(HTTPStatus.NOT_FOUND, f"there is no {self.path[:100]}; /api lists what there is")
            return
        option = query.get(OPTION, part.options[:1])[-1]
        if set(query) - {OPTION} or option not in part.options:
            self._fail(HTTPStatus.BAD_REQUEST, f"{OPTION} must be one of {', '.join(part.options) or 'none'}")
            return
        self._json(HTTPStatus.OK, part.get(option))

    def _fail(self, status: HTTPStatus, error: str) -> None:
        self._json(status, {"error": error})

    def _json(self, status: HTTPStatus, answer: Record) -> None:
        self._send(status, json.dumps(answer, separators=(",", ":"), allow_nan=False).encode(), JSON)

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        same = status == HTTPStatus.OK and tag in self.headers.get("If-None-Match", "")
        self.send_response(HTTPStatus.NOT_MODIFIED if same else status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("ETag", tag)
        self.send_header("X-Now-Ms", str(round(time.time() * 1e3)))
        if not same:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not same and self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the base class refuses, a method above all, as everything else: one JSON object."""
        self.close_connection = True
        refused = code == HTTPStatus.NOT_IMPLEMENTED
        status = HTTPStatus.METHOD_NOT_ALLOWED if refused else HTTPStatus(code)
        body = json.dumps({"error": "only GET and HEAD" if refused else message or status.phrase}).encode()
        self.send_response(status)
        self.send_header("Content-Type", JSON)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        if refused:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the page asks several times a second."""


def trusted(host: str, names: Iterable[str]) -> bool:
    """Whether a Host header names this server: an address, or one of the names.

    >>> [trusted(host, {"localhost"}) for host in ("127.0.0.1:8088", "localhost", "[::1]:8088", "evil.example:8088")]
    [True, True, True, False]
    """
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return name in names
