"""A chain and a market that tests start and stop, and questions to the Prometheus that watches them."""
from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sigmaflow import alerts, probes, submit, trials
from sigmaflow.settings import Settings
from tests.commands import send_raw
from tests.waiting import wait_for

RATE, SYMBOLS, FIRST = 400, 8, 4
"""Ticks a second of all symbols: each is warm after a few seconds, and the log of minutes stays short. Symbols that
trade while the others stand still.
"""
BURST = 800_000
"""Ticks that the chain needs seconds for."""
WILD = ("--volatility", "2", "--information", "0.9")
"""A market whose book tells much: there is something to trade at once."""


class Market:
    """The market simulator as a process of the test's own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, symbols: int = SYMBOLS) -> None:
        """Start it where it does not run."""
        if self._process is None:
            command = [str(self.settings.python), "-m", "connectors.simulate", "--rate", str(RATE),
                       "--symbols", str(symbols), *WILD]
            self._process = subprocess.Popen(command, cwd=self.settings.root, stdout=subprocess.DEVNULL)

    def burst(self, ticks: int) -> None:
        """Write so many ticks at once."""
        subprocess.run([str(self.settings.python), "-m", "connectors.simulate", "--rate", str(ticks), "--unpaced",
                        "--count", str(ticks), "--symbols", str(SYMBOLS)], cwd=self.settings.root, check=True,
                       stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it; fine where it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    @contextmanager
    def without(self) -> Iterator[None]:
        """Stopped for a while, whatever comes of it."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def of_the_first(self) -> Iterator[None]:
        """With the first few symbols only for a while."""
        with self.without():
            self.start(FIRST)
            try:
                yield
            finally:
                self.stop()


def chain(settings: Settings, savepoint: str | None = None) -> None:
    """Submit the chain, and wait until it runs."""
    arguments = ["--profile", "default", "--taps", "opportunities.v1"]
    submit.wait_running(submit.submit("jobs/pipeline.py", arguments, savepoint, settings=settings), settings=settings)


def refused_tick(settings: Settings) -> None:
    """Send something that is no tick."""
    send_raw(settings, "market.ticks.v1", b"nonsense", key=b"SIM:NONE")


def foreign_intent(settings: Settings) -> None:
    """Send something that is no intent where the chain writes intents: an audit finds it."""
    send_raw(settings, "intents.v1", b"foreign", key=b"paper")


@contextmanager
def told(port: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """An HTTP server of the test's own, on any free port or this one: its address, and what JSON is posted to it."""
    bodies: list[Any] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
        server.shutdown()


@contextmanager
def frozen(settings: Settings, program: str) -> Iterator[None]:
    """A program that is there and does nothing."""
    pid = trials.pid(settings, program)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def ask(settings: Settings, path: str, **parameters: Any) -> Any:
    """Return what Prometheus answers."""
    url = f"{settings.prometheus.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    return probes.get_json(url, timeout=20)["data"]


def value(settings: Settings, query: str) -> float:
    """The value of a query now, 0 where there is none."""
    found = ask(settings, "query", query=query)["result"]
    return float(found[0]["value"][1]) if found else 0.0


def firing(settings: Settings, *severities: str) -> set[str]:
    """The alerts that fire, as `sigmaflow alerts` tells them; of some severities only where they are named."""
    return {alert["alert"] for alert in alerts.run(settings)["alerts"]
            if alert["state"] == "firing" and alert["severity"] in (severities or alerts.SEVERITIES)}


@dataclass
class Left:
    """What is still waited for, as it is told where it takes too long."""

    what: str
    names: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"the {self.what} of {', '.join(sorted(self.names))}"


def wait_firing(settings: Settings, *names: str, severities: Sequence[str] = ()) -> None:
    """Wait until each of these alerts has been seen firing."""
    left = Left("firing", set(names))

    def seen() -> bool:
        left.names -= firing(settings, *severities)
        return not left.names

    wait_for(left, seen)


def wait_resolved(settings: Settings, *names: str) -> None:
    """Wait until none of these alerts fires any more."""
    left = Left("end")

    def over() -> bool:
        left.names = firing(settings).intersection(names)
        return not left.names

    wait_for(left, over)
