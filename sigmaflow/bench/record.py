"""Where a result goes: build/bench.json, with what is needed to compare it with another machine's or another day's."""
from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from sigmaflow.bench.figures import TARGETS, Target
from sigmaflow.output import console
from sigmaflow.settings import ROOT, Settings

FILE = ROOT / "build" / "bench.json"
PACKAGES = ("apache-flink", "confluent-kafka", "numba", "numpy", "pemja", "pyarrow")


def machine() -> dict[str, Any]:
    """Processor, cores, memory, kernel; and the load when it was asked for, since others slow a bench down."""
    return {"processor": _processor(), "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}", "load": [round(x, 2) for x in os.getloadavg()]}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions(settings: Settings) -> dict[str, str]:
    """Python, the servers, and the packages on the hot path."""
    v = settings.versions
    found = {"python": platform.python_version(), "java": v.java, "flink": v.flink, "kafka": v.kafka}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def commit() -> str:
    """The commit that is measured, with a plus where files differ from it; "unknown" outside a checkout."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write(results: Mapping[str, Any], file: Path = FILE) -> None:
    """Write the results, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(fresh, file)


def show(results: Mapping[str, Any]) -> None:
    """The results as one table, then each figure to reach that was measured."""
    table = Table("what", "figure", "", box=None, header_style="bold", title_justify="left")
    for row in [*_throughput(results), *_latency(results), *_peers(results), *_growth(results)]:
        table.add_row(*row)
    console().print(table)
    for target in TARGETS:
        value = target.value(results)
        if value is not None:
            verdict, sign = _verdict(target, value, results), "at least" if target.least else "at most"
            console().print(f"{verdict} {target.what}: {value:,.4g}, {sign} {target.bound:,.4g}")


def _verdict(target: Target, value: float, results: Mapping[str, Any]) -> str:
    if not target.judged(results):
        return f"[dim]not judged below {target.cores} cores[/]"
    return "[green]reached[/]" if target.met(value) else "[yellow]missed [/]"


def _throughput(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(f"throughput {name}", f"{r['ticks_per_s']:,.0f} ticks/s, {r['cpu_us_per_tick']:.1f} us CPU a tick",
             ", ".join(f"{part} {us:.1f}" for part, us in r["cpu_us_by_language"].items()))
            for name, r in results.get("throughput", {}).items()]


def _latency(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(f"latency at {rate}/s, {what}",
             ", ".join(f"{point} {values[point]:.1f}" for point in ("p50", "p95", "p99", "max")) + " ms",
             f"{values['count']:,}")
            for rate, kinds in results.get("latency_ms", {}).items()
            for what, values in kinds.items() if isinstance(values, Mapping) and values.get("count")]


def _peers(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = [("pipeline/reference beside its peers", f"{rate:,.0f} ticks/s", "")
            for rate in results.get("beside_peers", [])]
    for name, r in results.get("peers", {}).items():
        if "reason" in r:
            rows.append((f"peer {name}", "not measured", r["reason"]))
        else:
            ratio = results.get("ratios", {}).get(name)
            rows.append((f"peer {name}", f"{r['ticks_per_s']:,.0f} ticks/s, {r['cpu_us_per_tick']:.1f} us CPU a tick",
                         (f"pipeline/reference is {ratio} times as fast; " if ratio else "") + r["note"]))
    return rows


def _growth(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    growth = results.get("growth", {})
    rows = [(f"{count} symbols", f"{r['ticks_per_s']:,.0f} ticks/s, {r['cpu_us_per_tick']:.1f} us CPU a tick",
             f"checkpoint {r['checkpoint_bytes'] / 1e6:.1f} MB") for count, r in growth.get("symbols", {}).items()]
    rows += [(f"growth at {rate} ticks/s", f"{r['cpu_us_per_tick']:.1f} us CPU a tick",
              f"opportunity p50 {r['opportunity']['p50']:.1f}, p95 {r['opportunity']['p95']:.1f} ms")
             for rate, r in growth.get("rates", {}).items()]
    rows += [(f"{slots} slots, estimated", f"{r['ticks_per_s']:,.0f} ticks/s", f"{r['broker_cores']} broker cores")
             for slots, r in growth.get("slots", {}).items()]
    rows += [(f"over {growth['time']['minutes']} min: {name}", f"{r['early']:,.4g} to {r['late']:,.4g}",
              f"ratio {r['ratio']}") for name, r in growth.get("time", {}).get("flatness", {}).items() if r]
    return rows
