"""The current metrics as a table: `make metrics`."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from sigmaflow.output import Record
from sigmaflow.probes import own_metrics
from sigmaflow.settings import load


def look() -> dict[str, Any]:
    """Exposition text of the results process, and its samples. Raises NotRunning where the process does not answer."""
    text = own_metrics(load())
    return {"metrics": [{"name": sample.name, "labels": sample.labels, "value": sample.value}
                        for family in text_string_to_metric_families(text) for sample in family.samples],
            "text": text}


def draw(answer: Record) -> None:
    """Print every metric with its labels and value."""
    Console(soft_wrap=True).print(table(answer["text"]))


def table(text: str) -> Table:
    """Return exposition text as a table; a histogram is one row: how many, their mean, and its quantiles' bounds."""
    out = Table(box=None, header_style="bold", pad_edge=False)
    for name, left in (("metric", True), ("labels", True), ("value", False)):
        out.add_column(name, justify="left" if left else "right", overflow="fold")
    for family in text_string_to_metric_families(text):
        if family.type == "histogram":
            out.add_row(family.name, "", _histogram(family.samples))
            continue
        for sample in family.samples:
            labels = " ".join(f"{key}={value}" for key, value in sample.labels.items())
            out.add_row(sample.name, labels, number(sample.value))
    return out


def number(value: float) -> str:
    """Return a value with thousands separators, whole where it is whole.

    >>> number(1234.0), number(0.00421)
    ('1,234', '0.00421')
    """
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


def _histogram(samples: list[Any]) -> str:
    buckets = [(float(s.labels["le"]), s.value) for s in samples if s.name.endswith("_bucket")]
    total = next(s.value for s in samples if s.name.endswith("_count"))
    if not total:
        return "none yet"
    mean = next(s.value for s in samples if s.name.endswith("_sum")) / total
    bounds = ", ".join(f"{int(100 * q)} % <= {_bound(buckets, q * total):g} s" for q in (0.5, 0.95, 0.99))
    return f"{total:,.0f}, mean {mean:.4g} s, {bounds}"


def _bound(buckets: list[tuple[float, float]], rank: float) -> float:
    return next(upper for upper, count in sorted(buckets) if count >= rank)
