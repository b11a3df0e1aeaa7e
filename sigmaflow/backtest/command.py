"""`sigmaflow backtest`: one run over files or a span of a log, its figures, and the tear sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sigmaflow import report
from sigmaflow.backtest import embedded, engine, figures, inputs, overrides, results, shown
from sigmaflow.backtest.engine import Ran
from sigmaflow.backtest.inputs import Input
from sigmaflow.errors import UserError
from sigmaflow.output import Record, console
from sigmaflow.report_svg import money, percent
from sigmaflow.settings import load
from udfs.models import Models
from udfs.profiles import Profile

STAGE = inputs.STAGE
ENGINES = ("process", "flink")


@dataclass(frozen=True)
class Source:
    """What a user names as input: files, or a run's namespace and a span of its log; and how many ticks at most."""

    files: Sequence[Path] = ()
    run: str | None = None
    since: int | None = None
    until: int | None = None
    rows: int = 0


@contextmanager
def opened(source: Source, quiet: bool) -> Iterator[Input]:
    """The input as a log on disk, which is gone afterwards. Raises UserError as the readers do."""
    if source.run is not None and source.files:
        raise UserError(STAGE, "either FILES or --from must be given", "both are", "leave one out")
    if source.run is None and (source.since is not None or source.until is not None):
        raise UserError(STAGE, "--since and --until must go with --from", "it is not given",
                        "cut files with --rows, or name a run")
    with TemporaryDirectory(prefix="sigmaflow-backtest-") as folder, shown.bar("read", 1, quiet) as progress:
        path = Path(folder) / "market.ticks"
        if source.run is not None:
            given = inputs.from_log(load(), source.run, path, source.since, source.until)
        else:
            given = inputs.from_files(source.files, path, progress, source.rows)
        progress(1)
        yield given


def run(source: Source, profile: str, settings: Sequence[str], model: str, on: str, out: Path, keep: Path | None,
        quiet: bool) -> dict[str, Any]:
    """Run, write the tear sheet, and the frames where `keep` names a folder; gives what is printed."""
    if on not in ENGINES:
        raise UserError(STAGE, "--engine must be process or flink", repr(on), "leave it out for process")
    change = overrides.parse(settings)
    made = overrides.apply(overrides.base(profile), change)
    models = Models(made, load().model_dir, model)
    with opened(source, quiet) as given:
        ran = _ran(given, made, models, on, quiet)
        held = figures.frames(ran, results.trades(given.log, given.contracts))
        said = f"Backtest of {given.source}" + (f"; {overrides.shown(change)}" if change else "")
        sheet = report.write(held, said, out, made.fills.latency_ns)
        files = results.save(held, keep) if keep else []
        return {"source": given.source, "profile": made.name, "settings": change, "model": model,
                "config_digest": made.digest, "engine": on, **ran.results.counts.record(),
                "rejected_at_edge": given.rejected_at_edge,
                "refused": [f"{path} line {line}: {reason}" for path, line, reason in given.refused],
                **figures.of(ran, held, made).record(), "seconds": round(ran.seconds, 3),
                "ticks_per_second": round(ran.speed), "report": str(sheet), "files": [str(file) for file in files]}


def _ran(given: Input, profile: Profile, models: Models, on: str, quiet: bool) -> Ran:
    if on == "process":
        with shown.bar("load kernels", 1, quiet):
            engine.warm(profile)
    with shown.bar(f"backtest {profile.name}", given.log.rows, quiet) as progress:
        if on == "flink":
            return embedded.run(given, profile, models, load(), progress)
        return engine.run(given, profile, models, progress)


def draw(found: Record) -> None:
    """Print the figures, what was refused, the speed, and where the tear sheet is."""
    for line in lines(found):
        console().print(line, markup=False)


def lines(found: Record) -> Iterator[str]:
    """The same as lines."""
    changed = f", {overrides.shown(found['settings'])}" if found["settings"] else ""
    yield f"Backtest of {found['source']}, profile {found['profile']}{changed} (config {found['config_digest']})"
    yield _ticks(found)
    yield from (f"  not read: {line}" for line in found["refused"][:5])
    yield (f"profit    {money(found['profit'])} ({_share(found['return'])} of start equity), equity "
           f"{money(found['equity'])}, drawdown {_share(found['max_drawdown'])}, {str(found['state']).lower()}")
    yield f"Sharpe    {with_error(found)} per bar of {found['bar_s']:g} s, {found['bars']:,} bars, not annualised"
    yield (f"trading   {found['orders']:,} orders, {found['fills']:,} fills, turnover {_times(found['turnover'])}, "
           f"hit rate {_share(found['hit_rate'])}")
    yield f"costs     fees {money(found['fees'])}, slippage against the decision's mid {money(found['slippage'])}"
    yield (f"risk      CVaR 97.5 % of a bar {money(_number(found['cvar']))}; {_share(found['beyond_cvar'])} of bars "
           "lost more than the ledger's CVaR (2.5 % at most where it is right)")
    yield f"speed     {found['ticks_per_second']:,} ticks/s ({found['seconds']:.2f} s, engine {found['engine']})"
    yield from (f"written   {file}" for file in found["files"])
    yield f"tear sheet {found['report']}"


def _ticks(found: Record) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in found["rejected_by_reason"].items())
    bad = f", {found['rejected']:,} rejected ({reasons})" if reasons else ", none rejected"
    edge = f"; {found['rejected_at_edge']:,} lines could not be read" if found["rejected_at_edge"] else ""
    counts = f"{found['accepted']:,} accepted, {found['duplicate']:,} duplicate"
    return f"ticks     {found['ticks']:,}: {counts}{bad}{edge}"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _share(value: float | None) -> str:
    return percent(_number(value))


def _times(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.2f} x"


def with_error(found: Record) -> str:
    """A Sharpe ratio and its standard error.

    >>> with_error({"sharpe": 0.1, "sharpe_error": 0.0312}), with_error({"sharpe": None, "sharpe_error": None})
    ('0.100 ± 0.031', 'n/a')
    """
    return "n/a" if found["sharpe"] is None else f"{found['sharpe']:.3f} ± {_number(found['sharpe_error']):.3f}"
