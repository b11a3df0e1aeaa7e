"""The arithmetic of the bench, pure: percentiles, rates, checksums, the estimate for a cluster, the figures to reach.

Nothing here knows a cluster, so that every figure in the table can be checked by hand.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

POINTS = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
EXACT = ("fills", "volume", "pnl", "eq", "spr")
SIG_TOLERANCE = 1e-4
"""Absolute, over 2,000,000 ticks (bench/SEMANTICS.md)."""
CV_TOLERANCE = 1e-9
"""Relative (bench/SEMANTICS.md)."""


def percentiles(latencies_ms: NDArray[np.float64] | Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max by the nearest rank, so that each is a latency that was seen; empty for none.

    >>> percentiles([4.0, 1.0, 2.0, 3.0])
    {'count': 4, 'p50': 2.0, 'p95': 4.0, 'p99': 4.0, 'max': 4.0}
    >>> percentiles([])
    {'count': 0}
    """
    values = np.sort(np.asarray(latencies_ms, np.float64))
    if not len(values):
        return {"count": 0}
    at = {name: max(0, int(np.ceil(share * len(values))) - 1) for name, share in POINTS.items()}
    ranked = {name: round(float(values[place]), 3) for name, place in at.items()}
    return {"count": len(values), **ranked, "max": round(float(values[-1]), 3)}


def differences(found: Mapping[str, float], wanted: Mapping[str, float], names: Sequence[str] = EXACT) -> list[str]:
    """What is not as bench/SEMANTICS.md wants it; empty where all sums agree.

    >>> good = {"fills": 3, "volume": 7, "pnl": 1.5, "eq": 2.5, "spr": 0.25, "sig": 0.1, "cv": 4.0}
    >>> differences(good | {"sig": 0.10005}, good)
    []
    >>> differences(good | {"fills": 4}, good)
    ['fills 4, not 3']
    """
    wrong = [f"{name} {found[name]:.17g}, not {wanted[name]:.17g}" for name in names if found[name] != wanted[name]]
    if "sig" in found and not abs(found["sig"] - wanted["sig"]) <= SIG_TOLERANCE:
        wrong.append(f"sig {found['sig']!r}, not {wanted['sig']!r}")
    if "cv" in found and not abs(found["cv"] - wanted["cv"]) <= CV_TOLERANCE * abs(wanted["cv"]):
        wrong.append(f"cv {found['cv']!r}, not {wanted['cv']!r}")
    return wrong


def per_tick(seconds: Mapping[str, float], ticks: int, least: float = 0.005) -> dict[str, float]:
    """CPU seconds by name as microseconds a tick, largest first; what is under `least` of a microsecond is left out.

    >>> per_tick({"broker": 0.2, "account": 0.5, "idle": 0.0}, 100_000)
    {'account': 5.0, 'broker': 2.0}
    """
    each = {name: value * 1e6 / ticks for name, value in seconds.items()} if ticks else {}
    return {name: round(value, 2) for name, value in sorted(each.items(), key=lambda item: -item[1]) if value >= least}


def ratios(rates: Mapping[str, float], own: float) -> dict[str, float]:
    """How many times as fast as each other program the chain is.

    >>> ratios({"quix-state": 10_000.0, "absent": 0.0}, 150_000.0)
    {'quix-state': 15.0}
    """
    return {name: round(own / rate, 2) for name, rate in rates.items() if rate > 0}


@dataclass(frozen=True)
class Cost:
    """CPU microseconds a tick of `pipeline`: the operator that runs once a shard, the costliest thread that runs once a
    job, all of the TaskManagers, the broker.
    """

    shard_us: float
    single_us: float
    all_us: float
    broker_us: float


def cluster_estimate(cost: Cost, shards: int, slots: Sequence[int] = (2, 4, 8, 16, 32)) -> dict[str, dict[str, Any]]:
    """Ticks/s of one account's `pipeline` on so many slots with a core each, and what holds it there.

    Shards run side by side, one a partition at most; the account's order and what surrounds it run once. What a network
    between the parts costs is not in it.

    >>> cluster_estimate(Cost(shard_us=8.0, single_us=4.0, all_us=16.0, broker_us=2.0), 4, [2, 8])
    {'2': {'ticks_per_s': 125000, 'broker_cores': 0.25, 'bound': 'cores'}, \
'8': {'ticks_per_s': 250000, 'broker_cores': 0.5, 'bound': 'single thread'}}
    """
    found: dict[str, dict[str, Any]] = {}
    for n in slots:
        bounds = {"cores": n * 1e6 / cost.all_us, "shards": min(n, shards) * 1e6 / cost.shard_us,
                  "single thread": 1e6 / cost.single_us}
        bound = min(bounds, key=lambda name: bounds[name])
        rate = bounds[bound]
        found[str(n)] = {"ticks_per_s": round(rate), "broker_cores": round(rate * cost.broker_us / 1e6, 2),
                         "bound": bound}
    return found


