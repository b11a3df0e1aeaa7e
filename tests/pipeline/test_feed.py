"""A live feed as a process on a real broker: stopped in the middle, started again, and not a number is missing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
import pytest
from websockets.sync.server import ServerConnection, serve

from connectors.consume import read_all
from connectors.market.columns import GAP
from sigmaflow import trials
from sigmaflow.settings import Settings
from tests import commands
from tests.waiting import PATIENCE_S, wait_for

WAITING = 2_000
"""Ticks that may wait for the broker in the second test: a hundredth of what production's queue holds."""
SHORT = f"from connectors import ticks; ticks.PRODUCER['queue.buffering.max.messages'] = {WAITING}; "
RUN = "import sys; from connectors.venues import command; command.run('bybit', 'XY', 0, sys.argv[1], topic=sys.argv[2])"


def orderbook(number: int, kind: str) -> str:
    return orjson.dumps({"topic": "orderbook.50.XY", "type": kind, "ts": time.time_ns() // 1_000_000, "data": {
        "s": "XY", "b": [["10", str(number)]], "a": [["12", "2"]], "u": number, "seq": 1}}).decode()


class Endless:
    """A book that changes again and again, as fast as it is read; `sent` counts."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self._pause_s, self.sent = pause_s, 0

    def __call__(self, socket: ServerConnection) -> None:
        try:
            for number in range(1, 10_000_000):
                socket.send(orderbook(number, "delta" if number > 1 else "snapshot"))
                self.sent = number
                if self._pause_s:
                    time.sleep(self._pause_s)
        except Exception:
            return                                         # the client has left


@contextmanager
def venue(script: Callable[[ServerConnection], None]) -> Iterator[str]:
    """The address of a venue."""
    with serve(script, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


@pytest.fixture
def topic(stack: Settings) -> str:
    """An empty topic for ticks."""
    return commands.topic(stack, "market.ticks.v1")


def fed(topic: str, address: str, number: int) -> str:
    """Run a feed for three seconds, end it by a signal, and give what it said."""
    with commands.started(RUN, address, topic) as feed:
        assert feed.stdout is not None
        first = feed.stdout.readline()
        time.sleep(3.0)
        feed.send_signal(number)
        return first + feed.communicate(timeout=PATIENCE_S)[0]


def test_a_feed_that_is_stopped_or_killed_goes_on_with_the_next_number(stack: Settings, topic: str) -> None:
    with venue(Endless(0.0005)) as address:
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


def stands(script: Endless) -> bool:
    """Whether the venue could not send anything for a second."""
    before = script.sent
    time.sleep(1.0)
    return script.sent == before


def test_a_broker_that_hangs_stops_the_reading_and_nothing_is_dropped(stack: Settings, topic: str) -> None:
    script, kafka = Endless(), trials.pid(stack, "kafka")
    with venue(script) as address, commands.started(SHORT + RUN, address, topic) as feed:
        wait_for("a stream of frames", lambda: script.sent > 5_000)
        os.kill(kafka, signal.SIGSTOP)
        try:
            wait_for("a full queue, full sockets and a venue that waits", lambda: stands(script))
            held = script.sent
        finally:
            os.kill(kafka, signal.SIGCONT)
        wait_for("all that sockets and queue held, gone through,", lambda: script.sent > 2 * held + 5_000)
        feed.send_signal(signal.SIGTERM)
        said = feed.communicate(timeout=PATIENCE_S)[0]
    rows = [record.value for record in read_all(topic, stack)]
    assert [row["bid_size"] for row in rows] == list(range(1, len(rows) + 1))
    assert held < len(rows) <= script.sent
    assert not any(row["flags"] & GAP for row in rows)
    assert f"{len(rows):,} ticks, 0 gaps, 0 resyncs, 0 reconnects; all of them confirmed" in said
