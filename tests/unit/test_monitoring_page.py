"""docs/metrics.md describes every metric that a dashboard or a rule uses."""
from __future__ import annotations

import re

from sigmaflow.monitoring import page
from sigmaflow.monitoring.metrics import MEANINGS
from sigmaflow.monitoring.queries import queries


def used(prefix: str) -> set[str]:
    """Names in the queries of all dashboards and rules."""
    texts = [query.text for query in queries() if query.source == "prometheus"]
    texts += [str(rule["expr"]) for rule in page.rules()]
    return {name for text in texts for name in re.findall(rf"\b{prefix}_\w+", text)}


def test_every_metric_of_flink_that_is_used_is_described() -> None:
    assert used("flink") and used("flink") - set(MEANINGS) == set()


def test_every_metric_of_ours_that_is_used_is_described() -> None:
    described = set(re.findall(r"`(sigmaflow_\w+)`", page.page()))
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used("sigmaflow")}
    assert names and names - described == set()
