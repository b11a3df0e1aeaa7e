"""`sigmaflow sweep`: one input under every combination of some settings, a process for each core, and a comparison.

The runs share nothing but the input on disk, and results are in the order of the grid: they do not depend on how many
processes there are. The best of many trials looks good by chance, so ratios are deflated by how many there were.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sigmaflow import report_stats as stats
from sigmaflow.backtest import engine, figures, overrides, sharpe, shown, sweep_page
from sigmaflow.backtest.command import Source, opened, with_error
from sigmaflow.backtest.figures import Figures
from sigmaflow.backtest.inputs import Input
from sigmaflow.backtest.overrides import Change
from sigmaflow.errors import UserError
from sigmaflow.output import Record, console, print_table
from sigmaflow.report_stats import Floats, Ints
from sigmaflow.report_svg import money, percent
from sigmaflow.settings import load
from udfs.models import Models
from udfs.profiles import Profile

STAGE = "sweep"
POINTS = 400
"""Points of a curve in the plot."""
NO_RATIO = "No run has a Sharpe ratio: none moved its equity, or the input is shorter than two bars."
LUCK = 0.95
"""Deflated Sharpe ratio from which the best run is taken for more than luck."""


@dataclass(frozen=True)
class Trial:
    """One run: what was changed, its figures, the moments of its bar changes, its curve for the plot, its counts."""

    change: Change
    digest: str
    figures: Figures
    skew: float
    kurtosis: float
    ts_ns: Ints
    curve: Floats
    counts: dict[str, Any]


# -------------------------------------------------------------------------------------------- in a process of the pool

_given: Input
_done: Any


def _begin(given: Input, done: Any) -> None:
    global _given, _done
    _given, _done = given, done


def _trial(profile: Profile, models: Models, change: Change) -> Trial:
    before = 0

    def tell(ticks: int) -> None:
        nonlocal before
        with _done.get_lock():
            _done.value += ticks - before
        before = ticks

    return trial(_given, profile, models, change, tell)


def trial(given: Input, profile: Profile, models: Models, change: Change,
          progress: engine.Progress = lambda ticks: None) -> Trial:
    """Run one combination, whose profile is given."""
    ran = engine.run(given, profile, models, progress, lean=True)
    held = figures.frames(ran, ran.results.frames["fills.v1"].whole()[:0])
    found = figures.of(ran, held, profile)
    changes = figures.changes(held.equity, int(found.bar_s * stats.SECOND))
    equity = held.equity
    keep = np.unique(np.linspace(0, len(equity) - 1, POINTS).astype(np.int64)) if len(equity) else np.zeros(0, np.int64)
    return Trial(change, profile.digest, found, *sharpe.moments(changes), equity["ts_order"].to_numpy()[keep],
                 equity["equity"].to_numpy()[keep], ran.results.counts.record())


# --------------------------------------------------------------------------------------------------------- the command


def run(source: Source, profile: str, settings: Sequence[str], grid: Sequence[str], model: str, earlier: int,
        processes: int, out: Path, quiet: bool) -> dict[str, Any]:
    """Run every combination, write the page, give the comparison. Raises UserError before the first run for a bad one.
    """
    base, fixed, combinations = overrides.base(profile), overrides.parse(settings), overrides.grid(grid)
    if not grid:
        raise UserError(STAGE, "--grid must be given", "there is none", "write for example --grid sizing.entry=0.1,0.2")
    both = sorted(set(fixed) & set(combinations[0]))
    if both:
        raise UserError(STAGE, "a setting must be in --set or in --grid", f"{both[0]} is in both", "leave one out")
    made = [overrides.apply(base, fixed | change) for change in combinations]
    folder = load().model_dir
    jobs = [(p, Models(p, folder, model), change) for p, change in zip(made, combinations, strict=True)]
    with opened(source, quiet) as given:
        with shown.bar("load kernels", 1, quiet):
            engine.warm(made[0])
        trials = list(_all(given, jobs, processes or cores(), quiet))
        found = comparison(trials, earlier) | {"source": given.source, "profile": base.name, "settings": fixed,
                                               "rejected_at_edge": given.rejected_at_edge}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(sweep_page.build(found, [(t.ts_ns, t.curve) for t in trials]), encoding="utf-8")
    return found | {"report": str(out)}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _all(given: Input, jobs: Sequence[tuple[Profile, Models, Change]], processes: int, quiet: bool) -> Iterator[Trial]:
    """Trials in the order of the jobs, run by so many processes."""
    spawn = multiprocessing.get_context("spawn")
    done = spawn.Value("q", 0)
    with (shown.bar(f"{len(jobs)} runs", len(jobs) * given.log.rows, quiet) as progress,
          ProcessPoolExecutor(min(processes, len(jobs)), spawn, _begin, (given, done)) as pool):
        futures = [pool.submit(_trial, *job) for job in jobs]
        try:
            _follow(futures, lambda: progress(done.value))
        except BaseException:  # one failed, or the user had enough: the others need not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        yield from (future.result() for future in futures)


def _follow(futures: Sequence[Future[Trial]], poll: Any) -> None:
    """Wait for all; raise what one of them raised as soon as it did."""
    left = set(futures)
    while left:
        ended, left = wait(left, 0.2, FIRST_COMPLETED)
        poll()
        for future in ended:
            future.result()


def comparison(trials: Sequence[Trial], earlier: int = 0) -> dict[str, Any]:
    """What is printed: a row for each trial, and what the best one is worth after as many as were tried.

    `earlier` trials of other sweeps over the same data count too; so does a trial without a ratio.
    """
    ratios = np.array([t.figures.sharpe for t in trials])
    known = np.flatnonzero(np.isfinite(ratios))
    count = len(trials) + earlier
    variance = float(np.var(ratios[known], ddof=1)) if len(known) > 1 else 0.0
    rows = [_row(t, count, variance) for t in trials]
    best = int(known[np.argmax(ratios[known])]) if len(known) else None
    return {"runs": rows, "trials": count, "best": best,
            "expected_best_sharpe": sharpe.best_of(count, variance) if len(known) else None,
            "deflated_sharpe": None if best is None else rows[best]["deflated_sharpe"]}


def _row(t: Trial, trials: int, variance: float) -> dict[str, Any]:
    f = t.figures
    worth = sharpe.deflated(f.sharpe, f.bars, t.skew, t.kurtosis, trials, variance)
    return {"settings": t.change, "config_digest": t.digest, **f.record(),
            "deflated_sharpe": None if math.isnan(worth) else worth, **t.counts}


def draw(found: Record) -> None:
    """Print the table, and how far it can be believed."""
    print_table([_shown(n == found["best"], row) for n, row in enumerate(found["runs"])],
                f"{found['source']}, profile {found['profile']}")
    for line in verdict(found):
        console().print(line, markup=False)
    console().print(f"page {found['report']}", markup=False)


def _shown(best: bool, row: Record) -> dict[str, Any]:
    def share(name: str) -> str:
        return percent(math.nan if row[name] is None else row[name])

    return {"best": "*" if best else " ", **row["settings"], "return": share("return"), "profit": money(row["profit"]),
            "Sharpe": with_error(row), "drawdown": share("max_drawdown"), "orders": row["orders"],
            "fills": row["fills"], "fees": money(row["fees"]), "slippage": money(row["slippage"]),
            "CVaR": money(math.nan if row["cvar"] is None else row["cvar"]), "beyond CVaR": share("beyond_cvar"),
            "deflated": chance(row["deflated_sharpe"]), "rejected": row["rejected"], "state": row["state"].lower()}


def chance(probability: float | None) -> str:
    """A probability as a percentage.

    >>> chance(0.9004), chance(None)
    ('90.0 %', 'n/a')
    """
    return "n/a" if probability is None else f"{100 * probability:.1f} %"


def verdict(found: Record) -> Iterator[str]:
    """What the best run is worth, in words."""
    if found["best"] is None:
        yield NO_RATIO
        return
    best, worth = found["runs"][found["best"]], found["deflated_sharpe"]
    yield (f"Best (*): {overrides.shown(best['settings'])}, Sharpe {with_error(best)} per bar of {best['bar_s']:g} s, "
           f"{best['bars']:,} bars.")
    luck = f"the best of {found['trials']} worthless ones would show {found['expected_best_sharpe']:.3f} by chance"
    if worth is None:
        yield f"Warning: {luck}; too few bars to tell luck from skill."
    elif worth < LUCK:
        yield (f"Warning: {luck}. The deflated Sharpe ratio is {chance(worth)}, below {chance(LUCK)}: this can be "
               "luck of the search. Test the choice on data that the sweep has not seen.")
    else:
        yield (f"{luck[:1].upper()}{luck[1:]}; the deflated Sharpe ratio is {chance(worth)}. Still, test the choice "
               "on data that the sweep has not seen, and count all sweeps over these (--earlier).")
