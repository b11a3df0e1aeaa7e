"""A live feed as a process on a real broker: stopped in the middle, started again, and not a number is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import orjson
import pytest
from websockets.sync.server import ServerConnection, serve

import schemas
from connectors import topics
from connectors.consume import read_all
from connectors.market.columns import GAP
from sigmaflow.settings import ROOT, Settings

RUN = "import sys; from connectors.venues import command; command.run('bybit', 'XY', 0, sys.argv[1], topic=sys.argv[2])"


def orderbook(number: int, kind: str) -> str:
    return orjson.dumps({"topic": "orderbook.50.XY", "type": kind, "ts": time.time_ns() // 1_000_000, "data": {
        "s": "XY", "b": [["10", str(number)]], "a": [["12", "2"]], "u": number, "seq": 1}}).decode()


def endless(socket: ServerConnection) -> None:
    """A book that changes two thousand times a second."""
    try:
        socket.send(orderbook(1, "snapshot"))
        for number in range(2, 1_000_000):
            socket.send(orderbook(number, "delta"))
            time.sleep(0.0005)
    except Exception:
        return                                             # the client has left


@contextmanager
def venue() -> Iterator[str]:
    """The address of a venue."""
    with serve(endless, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


@pytest.fixture
def topic(stack: Settings) -> str:
    """An empty topic for ticks."""
    topics.setup(stack, quiet=True)
    row = replace(schemas.topics()["market.ticks.v1"], name=f"test.{uuid.uuid4().hex}")
    topics.setup(stack, [row], quiet=True)
    return row.name


def fed(topic: str, address: str, number: int) -> str:
    """Run a feed for three seconds, end it by a signal, and give what it said."""
    feed = subprocess.Popen([sys.executable, "-c", RUN, address, topic], env=os.environ | {"PYTHONPATH": str(ROOT)},
                            stdout=subprocess.PIPE, text=True)
    try:
        assert feed.stdout is not None
        first = feed.stdout.readline()
        time.sleep(3.0)
        feed.send_signal(number)
        rest = feed.communicate(timeout=30)[0]
    finally:
        feed.kill()
    return first + rest


def test_a_feed_that_is_stopped_or_killed_goes_on_with_the_next_number(stack: Settings, topic: str) -> None:
    with venue() as address:
        said = fed(topic, address, signal.SIGTERM)
        after_stop = len(list(read_all(topic, stack)))
        assert f"{after_stop:,} ticks" in said and "all of them confirmed" in said
        fed(topic, address, signal.SIGKILL)
        after_kill = len(list(read_all(topic, stack)))
        fed(topic, address, signal.SIGTERM)
    rows = [record.value for record in read_all(topic, stack)]
    assert 0 < after_stop < after_kill < len(rows)
    first = rows[0]["seq"]
    assert [row["seq"] for row in rows] == list(range(first, first + len(rows)))
    assert [i for i, row in enumerate(rows) if row["flags"] & GAP] == [after_stop, after_kill]
