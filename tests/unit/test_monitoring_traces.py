"""Traces and lines of decisions that the chain's own workers made, sent to a real HTTP server."""
from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import schemas
from connectors.market.simulator import Config, generate
from connectors.ticks import TickEncoder
from jobs.chain.inprocess import Chain, contracts
from jobs.chain.messages import DECISIONS, FILLS
from jobs.chain.plans import TAPS
from jobs.chain.shard import TICKS
from sigmaflow.monitoring.follow import MAX_WAITING, Collector, Follower, Message
from sigmaflow.monitoring.spans import PATIENCE_MS, STAGES, Path, Record
from udfs import profiles

START_MS = 1_700_000_000_000
LATER_MS = START_MS + 10_000_000


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    """Return all messages of a simulated market, each stage 2 ms after the one before."""
    ticks = [next(iter(generate(Config(symbols=2, count=4_000, seed=3))))]
    values = [value for chunk in ticks for value in TickEncoder(contracts().id(TICKS)).encode(chunk)[1]]
    chain = Chain(profiles.DEFAULT, 1, taps=TAPS)
    written = chain.run(["pipeline"], [values])
    order = [TICKS, *STAGES]
    made = []
    for topic in order:
        for partition, part in enumerate(written[topic]):
            for offset, value in enumerate(part):
                made.append(Message(topic, partition, offset, START_MS + 2 * order.index(topic), value))
    return made


class Server:
    """An OTLP collector that keeps what it gets."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> list[dict[str, Any]]:
        """Return every span that came."""
        return [span for body in self.bodies for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A collector at a free port."""
    made = Server()
    yield made
    made.close()


def test_every_path_is_one_trace_over_all_stages(server: Server, messages: list[Message]) -> None:
    follower = Follower(contracts(), Collector(server.url), 1.0)
    follower.take(messages)
    follower.flush(LATER_MS)
    spans = server.spans()
    decisions = [m for m in messages if m.topic == DECISIONS]
    roots = [span for span in spans if not span["parentSpanId"]]
    assert len(roots) == len({span["traceId"] for span in spans}) == len(decisions)
    filled = [span for span in spans if span["name"] == "fill"]
    assert len(filled) == len([m for m in messages if m.topic == FILLS]) > 0
    trace = [span for span in spans if span["traceId"] == filled[0]["traceId"]]
    assert [span["name"] for span in trace[1:]] == ["features", "alphas", "ensemble", "risk", "sizing", "decision",
                                                     "fill"]
    assert all(span["parentSpanId"] == trace[0]["spanId"] for span in trace[1:])
    assert len({span["spanId"] for span in spans}) == len(spans)


def test_spans_are_the_time_between_messages(server: Server, messages: list[Message]) -> None:
    follower = Follower(contracts(), Collector(server.url), 0.05)
    follower.take(messages)
    follower.flush(LATER_MS)
    for span in server.spans():
        took = int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])
        assert took == (2_000_000 if span["parentSpanId"] and span["name"] not in ("decision", "fill") else took) >= 0
        assert len(span["traceId"]) == 32 and len(span["spanId"]) == 16


def test_a_sample_is_the_same_whatever_the_batches(server: Server, messages: list[Message]) -> None:
    traces = []
    for size in (len(messages), 997):
        follower = Follower(contracts(), Collector(server.url), 0.02)
        for at in range(0, len(messages), size):
            follower.take(messages[at:at + size])
        follower.flush(LATER_MS)
        traces.append({span["spanId"] for span in server.spans()})
        server.bodies.clear()
    assert traces[0] == traces[1]
    assert 0 < len({m.offset for m in messages if m.topic == DECISIONS}) * 0.005 < len(traces[0])


def test_an_order_waits_for_its_fill(server: Server, messages: list[Message]) -> None:
    follower = Follower(contracts(), Collector(server.url), 1.0)
    follower.take([m for m in messages if m.topic != FILLS])
    follower.flush(START_MS + PATIENCE_MS)
    assert "fill" not in {span["name"] for span in server.spans()}
    follower.take([m for m in messages if m.topic == FILLS])
    follower.flush(LATER_MS)
    assert "fill" in {span["name"] for span in server.spans()}


def test_every_decision_is_one_line_with_its_lineage(messages: list[Message]) -> None:
    lines: list[str] = []
    follower = Follower(contracts(), None, 0.0, lines.append)
    follower.take(messages)
    made = [json.loads(line) for line in lines]
    assert len(made) == len([m for m in messages if m.topic == DECISIONS])
    assert all(line["tick_id"] and line["tick"].startswith("market.ticks.v1:0:") for line in made)
    verdicts = {line["verdict"] for line in made}
    assert "sent" in verdicts and verdicts <= {"sent", *schemas_gates()}
    assert all(bool(line["refused_by"]) == (line["verdict"] != "sent") for line in made)


def schemas_gates() -> list[str]:
    """Return the names of all gates."""
    from connectors.results import gate_names

    assert schemas.topics()[DECISIONS].schema == "decision"
    return gate_names()


def test_a_collector_that_is_away_costs_old_traces_and_no_more(server: Server) -> None:
    away, row = Collector("http://127.0.0.1:1"), {"venue": "SIM", "symbol": "A", "partition": 0, "offset": 1}
    paths = [Path(n, START_MS, [Record(DECISIONS, 0, n, START_MS, row)]) for n in range(MAX_WAITING + 5)]
    assert away.send(paths) is False and away.lost == 5
    away._url = f"{server.url}/v1/traces"
    assert away.send([]) is True and away.sent == MAX_WAITING
    assert len(server.spans()) == 2 * MAX_WAITING
