"""The machine under the stack, and what commands that end leave behind, for Prometheus.

A command that runs and ends cannot be scraped. It writes its metrics into `<data_dir>/metrics/NAME.prom` in Prometheus'
text format, as for node_exporter's textfile collector, and the results process serves them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from connectors.metrics import gauge

FOLDER = "metrics"


class HostExporter(Collector):
    """Disk space of the data directory, and the metrics that commands left in it."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family. A file that cannot be read is counted and left out."""
        disk = shutil.disk_usage(self._data_dir)
        yield gauge("sigmaflow_disk_free_bytes", "Free space where the data directory is.", (), {(): disk.free})
        yield gauge("sigmaflow_disk_size_bytes", "Size of the file system of the data directory.", (),
                    {(): disk.total})
        unreadable = 0
        for file in sorted((self._data_dir / FOLDER).glob("*.prom")):
            try:
                yield from list(text_string_to_metric_families(file.read_text()))
            except (OSError, ValueError):
                unreadable += 1
        yield gauge("sigmaflow_textfiles_unreadable_files", "Files of commands' metrics that cannot be read.", (),
                    {(): unreadable})


def leave(data_dir: Path, name: str, values: Mapping[str, tuple[str, float]]) -> Path:
    """Leave a command's gauges, name to (help, value), in one file; the file is whole at any moment."""
    lines = []
    for metric, (text, value) in values.items():
        lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge", f"{metric} {value!r}"]
    file = data_dir / FOLDER / f"{name}.prom"
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text("\n".join([*lines, ""]))
    os.replace(fresh, file)
    return file
