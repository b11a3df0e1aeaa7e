"""The rules as a stack runs them: those of docker/prometheus/rules, quicker by a setting where alerts are tried out.

An alert that holds for minutes would make a test of it last as long. `prometheus.alert_pace` shortens every duration of
the rules by one factor: how long an alert must hold, the windows of rates, the intervals of groups. Expressions,
thresholds and labels stay as they are shipped, so that what is tried out is what people are told by.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LENGTH = r"(\d+)(ms|s|m|h|d)"
WINDOW = re.compile(rf"\[{LENGTH}\]")


def quicker(text: str, pace: float) -> str:
    """A rules file with every duration multiplied by `pace`; a pace of 1 leaves it untouched.

    >>> print(quicker("groups: [{name: a, rules: [{alert: A, expr: 'rate(x[5m]) > 60', for: 1m}]}]", 0.1).strip())
    groups:
    - name: a
      rules:
      - alert: A
        expr: rate(x[30000ms]) > 60
        for: 6000ms
    """
    if pace == 1:
        return text
    groups = [_group(group, pace) for group in yaml.safe_load(text)["groups"]]
    return str(yaml.safe_dump({"groups": groups}, sort_keys=False, width=10_000))


def _group(group: dict[str, Any], pace: float) -> dict[str, Any]:
    return _shorter(group, "interval", pace) | {"rules": [_rule(rule, pace) for rule in group["rules"]]}


def _rule(rule: dict[str, Any], pace: float) -> dict[str, Any]:
    expression = WINDOW.sub(lambda window: f"[{duration(window[1] + window[2], pace)}]", rule["expr"])
    return _shorter(rule, "for", pace) | {"expr": expression}


def _shorter(part: dict[str, Any], name: str, pace: float) -> dict[str, Any]:
    return part | {name: duration(part[name], pace)} if name in part else part


def duration(text: str, pace: float) -> str:
    """A duration of Prometheus, one number and one unit, multiplied.

    >>> duration("5m", 0.1), duration("5s", 0.1)
    ('30000ms', '500ms')
    """
    found = re.fullmatch(LENGTH, text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration of one number and one unit")
    return f"{max(1, round(int(found[1]) * UNITS_MS[found[2]] * pace))}ms"
