"""`make bench`: throughput, peers, latency and growth on a local cluster, one table, and build/bench.json.

    make bench                                  # all, ten minutes of it the run over time
    make bench QUICK=1                          # at most five minutes
    make bench ARGS="--only growth --minutes 60"
"""
from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from connectors.market import parquet
from connectors.market.columns import concat
from sigmaflow import stack, submit
from sigmaflow.bench import figures, growth, latency, peers, record, stages, throughput, ticks
from sigmaflow.bench.throughput import Case
from sigmaflow.bench.ticks import Reference
from sigmaflow.errors import UserError
from sigmaflow.output import console
from sigmaflow.settings import Settings, load

Results = dict[str, Any]
PARTS = ("throughput", "peers", "latency", "growth")
OWN = Case("one", "reference")
"""What is compared with the peers."""
RISING_S = 15.0
"""At each of the rising rates: what does not keep up is seconds behind by then."""


@dataclass(frozen=True)
class Plan:
    """What is measured. Ticks are rows of the reference file, and so their checksums are known.

    Without runs beside the peers `OWN` is the last case, so that it is near them in time and on servers as warm.
    """

    cases: tuple[tuple[Case, int], ...]
    warm_up: tuple[float, int]
    """Seconds of a live market, and reference ticks after it, for `pipeline`; six jobs have one in each of their runs.

    Code is compiled by the number of calls, and a live market's micro-batches make more of them than any number of
    ticks in long ones.
    """
    peers: int
    """Ticks of theirs. Some get slower with their number: NautilusTrader takes 12 us of 200,000, 20 of a million."""
    fills_only: bool
    """Whether peers that write fills only are measured too."""
    beside: bool
    """Whether `pipeline` runs before and after its peers again: a shared machine's speed changes in minutes."""
    rates: tuple[tuple[str, float], ...]
    latency_s: float
    warm_s: float
    symbols: tuple[int, ...]
    symbol_ticks: int
    rising: tuple[float, ...]
    minutes: float


FULL = Plan(
    cases=tuple((Case(jobs, profile, parallelism), rows)
                for jobs, profile, rows in (("one", "reference", 2_000_000), ("one", "default", 500_000),
                                            ("six", "reference", 500_000), ("six", "default", 300_000))
                for parallelism in (1, 2)),
    warm_up=(60.0, 1_000_000), peers=1_000_000, fills_only=True, beside=True,
    rates=(("one", 300.0), ("one", 2_000.0), ("one", 10_000.0), ("six", 2_000.0)), latency_s=60.0, warm_s=20.0,
    symbols=(2, 20, 200, 2_000), symbol_ticks=200_000,
    rising=tuple(500.0 * 2**n for n in range(10)), minutes=10.0)
QUICK = Plan(
    cases=((Case("one", "default"), 200_000), (Case("six", "reference"), 500_000), (OWN, 2_000_000)),
    warm_up=(20.0, 0), peers=500_000, fills_only=False, beside=False,
    rates=(("one", 2_000.0),), latency_s=15.0, warm_s=20.0,
    symbols=(), symbol_ticks=0, rising=(), minutes=0.0)


def run(quick: bool = False, only: str = "", minutes: float | None = None, file: Path | None = None,
        settings: Settings | None = None) -> Results:
    """Measure, print, write build/bench.json."""
    wanted = _parts(only)
    plan = QUICK if quick else FULL
    plan = plan if minutes is None else replace(plan, minutes=minutes)
    began, s, of = time.monotonic(), settings or load(), ticks.reference(file)
    results: Results = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "quick": quick,
                        "commit": record.commit(),
                        "machine": record.machine(), "versions": record.versions(s)}
    environments = peers.environments() if "peers" in wanted else {}
    with _servers(s):
        if wanted != ("peers",):
            _warm_up(s, plan, of, results)
        wait(environments.values())  # nothing is measured beside a pip
        for name, part in (("throughput", _throughput), ("peers", _peers), ("latency", _latency), ("growth", _growth)):
            if name in wanted:
                part(s, plan, of, results)
                record.write(results)
    results |= {"load_after": record.machine()["load"], "took_s": round(time.monotonic() - began)}
    record.write(results)
    record.show(results)
    console().print(f"measured in {results['took_s']} s; all of it in {record.FILE}")
    return results


def _parts(only: str) -> tuple[str, ...]:
    names = tuple(filter(None, only.split(","))) or PARTS
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise UserError("bench", f"--only must name parts of {', '.join(PARTS)}", ", ".join(unknown), "correct it")
    return names


