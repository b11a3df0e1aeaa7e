"""Every panel's query on a running stack gives data, and alerts fire because their cause was brought about."""
from __future__ import annotations

import http.server
import json
import math
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from connectors import topics
from connectors.host_metrics import leave
from sigmaflow import commands, probes, submit, supervise
from sigmaflow.audit import command as audit
from sigmaflow.monitoring.queries import Query, queries
from sigmaflow.settings import Settings

QUERIES = list(queries())
EMPTY = {
    "trading / Orders refused by the ledger": "no limit is reached in a minute of market",
    "system / Failed attempts": "no server fails",
    **{f"market / {panel}": "no live venue runs" for panel in ("Venue messages", "Venue latency", "Venue incidents",
                                                               "Venue clock ahead")},
}
"""Panels without data until something happens, and why."""
SPAN = timedelta(minutes=5)
EVENT_SPAN = timedelta(days=1)


def wait_for(what: str, seconds: float, check: Callable[[], bool]) -> None:
    """Poll until `check()` is true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(1.0)


def ask(settings: Settings, path: str, **parameters: Any) -> Any:
    """Return what Prometheus answers."""
    url = f"{settings.prometheus.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    return probes.get_json(url, timeout=20)["data"]


def values(settings: Settings, expression: str) -> list[float]:
    """Return the finite values of an expression over the last minutes."""
    end = time.time()
    found = ask(settings, "query_range", query=expression, start=end - SPAN.total_seconds(), end=end, step=5)
    return [number for series in found["result"] for _, text in series["values"]
            if math.isfinite(number := float(text))]


def firing(settings: Settings, alert: str) -> bool:
    """Whether an alert fires."""
    return any(a["labels"]["alertname"] == alert and a["state"] == "firing" for a in ask(settings, "alerts")["alerts"])


@pytest.fixture(scope="module")
def market(stack: Settings) -> Iterator[Settings]:
    """Bring the chain, a market, the results process, fills, a dead letter and an audit about."""
    topics.setup(stack, quiet=True)
    job = submit.submit("jobs/pipeline.py", ["--profile", "default", "--taps", "opportunities.v1"], settings=stack)
    submit.wait_running(job, settings=stack)
    try:
        for program in ("results", "simulate"):
            supervise.start_program(stack, program)
        wait_for("a fill in the metrics", 240, lambda: "sigmaflow_fills_total{" in probes.own_metrics(stack))
        producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
        producer.produce("market.ticks.v1", b"nonsense", b"SIM:NONE")
        producer.flush()
        wait_for("its dead letter", 30, lambda: "sigmaflow_rejected_ticks_total{" in probes.own_metrics(stack))
        audit.run(settings=stack)
        time.sleep(90)  # rates look back a minute, recording rules are evaluated twice in one
        yield stack
    finally:
        for program in ("simulate", "results"):
            supervise.stop_program(stack, program)
        if job in [found.id for found in submit.jobs(stack)]:
            submit.cancel(job, stack)


@pytest.fixture
def watched(market: Settings) -> Settings:
    """Skip where there is no Prometheus."""
    if market.prometheus.executable is None:
        pytest.skip("Prometheus is not installed on this machine")
    return market


@pytest.mark.parametrize("query", [q for q in QUERIES if q.source == "questdb"], ids=lambda q: q.place)
def test_panel_of_questdb_has_data(market: Settings, query: Query) -> None:
    now = datetime.now(UTC)
    with psycopg.connect(market.questdb.pg_dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as database:
        found = database.execute(query.filled(now - EVENT_SPAN, now + EVENT_SPAN)).fetchall()  # type: ignore[arg-type]
    assert found, query.text


@pytest.mark.parametrize("query", [q for q in QUERIES if q.source == "prometheus"],
                         ids=lambda q: f"{q.place}: {q.text[:40]}")
def test_panel_of_prometheus_has_data(watched: Settings, query: Query) -> None:
    now = datetime.now(UTC)
    found = values(watched, query.filled(now - SPAN, now))
    assert found or query.place in EMPTY, query.text


def span_names(bodies: list[Any]) -> list[set[str]]:
    """The names of each trace's spans: a tick without an opportunity has no decision."""
    traces: dict[str, set[str]] = {}
    for span in (span for body in bodies for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]):
        traces.setdefault(span["traceId"], set()).add(span["name"])
    return list(traces.values())


def test_traces_of_a_running_market_reach_a_collector(market: Settings) -> None:
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
        command = [str(market.python), "-m", "sigmaflow", "traces", "--ratio", "0.02", "--lines",
                   "--otlp", f"http://127.0.0.1:{server.server_address[1]}"]
        with subprocess.Popen(command, cwd=market.root, stdout=subprocess.PIPE, text=True) as process:
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


def test_prometheus_has_read_the_rules(watched: Settings) -> None:
    groups = ask(watched, "rules")["groups"]
    assert {group["name"] for group in groups} >= {"alerts", "chain", "levels-alerts"}
    assert not [rule for group in groups for rule in group["rules"] if rule["health"] == "err"]


def test_targets_answer(watched: Settings) -> None:
    targets = ask(watched, "targets")["activeTargets"]
    assert {target["labels"]["job"] for target in targets} == {"flink", "sigmaflow", "registry", "venues"}
    assert [t["lastError"] for t in targets if t["health"] != "up" and t["labels"]["job"] != "venues"] == []


def test_kill_switch_fires_and_ends(watched: Settings) -> None:
    assert not firing(watched, "KillSwitch")
    list(commands.give(watched, "halt", "a test"))
    wait_for("KillSwitch", 60, lambda: firing(watched, "KillSwitch"))
    list(commands.give(watched, "resume", "a test"))
    wait_for("its end", 60, lambda: not firing(watched, "KillSwitch"))


def test_audit_mismatch_fires_and_ends(watched: Settings) -> None:
    """What an auditor leaves that has found something; `tests/unit/sigmaflow/test_audit.py` makes it find things."""
    for found in (3.0, 0.0):
        leave(watched.data_dir, "audit", {"sigmaflow_audit_found_records": ("Records found wrong.", found)})
        wait_for("AuditMismatch", 60, lambda found=found: firing(watched, "AuditMismatch") == (found > 0))


def test_feed_and_source_alerts_fire_when_the_market_stops(watched: Settings) -> None:
    supervise.stop_program(watched, "simulate")
    wait_for("FeedStale", 120, lambda: firing(watched, "FeedStale"))
    wait_for("SourceIdle", 120, lambda: firing(watched, "SourceIdle"))
    supervise.start_program(watched, "simulate")
    wait_for("their end", 120, lambda: not firing(watched, "FeedStale") and not firing(watched, "SourceIdle"))


def test_a_dead_results_process_is_noticed(watched: Settings) -> None:
    supervise.stop_program(watched, "results")
    wait_for("TargetDown", 150, lambda: firing(watched, "TargetDown"))
    supervise.start_program(watched, "results")
    wait_for("its end", 60, lambda: not firing(watched, "TargetDown"))


def test_a_chain_that_does_not_run_is_noticed(watched: Settings) -> None:
    """The last test of this file: it cancels the chain."""
    for job in submit.jobs(watched):
        submit.cancel(job.id, watched)
    wait_for("JobNotRunning", 180, lambda: firing(watched, "JobNotRunning"))
    print(json.dumps({"alerts": sorted({a["labels"]["alertname"] for a in ask(watched, "alerts")["alerts"]})}))
