"""Slow data on a real broker: a topic is its process's memory, and a chain's edge sees what is made of it."""

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import schemas
from connectors import topics
from connectors.consume import read_all
from connectors.slow.log import TopicLog
from jobs.chain.chained import Chained
from jobs.chain.commands import group
from jobs.chain.contracts import lookup
from jobs.chain.edges import BrokerEdges, SmallLog
from jobs.chain.messages import COMMANDS, FRONTIERS, INDICATORS, RULINGS, RecordReader, RecordWriter
from jobs.chain.slow import SlowValues
from sigmaflow.settings import ROOT, Settings

RUN = """
import sys
from connectors.slow import command
from connectors.slow.log import TopicLog
command.TopicLog = lambda settings, topic: TopicLog(settings, topic, sys.argv[2])
command.poll("rss", [sys.argv[1]], 0.05)
"""


@contextmanager
def growing() -> Iterator[str]:
    """The address of a feed that has an entry more at each look, and shows the last thirty."""
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Feed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/feed"
    server.shutdown()


def topic(stack: Settings, contract: str) -> str:
    """An empty topic with a contract."""
    topics.setup(stack, quiet=True)
    row = replace(schemas.topics()[contract], name=f"test.{uuid.uuid4().hex}")
    topics.setup(stack, [row], quiet=True)
    return row.name


def polled(address: str, name: str, number: int) -> None:
    """Poll for a while and end the process by a signal."""
    process = subprocess.Popen([sys.executable, "-c", RUN, address, name], env=os.environ | {"PYTHONPATH": str(ROOT)},
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline()
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        process.kill()


def test_a_poller_that_is_killed_and_started_again_loses_and_doubles_nothing(stack: Settings) -> None:
    name = topic(stack, "news.v1")
    with growing() as address:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGTERM):
            polled(address, name, number)
    found = [record.value["guid"] for record in read_all(name, stack)]
    assert len(found) > 8 and found == [f"g{i}" for i in range(1, len(found) + 1)]


def test_an_indicator_becomes_a_ruling_that_the_next_start_reads(stack: Settings) -> None:
    names = {name: topic(stack, name) for name in ("market.ticks.v1", FRONTIERS, RULINGS, COMMANDS, INDICATORS)}
    known = lookup(stack.registry.url, [FRONTIERS, RULINGS, COMMANDS, INDICATORS])

    def small(name: str) -> SmallLog:
        return SmallLog(stack.kafka.bootstrap, names[name], (), "paper",
                        Chained(RecordWriter(name, known.id(name)), group), RecordReader(known.writers(name)))

    def edges() -> BrokerEdges:
        return BrokerEdges(stack.kafka.bootstrap, names["market.ticks.v1"], small(FRONTIERS), small(RULINGS),
                           names[COMMANDS], RecordReader(known.writers(COMMANDS)), names[INDICATORS],
                           RecordReader(known.writers(INDICATORS)))

    made = {"name": "macro", "symbol": "", "value": 0.25, "ts_known": 5, "ts_until": 9, "evidence": 1, "detail": "x"}
    TopicLog(stack, INDICATORS, names[INDICATORS], ("name", "symbol")).write([made])
    held, deadline = edges(), time.monotonic() + 20
    values = SlowValues(held, 1, ("macro",))
    while not held.rulings() and time.monotonic() < deadline:
        values.learn()
        time.sleep(0.02)
    (ruled,) = edges().rulings()
    assert (ruled.kind, ruled.partition, ruled.first, ruled.value, ruled.known, ruled.until) == (
        "indicator", 1, 0, 0.25, 5, 9)
