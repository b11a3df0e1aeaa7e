"""`make reference`: a tick file through Kafka and the chain under the reference profile, and its checksums.

The last line printed is one JSON object with the sums that bench/SEMANTICS.md defines, taken from what the chain wrote:
fills and volume from fills.v1, all others from decisions.v1, which has one record a tick.
"""
from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from connectors.market import parquet
from connectors.read_columns import read_columns
from schemas.codec import Columns
from sigmaflow import submit
from sigmaflow.output import console
from sigmaflow.runs import Run, send
from udfs.stages import sizing

WARM = sizing.GATES.index("warm")


def run(file: str, rows: int = 0, jobs: str = "one", parallelism: int = 1) -> dict[str, Any]:
    """Run and print; gives the JSON object. `rows` 0 is the whole file."""
    path = Path(file)
    total = rows or parquet.open_parquet(path).metadata.num_rows
    chunks = parquet.read(path, total)
    with Run("reference", "reference", jobs, parallelism) as r:
        sent = send(r.writer, chunks, total)
        settled = r.settle()
        found = checksums(r)
        size = _slowest_checkpoint(r)
    console().print(f"{total:,} ticks in {sent + settled:.1f} s from the first tick sent to the last result written: "
                    f"{total / (sent + settled):,.0f} ticks/s, {jobs} job(s), parallelism {parallelism}; "
                    f"slowest checkpoint {size:.0f} ms")
    print(json.dumps(found), flush=True)
    return found


def checksums(r: Run) -> dict[str, Any]:
    """The sums over what a run wrote, as bench/SEMANTICS.md defines them."""
    return sums(read_columns("fills.v1", r.settings, r.namespace, read_committed=True),
                read_columns("decisions.v1", r.settings, r.namespace, read_committed=True))


def sums(filled: Iterable[Columns], decisions: Iterable[Columns]) -> dict[str, Any]:
    """The same over columns of fills.v1 and decisions.v1, amounts plain."""
    fills = decided = 0
    volume = eq = spr = sig = cv = 0.0
    last: dict[bytes, float] = {}
    for c in filled:
        fills += len(c["quantity"])
        volume += float(np.sum(c["quantity"]))
    for c in decisions:
        decided += len(c["symbol_pnl"])
        eq += float(np.sum(c["symbol_pnl"]))
        spr += float(np.sum(c["spread"]))
        sig += float(np.sum(c["score"]))
        cv += float(np.sum(c["cvar_975"][c["gates.passed"][:, WARM] > 0]))
        last |= _last(c)
    return {"rows": decided, "fills": fills, "volume": int(volume) if volume == int(volume) else volume,
            "pnl": sum(last.values()), "eq": eq, "sig": sig, "cv": cv, "spr": spr}


def _last(c: Any) -> dict[bytes, float]:
    """Last profit of each symbol in a chunk."""
    return {c["symbol"].at(row): float(c["symbol_pnl"][row]) for row in range(len(c["symbol_pnl"]))}


def _slowest_checkpoint(r: Run) -> float:
    """Longest duration of a completed checkpoint, milliseconds, start-up's first one included."""
    found = [submit.checkpoint_summary(job_id, r.settings) for job_id in r.job_ids]
    return max(float(summary["end_to_end_duration"]["max"]) for summary in found)