@contextmanager
def _servers(settings: Settings) -> Iterator[None]:
    """The stack, started and stopped again where it does not run. Raises UserError where a job runs on it."""
    began = stack.up(settings)
    try:
        living = submit.jobs(settings)
        if living:
            raise UserError("bench", "no job may run beside the bench", f"{living[0].name} does",
                            "make stop, or give it a stack of its own: SIGMAFLOW_PORT_OFFSET and SIGMAFLOW_DATA_DIR")
        yield
    finally:
        if began:
            stack.down(settings)


def _note(text: str) -> None:
    console().print(f"[bold]{text}[/]")


def _warm_up(settings: Settings, plan: Plan, of: Reference, results: Results) -> None:
    """A live market and a log; what they reached tells what fresh servers do."""
    seconds, rows = plan.warm_up
    _note(f"warm-up: the servers compile, {OWN.name}")
    live = latency.measure(settings, OWN.jobs, throughput.LIVE_RATE, seconds, 0.0)
    results["warm_up"] = {"opportunity": live["opportunity"]} | (_measured(settings, OWN, of, rows) if rows else {})


def _measured(settings: Settings, case: Case, of: Reference, rows: int) -> Results:
    """One throughput run over the reference ticks, checked."""
    if case.profile == "reference":
        rows = of.portion(rows)
        check = throughput.sums(rows, of.sums(rows))
    else:
        rows, check = min(rows, of.rows), throughput.recomputed
    return throughput.measure(settings, case, parquet.read(of.path, rows), rows, check)


def _throughput(settings: Settings, plan: Plan, of: Reference, results: Results) -> None:
    found = results.setdefault("throughput", {})
    for case, rows in plan.cases:
        _note(f"throughput: {case.name}, {rows:,} ticks")
        found[case.name] = _measured(settings, case, of, rows)
    results["scaling"] = {name.removesuffix("/2"): round(r["ticks_per_s"] / found[name[:-2]]["ticks_per_s"] / 2, 3)
                          for name, r in found.items() if name.endswith("/2") and name[:-2] in found}
    _note("stages, in one process without Flink")
    some = concat(parquet.read(of.path, min(100_000, of.rows)))
    results["stages_us"] = {name: stages.measure(name, some) for name in ("reference", "default")}
    _ratios(results)


def _peers(settings: Settings, plan: Plan, of: Reference, results: Results) -> None:
    """Peers; where `pipeline` was measured, it is again before and after them."""
    again = results["beside_peers"] = list[float]()

    def beside() -> None:
        if plan.beside and OWN.name in results.get("throughput", {}):
            _note(f"beside the peers: {OWN.name}")
            again.append(_measured(settings, OWN, of, dict(plan.cases)[OWN])["ticks_per_s"])

    beside()
    _note(f"peers, {plan.peers:,} ticks")
    results["peers"] = peers.measure(settings, of, plan.peers, plan.fills_only)
    beside()
    _ratios(results)


def _ratios(results: Results) -> None:
    """How many times as fast `pipeline` is under the strategy that the peers run."""
    measured = results.get("throughput", {}).get(OWN.name, {}).get("ticks_per_s")
    own = fmean(results.get("beside_peers") or [measured or 0.0])
    rates = {name: r.get("ticks_per_s", 0.0) for name, r in results.get("peers", {}).items()}
    if own and rates:
        results["ratios"] = figures.ratios(rates, own)


def _latency(settings: Settings, plan: Plan, of: Reference, results: Results) -> None:
    found = results.setdefault("latency_ms", {})
    for jobs, rate in plan.rates:
        name = f"{rate:.0f}" if jobs == "one" else f"{jobs}/{rate:.0f}"
        _note(f"latency: {name} ticks/s for {plan.latency_s:.0f} s")
        found[name] = latency.measure(settings, jobs, rate, plan.latency_s, plan.warm_s)


def _growth(settings: Settings, plan: Plan, of: Reference, results: Results) -> None:
    found = results.setdefault("growth", {})
    for count in plan.symbols:
        _note(f"growth: {count:,} symbols")
        found.setdefault("symbols", {})[str(count)] = growth.symbols(settings, count, plan.symbol_ticks)
    if plan.rising:
        _note("growth: rates up to saturation")
        found["rates"] = growth.rates(
            lambda rate: latency.measure(settings, "one", rate, RISING_S, plan.warm_s, read={}), plan.rising)
    measured = results.get("throughput", {}).get("pipeline/reference")
    if measured:
        found["slots"] = growth.slots(measured)
    if plan.minutes:
        _note(f"growth: {plan.minutes:g} minutes")
        found["time"] = growth.over_time(settings, plan.minutes)
