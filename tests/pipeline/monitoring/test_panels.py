"""Every panel's query on a running stack gives data, and traces reach a collector."""
from __future__ import annotations

import http.server
import json
import math
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from sigmaflow.monitoring.queries import Query, queries
from sigmaflow.settings import Settings
from tests.pipeline.monitoring.live import Market, ask, wait_for

QUERIES = list(queries())
EMPTY = {
    "trading / Orders refused by the ledger": "no limit is reached in a minute of market",
    "system / Failed attempts": "no server fails",
    **{f"market / {panel}": "no live venue runs" for panel in ("Venue messages", "Venue latency", "Venue incidents",
                                                               "Venue clock ahead")},
    **{f"market / {panel}": "no slow data is polled" for panel in ("Age of the last answer", "Slow records",
                                                                   "Slow incidents")},
}
"""Panels without data until something happens, and why."""
SPAN = timedelta(minutes=2)
EVENT_SPAN = timedelta(days=1)
RATE = "20s"
"""Interval of rates: with a scrape each second, as many samples as Grafana has in its minute."""
AT_ONCE = 4
PATIENCE_S = 60.0
Place = tuple[str, str]


def values(settings: Settings, query: Query) -> list[float]:
    """Return the finite values of a query over the last minutes."""
    end = datetime.now(UTC)
    found = ask(settings, "query_range", query=query.filled(end - SPAN, end, rate=RATE),
                start=(end - SPAN).timestamp(), end=end.timestamp(), step=2)
    return [number for series in found["result"] for _, text in series["values"]
            if math.isfinite(number := float(text))]


@pytest.fixture(scope="module")
def answers(watched: Market) -> dict[Query, list[float]]:
    """What Prometheus answers to each panel, all asked together, and again while one that must have data has none."""
    asked = [query for query in QUERIES if query.source == "prometheus"]
    found: dict[Query, list[float]] = {}
    deadline = time.monotonic() + PATIENCE_S
    with ThreadPoolExecutor(AT_ONCE) as threads:
        while missing := [query for query in asked if not found.get(query)]:
            found.update(zip(missing, threads.map(lambda query: values(watched.settings, query), missing), strict=True))
            if all(query.place in EMPTY for query in missing if not found[query]) or time.monotonic() > deadline:
                break
            time.sleep(1.0)
    return found


@pytest.mark.parametrize("query", [q for q in QUERIES if q.source == "questdb"], ids=lambda q: q.place)
def test_panel_of_questdb_has_data(market: Market, query: Query) -> None:
    now = datetime.now(UTC)
    with psycopg.connect(market.settings.questdb.pg_dsn, autocommit=True,
                         cursor_factory=psycopg.ClientCursor) as database:
        found = database.execute(query.filled(now - EVENT_SPAN, now + EVENT_SPAN)).fetchall()  # type: ignore[arg-type]
    assert found, query.text


@pytest.mark.parametrize("query", [q for q in QUERIES if q.source == "prometheus"],
                         ids=lambda q: f"{q.place}: {q.text[:40]}")
def test_panel_of_prometheus_has_data(watched: Market, answers: dict[Query, list[float]], query: Query) -> None:
    assert answers[query] or query.place in EMPTY, query.text


def span_names(bodies: list[Any]) -> list[set[str]]:
    """The names of each trace's spans: a tick without an opportunity has no decision."""
    traces: dict[str, set[str]] = {}
    for span in (span for body in bodies for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]):
        traces.setdefault(span["traceId"], set()).add(span["name"])
    return list(traces.values())


def test_traces_of_a_running_market_reach_a_collector(market: Market) -> None:
    bodies: list[Any] = []
    path = {"ensemble", "decision"}

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [str(market.settings.python), "-m", "sigmaflow", "traces", "--ratio", "0.1", "--lines",
                   "--otlp", f"http://127.0.0.1:{server.server_address[1]}"]
        with subprocess.Popen(command, cwd=market.settings.root, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())
            threading.Thread(target=process.stdout.read, daemon=True).start()
            try:
                wait_for("a trace from opportunity to decision", 90,
                         lambda: any(path <= names for names in span_names(bodies)))
            finally:
                process.terminate()
        server.shutdown()
    assert first["event"] == "decision" and first["tick"].startswith("market.ticks.v1:")


def test_prometheus_has_read_the_rules(watched: Market) -> None:
    groups = ask(watched.settings, "rules")["groups"]
    assert {group["name"] for group in groups} >= {"alerts", "chain", "levels-alerts"}
    assert not [rule for group in groups for rule in group["rules"] if rule["health"] == "err"]


OPTIONAL = ("venues", "slow")
"""Jobs of commands that a user starts."""


def test_targets_answer(watched: Market) -> None:
    targets = ask(watched.settings, "targets")["activeTargets"]
    assert {target["labels"]["job"] for target in targets} == {"flink", "sigmaflow", "registry", *OPTIONAL}
    assert [t["lastError"] for t in targets if t["health"] != "up" and t["labels"]["job"] not in OPTIONAL] == []