def flatness(times_s: Sequence[float], values: Sequence[float], settled_s: float) -> dict[str, float]:
    """Median of a series in its last fifth against the fifth that follows `settled_s`; both, and their ratio.

    >>> flatness([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [9, 9, 5, 5, 5, 5, 5, 5, 5, 6, 6], 2.0)
    {'early': 5.0, 'late': 6.0, 'ratio': 1.2}
    """
    at, held = np.asarray(times_s, float), np.asarray(values, float)
    if not len(at) or at[-1] <= settled_s:
        return {}
    part = (at[-1] - settled_s) / 5
    early = float(np.median(held[(at >= settled_s) & (at <= settled_s + part)]))
    late = float(np.median(held[at >= at[-1] - part]))
    return {"early": early, "late": late, "ratio": round(late / early, 3) if early else 0.0}


@dataclass(frozen=True)
class Target:
    """A figure to reach: the place in the results, the bound, and whether the figure must be at least or at most it.

    `cores`: fewest that the machine must have for it to be judged.
    """

    what: str
    path: tuple[str, ...]
    bound: float
    least: bool = True
    cores: int = 0

    def value(self, results: Mapping[str, Any]) -> float | None:
        """The measured figure; None where it was not measured."""
        held: Any = results
        for name in self.path:
            held = held.get(name) if isinstance(held, Mapping) else None
        return None if held is None else float(held)

    def met(self, value: float) -> bool:
        """Whether a figure reaches the bound."""
        return value >= self.bound if self.least else value <= self.bound

    def judged(self, results: Mapping[str, Any]) -> bool:
        """Whether the machine has the cores for it."""
        return not self.cores or bool(results.get("machine", {}).get("cores", 0) >= self.cores)


def _latency(what: str, key: str, kind: str, point: str, bound: float) -> Target:
    return Target(what, ("latency_ms", key, kind, point), bound, least=False)


FLAT = 1.1
"""What is there at the end of a run over time, as a multiple of what was there when it had settled."""


def _flat(what: str, name: str) -> Target:
    return Target(f"{what}, end of the run over time to its beginning", ("growth", "time", "flatness", name, "ratio"),
                  FLAT, least=False)


COMMIT_MS = 1_000.0
"""The checkpoint interval: readers of committed records may wait this long and 100 ms more."""

TARGETS = (
    Target("pipeline, reference: ticks/s", ("throughput", "pipeline/reference", "ticks_per_s"), 150_000),
    Target("pipeline, default: ticks/s", ("throughput", "pipeline/default", "ticks_per_s"), 60_000),
    Target("six jobs, reference: ticks/s", ("throughput", "six/reference", "ticks_per_s"), 30_000),
    Target("times the Kafka loop", ("ratios", "kafka-loop"), 1),
    Target("times the Kafka loop in plain Python", ("ratios", "kafka-loop-plain"), 1),
    Target("times NautilusTrader", ("ratios", "nautilus"), 3),
    Target("times Quix Streams with state", ("ratios", "quix-state"), 10),
    Target("times Quix Streams with state in plain Python", ("ratios", "quix-state-plain"), 10),
    Target("slots 1 to 2: efficiency", ("scaling", "pipeline/reference"), 0.8, cores=4),
    _latency("tick to opportunity at 2,000/s: p95 ms", "2000", "opportunity", "p95", 15),
    _latency("tick to opportunity at 2,000/s: p99 ms", "2000", "opportunity", "p99", 30),
    _latency("tick to opportunity at 10,000/s: p95 ms", "10000", "opportunity", "p95", 50),
    _latency("tick to fill at 2,000/s, not committed: p95 ms", "2000", "fill", "p95", 100),
    _latency("tick to fill at 2,000/s, committed: p95 ms", "2000", "fill_committed", "p95", COMMIT_MS + 100),
    _latency("six jobs, tick to fill at 2,000/s, not committed: p95 ms", "six/2000", "fill", "p95", 250),
    _latency("six jobs, tick to fill at 2,000/s, committed: p95 ms", "six/2000", "fill_committed", "p95",
             COMMIT_MS + 100),
    _flat("state in a checkpoint", "checkpoint_bytes"),
    _flat("duration of a checkpoint", "checkpoint_ms"),
    _flat("memory of the TaskManagers", "taskmanagers_mb"),
    Target("RUNNING after submit: s", ("throughput", "pipeline/reference", "start_s"), 15, least=False),
)


def reached(results: Mapping[str, Any]) -> bool:
    """Whether every figure to reach that was measured, on a machine with the cores for it, is reached.

    >>> reached({"ratios": {"kafka-loop": 1.2}}), reached({"ratios": {"kafka-loop": 0.9}})
    (True, False)
    >>> scaling = {"scaling": {"pipeline/reference": 0.5}}
    >>> reached(scaling | {"machine": {"cores": 2}}), reached(scaling | {"machine": {"cores": 4}})
    (True, False)
    """
    return all(target.met(value) for target in TARGETS
               if (value := target.value(results)) is not None and target.judged(results))
