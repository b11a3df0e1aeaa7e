"""docs/metrics.md, derived from the exporters, Flink's names and the rules: `python -m sigmaflow.cli.docs` writes it,
a test fails where it is stale.
"""
from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from connectors.host_metrics import HostExporter
from connectors.market_watch import Market, MarketExporter
from connectors.metrics import Arrivals, Exporter, Totals
from connectors.slow.health import SlowExporter
from connectors.venues.health import VenueExporter
from sigmaflow.audit.command import GAUGES
from sigmaflow.monitoring.metrics import MEANINGS
from sigmaflow.settings import ROOT
from sigmaflow.settings_page import table

FILE = ROOT / "docs" / "metrics.md"
RULES = ROOT / "docker" / "prometheus" / "rules"
HEAD = """# Metrics

Written by `python -m sigmaflow.cli.docs` from the exporters, `sigmaflow/monitoring/metrics.py` and
`docker/prometheus/rules`; do not edit.

Names end in their unit: `_quote` quote currency, `_base` base units, `_ratio` fraction, `_seconds`, `_records`,
`_bytes`; a counter ends in `_total`, a histogram has `_bucket`, `_sum` and `_count`. As they stand:

```sh stack
sigmaflow metrics
sigmaflow metrics --json
```

Three dashboards of Grafana show them (`docker/grafana/dashboards`), Prometheus evaluates the rules below.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join([*families(), *operators(), *alerts()])


def exporters(folder: Path) -> dict[str, tuple[str, Collector]]:
    """Every exporter by its heading, with who serves it."""
    results = "Served by the results process, `metrics.port` (9400)."
    return {"The account": (results, Exporter(Totals())), "The market": (results, MarketExporter(Market(Arrivals()))),
            "The machine": (results, HostExporter(folder)),
            "A venue": ("Served by each `sigmaflow feed`, the ports after that.", VenueExporter()),
            "Slow data": ("Served by each `sigmaflow slow`, the ports after those.", SlowExporter())}


def families() -> Iterator[str]:
    """Metrics of our own processes."""
    with tempfile.TemporaryDirectory() as folder:
        for heading, (where, exporter) in exporters(Path(folder)).items():
            yield f"\n## {heading}\n\n{where}\n\n" + table(("metric", "kind", "labels", "meaning"),
                                                           map(row, exporter.collect()))
    yield "\n## The last audit\n\nLeft by `sigmaflow audit` for the results process to serve.\n\n" + table(
        ("metric", "meaning"), ([f"`{name}`", text] for name, text in GAUGES.items()))


def row(metric: Metric) -> list[str]:
    """One family."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    labels = ", ".join(f"`{label}`" for label in getattr(metric, "_labelnames", ()))
    return [f"`{name}`", metric.type, labels, metric.documentation]


def operators() -> Iterator[str]:
    """Metrics of Flink that are used here."""
    yield ("\n## Flink\n\nServed by JobManager and TaskManagers, `flink.metrics_port` (9250) and the next. Flink has "
           "many more; these are what dashboards and rules use. Each has `job_name`, those of a task `task_name`, "
           "those of an operator `operator_name`.\n\n")
    yield table(("metric", "meaning"), ([f"`{name}`", text] for name, text in MEANINGS.items()))


def rules() -> Iterator[dict[str, Any]]:
    """Every rule of Prometheus."""
    for file in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> Iterator[str]:
    """Recorded series and alerts, each alert with its page of what to do."""
    made = list(rules())
    yield ("\n## Recorded\n\nWhat each is stands beside it in the rules. The error ratios of service levels are over "
           "SPAN, 5m to 3d.\n\n")
    recorded = (re.sub(r"_rate\d+[mhd]$", "_rateSPAN", rule["record"]) for rule in made if "record" in rule)
    yield "".join(f"- `{name}`\n" for name in dict.fromkeys(recorded))
    yield "\n## Alerts\n\n`page`: now. `ticket`: today.\n\n" + table(
        ("alert", "severity", "after", "means", "what to do"), (alert(rule) for rule in made if "alert" in rule))


def alert(rule: dict[str, Any]) -> Iterable[str]:
    """One alert."""
    notes = rule["annotations"]
    link = notes["runbook_url"]
    text = re.sub(r"\{\{.*?\}\}", "N", " ".join(notes["description"].split()))
    return [f"`{rule['alert']}`", rule["labels"]["severity"], str(rule.get("for", "at once")),
            text, f"[{Path(link).stem}](../{link})"]
