"""Every panel's query on a running stack gives data, and traces reach a collector."""
from __future__ import annotations

import json
import math
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from sigmaflow import commands, probes
from sigmaflow.monitoring.queries import Query, queries
from sigmaflow.settings import Settings
from tests.pipeline.monitoring.live import Market, ask, frozen, refused_tick, told
from tests.venue_server import busy_bybit
from tests.waiting import PATIENCE_S, wait_for

QUERIES = list(queries())
EMPTY = {f"market / {panel}": "no slow data is polled"
         for panel in ("Age of the last answer", "Slow records", "Slow incidents")}
"""Panels without data until something happens, and why."""
RARE = ('sigmaflow_results_errors_total{where="redis"}', 'sigmaflow_decisions_total{account="paper",verdict="halt"}',
        'sigmaflow_rejected_ticks_total{reason="')
"""What a quiet market has none of, or a results process that was started anew."""
SPAN = timedelta(minutes=2)
EVENT_SPAN = timedelta(days=1)
RATE = "20s"
"""Interval of rates: with a scrape each second, as many samples as Grafana has in its minute."""
AT_ONCE = 4
Place = tuple[str, str]


def values(settings: Settings, query: Query) -> list[float]:
    """Return the finite values of a query over the last minutes."""
    end = datetime.now(UTC)
    found = ask(settings, "query_range", query=query.filled(end - SPAN, end, rate=RATE),
                start=(end - SPAN).timestamp(), end=end.timestamp(), step=2)
    return [number for series in found["result"] for _, text in series["values"]
            if math.isfinite(number := float(text))]


@pytest.fixture(scope="module")
def eventful(watched: Market) -> Iterator[Market]:
    """A market beside a live venue, in which orders and a tick were refused and Redis did not answer."""
    s = watched.settings
    with busy_bybit(pause_s=0.02) as address:
        feed = [str(s.python), "-m", "sigmaflow", "feed", "bybit", "--symbols", "XY", "--address", address]
        with subprocess.Popen(feed, cwd=s.root, stdout=subprocess.DEVNULL) as process:
            try:
                refused_tick(s)
                list(commands.give(s, "halt", "a test"))
                with frozen(s, "redis"):
                    wait_for(RARE, lambda: all(name in probes.own_metrics(s) for name in RARE))
                list(commands.give(s, "resume", "a test"))
                yield watched
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def answers(eventful: Market) -> dict[Query, list[float]]:
    """What Prometheus answers to each panel, all asked together, and again while one that must have data has none."""
    asked = [query for query in QUERIES if query.source == "prometheus"]
    found: dict[Query, list[float]] = {}
    deadline = time.monotonic() + PATIENCE_S
    with ThreadPoolExecutor(AT_ONCE) as threads:
        while missing := [query for query in asked if not found.get(query)]:
            found.update(zip(missing, threads.map(lambda query: values(eventful.settings, query), missing),
                             strict=True))
            if all(query.place in EMPTY for query in missing if not found[query]) or time.monotonic() > deadline:
                break
            time.sleep(1.0)
    return found


@pytest.mark.parametrize("query", [q for q in QUERIES if q.source == "questdb"], ids=lambda q: q.place)
def test_panel_of_questdb_has_data(market: Market, query: Query) -> None:
    now = datetime.now(UTC)
    with psycopg.connect(market.settings.questdb.pg_dsn, autocommit=True,
                         cursor_factory=psycopg.ClientCursor) as database:
        text = query.filled(now - EVENT_SPAN, now + EVENT_SPAN)
        wait_for(query.text, lambda: database.execute(text).fetchall())  # type: ignore[arg-type]


@pytest.mark.parametrize("query", [q for q in QUERIES if q.source == "prometheus"],
                         ids=lambda q: f"{q.place}: {q.text[:40]}")
def test_panel_of_prometheus_has_data(answers: dict[Query, list[float]], query: Query) -> None:
    assert answers[query] or query.place in EMPTY, query.text


def span_names(bodies: list[Any]) -> list[set[str]]:
    """The names of each trace's spans: a tick without an opportunity has no decision."""
    traces: dict[str, set[str]] = {}
    for span in (span for body in bodies for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]):
        traces.setdefault(span["traceId"], set()).add(span["name"])
    return list(traces.values())


def test_traces_of_a_running_market_reach_a_collector(market: Market) -> None:
    path = {"ensemble", "decision"}
    with told() as (address, bodies):
        command = [str(market.settings.python), "-m", "sigmaflow", "traces", "--ratio", "0.1", "--lines",
                   "--otlp", address]
        with subprocess.Popen(command, cwd=market.settings.root, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())
            threading.Thread(target=process.stdout.read, daemon=True).start()
            try:
                wait_for("a trace from opportunity to decision",
                         lambda: any(path <= names for names in span_names(bodies)))
            finally:
                process.terminate()
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
