"""The queries of the checked-in dashboards, with Grafana's variables and macros filled in as Grafana does."""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sigmaflow.settings import ROOT

FOLDER = ROOT / "docker" / "grafana" / "dashboards"


@dataclass(frozen=True)
class Query:
    """One query of one panel. `source` is "prometheus" or "questdb"."""

    dashboard: str
    panel: str
    source: str
    text: str

    @property
    def place(self) -> str:
        """Where it is: "trading / Equity curve"."""
        return f"{self.dashboard} / {self.panel}"

    def filled(self, start: datetime, end: datetime, job: str = "pipeline", account: str = "paper",
               rate: str = "1m") -> str:
        """The query as Grafana sends it for this span of time; `rate` is its interval of rates.

        >>> day = datetime(2026, 1, 31)
        >>> Query("d", "p", "questdb", "SELECT 1 FROM t WHERE $__timeFilter(ts)").filled(day, day)
        "SELECT 1 FROM t WHERE ts BETWEEN '2026-01-31T00:00:00.000000Z' AND '2026-01-31T00:00:00.000000Z'"
        """
        first, last = (at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for at in (start, end))
        values = {"$__timeFilter(ts)": f"ts BETWEEN '{first}' AND '{last}'", "$__rate_interval": rate,
                  "$__interval": "1s", "$account": account, "$job": job}
        text = self.text
        for name, value in values.items():
            text = text.replace(name, value)
        return text


def queries(folder: Path = FOLDER) -> Iterator[Query]:
    """Every query of every dashboard."""
    for file in sorted(folder.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield Query(file.stem, panel["title"], target["datasource"]["uid"],
                            target.get("expr") or target["rawSql"])
