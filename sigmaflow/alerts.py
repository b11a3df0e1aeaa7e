"""`sigmaflow alerts`: what fires now, and the page that says what to do, as the running Prometheus judges it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sigmaflow import probes
from sigmaflow.errors import NotRunning
from sigmaflow.output import Record, console, print_table
from sigmaflow.settings import Settings, load

SEVERITIES = {"page": 0, "ticket": 1}
"""In the order in which they are shown: now, today."""
OWN_LABELS = ("alertname", "severity")


def run(settings: Settings | None = None) -> dict[str, Any]:
    """Every alert that fires or is about to, worst first. Raises NotRunning where Prometheus does not answer."""
    s = settings or load()
    try:
        found = probes.get_json(f"{s.prometheus.base_url}/api/v1/alerts")["data"]["alerts"]
        rules = probes.get_json(f"{s.prometheus.base_url}/api/v1/rules?type=alert")["data"]["groups"]
    except (OSError, ValueError, KeyError):
        here = "" if s.prometheus.executable else " and is not installed on this machine"
        raise NotRunning("alerts", f"Prometheus must answer at {s.prometheus.base_url}", f"it does not{here}",
                         "install prometheus where it is missing, then run make restart") from None
    shown = records(found, datetime.now(UTC))
    return {"firing": sum(alert["state"] == "firing" for alert in shown),
            "rules": sum(len(group["rules"]) for group in rules), "alerts": shown}


def records(found: Iterable[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Prometheus' alerts as records: those that fire first, pages before tickets, the longest first.

    >>> records([{"labels": {"alertname": "KillSwitch", "severity": "page", "account": "paper"}, "state": "firing",
    ...           "activeAt": "2026-01-31T09:30:00.123456789Z", "annotations": {"summary": "Halted", "description": "",
    ...           "runbook_url": "deploy/runbooks/kill-switch.md"}}], datetime(2026, 1, 31, 9, 31, tzinfo=UTC))[0]
    ... # doctest: +NORMALIZE_WHITESPACE
    {'alert': 'KillSwitch', 'severity': 'page', 'state': 'firing', 'since': '2026-01-31T09:30:00.123456789Z',
     'for_s': 59.9, 'labels': {'account': 'paper'}, 'summary': 'Halted', 'description': '',
     'runbook': 'deploy/runbooks/kill-switch.md'}
    """
    return sorted((_record(alert, now) for alert in found),
                  key=lambda a: (a["state"] != "firing", SEVERITIES.get(a["severity"], 2), -a["for_s"], a["alert"]))


def _record(alert: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    labels, notes = alert["labels"], alert["annotations"]
    began = datetime.fromisoformat(alert["activeAt"])
    return {"alert": labels["alertname"], "severity": labels.get("severity", ""), "state": alert["state"],
            "since": alert["activeAt"], "for_s": round((now - began).total_seconds(), 1),
            "labels": {name: value for name, value in labels.items() if name not in OWN_LABELS},
            "summary": notes.get("summary", ""), "description": notes.get("description", ""),
            "runbook": notes.get("runbook_url", "")}


def draw(answer: Record) -> None:
    """Print one line an alert; `pending` ones have not held long enough yet."""
    print_table([{"alert": a["alert"], "severity": a["severity"], "state": a["state"], "for": f"{a['for_s']:.0f} s",
                  "summary": a["summary"], "runbook": a["runbook"]} for a in answer["alerts"]],
                empty=f"Nothing fires; {answer['rules']} rules are judged.")
    if answer["alerts"]:
        console().print(f"{answer['firing']} of {answer['rules']} rules fire")
