"""Service levels as Prometheus rules: the part of bad events over several windows, and alerts on how fast the error
budget burns (Google, Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts").

A window pair fires where both are above burn rate times budget: the long one says that it matters, the short one that
it is still going on. Budgets are for 30 days: 14.4 uses 2 % of one in an hour, 6 uses 5 % in six hours, 3 uses 10 % in
a day, 1 uses it up in 30 days.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from sigmaflow.monitoring import metrics as m

WINDOWS = {"5m": 300, "30m": 1_800, "1h": 3_600, "2h": 7_200, "6h": 21_600, "1d": 86_400, "3d": 259_200}
"""Window to its length in seconds."""

CHAIN_UP_EVERY_S = 5
"""Interval of the rule sigmaflow:chain_up (docker/prometheus/rules/recording.yml). What was not measured counts as up:
the first minute of a new stack would otherwise be the whole of every window.
"""

STEADY = "2m"
"""How long an alert must hold: the first half minute of fresh servers is slow and is all that a window has seen."""


@dataclass(frozen=True)
class Burn:
    """One pair of windows."""

    rate: float
    long: str
    short: str
    severity: str


BURNS = (Burn(14.4, "1h", "5m", "page"), Burn(6, "6h", "30m", "page"),
         Burn(3, "1d", "2h", "ticket"), Burn(1, "3d", "6h", "ticket"))


@dataclass(frozen=True)
class Level:
    """A promise: `objective` is the part of events that are good, `bad` the part that is not, over a window {w} of
    {seconds}."""

    name: str
    alert: str
    objective: float
    bad: str
    promise: str

    def errors(self, window: str) -> str:
        """Name of the recorded ratio of a window."""
        return f"sigmaflow:{self.name}_errors:ratio_rate{window}"

    def firing(self, burn: Burn) -> str:
        """When a pair of windows fires."""
        limit = f"{burn.rate * (1 - self.objective):.6g}"
        return f"{self.errors(burn.long)} > {limit} and {self.errors(burn.short)} > {limit}"


def _late(buckets: str, within: str, labels: str = "") -> str:
    comma = ", " if labels else ""
    good = f'sum(rate({buckets}{{{labels}{comma}le="{within}"}}[{{w}}]))'
    return f'1 - {good} / sum(rate({buckets}{{{labels}{comma}le="+Inf"}}[{{w}}]))'


LEVELS = (
    Level("signal", "SignalsLate", 0.95, _late(m.TICK_AGE, "0.02", f'operator_name=~".*ensemble.*", {m.CHAIN}'),
          "95 % of ticks have their signal within 20 ms of receipt"),
    Level("execution", "ExecutionsLate", 0.95, _late("sigmaflow_tick_to_fill_seconds_bucket", "0.1"),
          "95 % of fills are written within 100 ms of their tick"),
    Level("availability", "ChainUnavailable", 0.999,
          "(count_over_time(sigmaflow:chain_up[{w}]) - sum_over_time(sigmaflow:chain_up[{w}])) * "
          f"{CHAIN_UP_EVERY_S} / {{seconds}}",
          "the chain is up for 99.9 % of the time"),
)


def _recording(level: Level) -> dict[str, Any]:
    rules = [{"record": level.errors(window),
              "expr": level.bad.replace("{w}", window).replace("{seconds}", str(seconds))}
             for window, seconds in WINDOWS.items()]
    return {"name": f"levels-{level.name}", "interval": "30s", "rules": rules}


def _alert(level: Level, severity: str) -> dict[str, Any]:
    burns = [burn for burn in BURNS if burn.severity == severity]
    return {"alert": level.alert, "expr": " or ".join(f"({level.firing(burn)})" for burn in burns),
            "for": STEADY,
            "labels": {"severity": severity},
            "annotations": {
                "summary": f"The error budget burns too fast: {level.promise}",
                "description": "{{ $value | humanizePercentage }} of events are bad; the budget is "
                               f"{1 - level.objective:.3g} of them over 30 days.",
                "runbook_url": "deploy/runbooks/service-levels.md"}}


def text() -> str:
    """The rules file."""
    alerts = {"name": "levels-alerts", "rules": [_alert(level, severity) for level in LEVELS
                                                 for severity in ("page", "ticket")]}
    groups = [*(_recording(level) for level in LEVELS), alerts]
    head = "# Written by `python -m sigmaflow.monitoring` from sigmaflow/monitoring/levels.py: change that.\n"
    return head + str(yaml.safe_dump({"groups": groups}, sort_keys=False, width=10_000))
