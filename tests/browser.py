"""Chromium, headless, over its DevTools protocol: for tests of pages. No driver, no package but websockets."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
START_S = 60.0
ANSWER_S = 60.0
FLAGS = ("--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
         "--remote-allow-origins=*", "about:blank")


class Tab:
    """One page: where it goes, what it shows, what it complained of."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self.complaints: list[str] = []
        """Console errors and warnings, exceptions, and loads that failed."""
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and give its result; what happened meanwhile is noted."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=ANSWER_S))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, said = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"console {said['type']}: {[a.get('value') for a in said['args']]}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"].get("exception", said["exceptionDetails"])))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {said['entry']['text']} {said['entry'].get('url', '')}")

    def screen(self, width: int, height: int, dark: bool = False, still: bool = False) -> None:
        """Be a screen of this size, light or dark; below 600 pixels a phone's. `still`: reduced motion is wanted."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=width < 600,
                  deviceScaleFactor=2 if width < 600 else 1)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"}])

    def go(self, url: str) -> None:
        """Load a page. The one before ends first: what it complained of, and its requests, are not this one's."""
        self.call("Page.navigate", url="about:blank")
        self.until("the end of the page before", "location.href === 'about:blank'")
        self.complaints.clear()
        self.call("Page.navigate", url=url)

    def ask(self, expression: str) -> Any:
        """Value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What an element reads, as a person sees it; empty where there is none."""
        return str(self.ask(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def until(self, what: str, expression: str, seconds: float = 20.0) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.ask(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"{what} did not happen; the page reads: {self.text('body')[:3000]}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press and let go of a key."""
        extra = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, **extra,
                      windowsVirtualKeyCode={"Tab": 9, "Enter": 13, "ArrowLeft": 37, "Home": 36, "Escape": 27}[key])

    def shoot(self, file: Path) -> Path:
        """Write a picture of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True,
                         clip={"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1})["data"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(data))
        return file


@contextmanager
def chromium() -> Iterator[Callable[[], Tab]]:
    """A browser; each call of what it gives opens a tab. Skips the test where there is none on PATH."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on PATH")
    with tempfile.TemporaryDirectory(prefix="sigmaflow-chromium-", ignore_cleanup_errors=True) as home:
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()
        process = subprocess.Popen([found, *root, f"--user-data-dir={home}", *FLAGS], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        sockets: list[ClientConnection] = []

        def tab() -> Tab:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
            with urllib.request.urlopen(request, timeout=START_S) as answer:
                address = json.load(answer)["webSocketDebuggerUrl"]
            sockets.append(connect(address, max_size=None, compression=None, ping_interval=None, close_timeout=1))
            return Tab(sockets[-1])

        try:
            port = _port(Path(home) / "DevToolsActivePort", process)
            yield tab
        finally:
            process.kill()  # its profile goes with it: there is nothing to end in order
            process.wait()
            for socket in sockets:
                socket.close()


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + START_S
    while not file.exists() or "\n" not in file.read_text():
        assert process.poll() is None and time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
    return int(file.read_text().splitlines()[0])
