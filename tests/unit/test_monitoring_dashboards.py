"""Dashboards: the checked-in files are those of the code, and every query names what exists."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from connectors import questdb
from connectors.host_metrics import HostExporter
from connectors.market_watch import Market, MarketExporter
from connectors.metrics import Exporter, Totals
from connectors.slow.health import SlowExporter
from connectors.venues.health import Health, VenueExporter
from jobs.chain.meters import Meters, Seen
from sigmaflow.monitoring.queries import FOLDER, Query, queries
from sigmaflow.settings import ROOT

QUERIES = list(queries())
PROMTOOL = shutil.which("promtool")
NOW = datetime(2026, 1, 31, 12)
AUDIT = {"sigmaflow_audit_found_records"}
"""Left by a command (sigmaflow/audit/command.py)."""
SQL_WORDS = {"select", "as", "from", "where", "and", "between", "sample", "by", "order", "desc", "limit", "case",
             "when", "then", "else", "end", "last", "max", "sum", "count", "time"}


def test_files_are_those_of_the_code() -> None:
    pytest.importorskip("grafana_foundation_sdk")
    from sigmaflow.monitoring.__main__ import files

    for file, content in files().items():
        assert file.read_text() == content, f"{file.name}: run `python -m sigmaflow.monitoring`"
    assert {file.name for file in files()} >= {file.name for file in FOLDER.glob("*.json")}


def exported(folder: Path) -> set[str]:
    """Return every metric name of our processes."""
    names = set()
    for exporter in (Exporter(Totals()), MarketExporter(Market()), HostExporter(folder),
                     VenueExporter(Health("X")), SlowExporter()):
        for family in exporter.collect():
            suffixes = {CounterMetricFamily: ["_total"], HistogramMetricFamily: ["_bucket", "_sum", "_count"]}
            names |= {family.name + suffix for suffix in suffixes.get(type(family), [""])}
    return names


def of_operators() -> set[str]:
    """Return every metric name of our operators, as Flink's reporter makes it."""
    made = set()

    class Counter:
        def inc(self, n: int) -> None:
            """Count nothing."""

    def make(name: str, le: str) -> Counter:
        made.add(f"flink_taskmanager_job_task_operator_{'le_' if le else ''}{name}")
        return Counter()

    meters = Meters(make)
    meters.observe("tick_age", np.array([0.1]))
    meters.call(0.001, Seen(1))
    return made


def recorded() -> set[str]:
    """Return the names that recording rules give."""
    text = "".join(file.read_text() for file in (ROOT / "docker" / "prometheus" / "rules").glob("*.yml"))
    return set(re.findall(r"record: (\S+)", text))


@pytest.mark.parametrize("query", [q for q in QUERIES if q.source == "prometheus"], ids=lambda q: q.place)
def test_our_metrics_exist(query: Query, tmp_path: Path) -> None:
    named = set(re.findall(r"sigmaflow[:_][a-z0-9_:]+", query.text))
    ours = named | set(re.findall(r"flink_taskmanager_job_task_operator_(?:le_\w+|ticks|gaps|process_\w+)", query.text))
    assert ours <= exported(tmp_path) | of_operators() | recorded() | AUDIT, ours


@pytest.mark.parametrize("query", [q for q in QUERIES if q.source == "questdb"], ids=lambda q: q.place)
def test_columns_exist(query: Query) -> None:
    text = re.sub(r"'[^']*'|\$\w+(\(ts\))?", " ", query.text)
    (name,) = re.findall(r"FROM (\w+)", text)
    table = next(t for t in questdb.TABLES if t.name == name)
    aliases = set(re.findall(r"AS (\w+)", text))
    words = {word for word in re.findall(r"[A-Za-z_]\w*", text) if word.lower() not in SQL_WORDS}
    assert words - aliases - {name, "ts"} <= set(table.columns)


def panels(name: str) -> list[dict[str, Any]]:
    """Return the panels of a dashboard."""
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())["panels"]
    return found


@pytest.mark.parametrize("name", ["trading", "market", "system"])
def test_panels_are_explained_and_do_not_overlap(name: str) -> None:
    shown = [panel for panel in panels(name) if panel["type"] != "row"]
    assert all(panel["description"] and panel["targets"] for panel in shown)
    taken = [(x, y) for p in panels(name) for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
             for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])]
    assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < 24


def test_jobs_are_in_topology_order() -> None:
    board = json.loads((FOLDER / "system.json").read_text())
    job = next(v for v in board["templating"]["list"] if v["name"] == "job")
    assert job["query"] == "pipeline,features,alphas,ensemble,risk,sizing,fills"
    assert [panel["title"] for panel in board["panels"] if panel.get("repeat") == "job"] == ["Job $job"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, part of Prometheus, is not on PATH")
def test_every_query_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"query:{n}", "expr": q.filled(NOW, NOW)} for n, q in enumerate(QUERIES)
             if q.source == "prometheus"]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    ran = subprocess.run([str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_variable_is_left_when_a_query_is_sent() -> None:
    assert not [query for query in QUERIES if "$" in query.filled(NOW, NOW)]
