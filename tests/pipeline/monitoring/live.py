"""A chain and a market that tests start and stop, and questions to the Prometheus that watches them."""
from __future__ import annotations

import subprocess
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from sigmaflow import alerts, probes, submit
from sigmaflow.settings import Settings

RATE, SYMBOLS = 800, 8
"""Ticks a second of all symbols: each is warm after a few seconds, and the log of minutes stays short."""
WILD = ("--volatility", "2", "--information", "0.9")
"""A market whose book tells much: there is something to trade at once."""


class Market:
    """The market simulator as a process of the test's own, at a rate of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it where it does not run."""
        if self._process is None:
            command = [str(self.settings.python), "-m", "connectors.simulate", "--rate", str(RATE),
                       "--symbols", str(SYMBOLS), *WILD]
            self._process = subprocess.Popen(command, cwd=self.settings.root, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it; fine where it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None


def chain(settings: Settings, savepoint: str | None = None) -> None:
    """Submit the chain, and wait until it runs."""
    arguments = ["--profile", "default", "--taps", "opportunities.v1"]
    submit.wait_running(submit.submit("jobs/pipeline.py", arguments, savepoint, settings=settings), settings=settings)


def wait_for(what: str, seconds: float, check: Callable[[], object]) -> None:
    """Poll until `check()` is true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.5)


def ask(settings: Settings, path: str, **parameters: Any) -> Any:
    """Return what Prometheus answers."""
    url = f"{settings.prometheus.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    return probes.get_json(url, timeout=20)["data"]


def firing(settings: Settings) -> set[str]:
    """The alerts that fire, as `sigmaflow alerts` tells them."""
    return {alert["alert"] for alert in alerts.run(settings)["alerts"] if alert["state"] == "firing"}


def wait_firing(settings: Settings, *names: str, seconds: float) -> None:
    """Wait until each of these alerts has been seen firing."""
    left = set(names)
    deadline = time.monotonic() + seconds
    while left := left - firing(settings):
        assert time.monotonic() < deadline, f"{', '.join(sorted(left))} did not fire within {seconds} s"
        time.sleep(0.5)


def wait_resolved(settings: Settings, *names: str, seconds: float) -> None:
    """Wait until none of these alerts fires any more."""
    deadline = time.monotonic() + seconds
    while left := set(names) & firing(settings):
        assert time.monotonic() < deadline, f"{', '.join(sorted(left))} still fired after {seconds} s"
        time.sleep(0.5)
