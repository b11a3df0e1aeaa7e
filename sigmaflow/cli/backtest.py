"""Backtests: a strategy on files or on a span of a run's log, without servers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigmaflow.cli.common import MARKET, AsJson, command, group, namespace
from sigmaflow.errors import UserError

if TYPE_CHECKING:
    from sigmaflow.backtest.command import Source

PANEL = "Backtest"
app = group()

Files = Annotated[list[Path] | None, typer.Argument(help="Recorded files, merged in time; or one Parquet of ticks.")]
Recorded = Annotated[str | None, typer.Option(
    "--from", metavar="RUN", help=f"A run's log instead of files: its namespace, or {MARKET}.")]
Since = Annotated[str, typer.Option(metavar="TIME", help="With --from: log from this time on (UTC, ISO 8601).")]
Until = Annotated[str, typer.Option(metavar="TIME", help="With --from: log before this time.")]
Rows = Annotated[int, typer.Option(min=0, help="Of files, only the first ticks; 0 is all.")]
Profile = Annotated[str, typer.Option(help="Strategy profile.")]
Set = Annotated[list[str] | None, typer.Option(
    "--set", metavar="NAME=VALUE", help="A setting of the profile, as sizing.entry=0.2; may be given again. Items of a "
    "list are joined by +.")]
Model = Annotated[str, typer.Option(metavar="DIGEST", help="Trained model of the ensemble, as `model list` names it.")]


@command(app, PANEL, "sigmaflow backtest btcusdt.gz ethusdt.gz",
         "sigmaflow backtest btcusdt.gz --set sizing.cost_ratio=0.2 --set fills.fee_bps=1 --out build/dear.html",
         "sigmaflow backtest ticks.parquet --profile reference --rows 200000 --json",
         "sigmaflow backtest --from market --since 2026-01-31T09:30 --until 2026-01-31T16:00",
         "sigmaflow backtest btcusdt.gz --engine flink --keep build/results")
def backtest(
    files: Files = None, recorded: Recorded = None, since: Since = "", until: Until = "", rows: Rows = 0,
    profile: Profile = "default", settings: Set = None, model: Model = "",
    engine: Annotated[str, typer.Option(
        help="process: the chain's workers in this process; flink: its job graph in an embedded Flink. Same bytes.",
    )] = "process",
    out: Annotated[Path, typer.Option(help="The tear sheet.")] = Path("build/backtest.html"),
    keep: Annotated[Path | None, typer.Option(
        help="A folder for equity.parquet, fill.parquet and decision.parquet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a strategy over recorded ticks, without servers; ends with its figures and the tear sheet.

    Ticks pass the same admission as live ones: what is refused is counted by reason. The span of a log is by the time
    at which its ticks were written; the strategy begins it cold.
    """
    from sigmaflow.backtest import command as module
    from sigmaflow.output import show

    source = _source(files, recorded, since, until, rows)
    show(as_json, lambda: module.run(source, profile, settings or [], model, engine, out, keep, as_json), module.draw)


@command(app, PANEL, "sigmaflow sweep btcusdt.gz --grid sizing.cost_ratio=0.1,0.2,0.4",
         "sigmaflow sweep btcusdt.gz --grid sizing.entry=0.1,0.3 --grid fills.fee_bps=0,1 --set risk.window=300 --json",
         "sigmaflow sweep ticks.parquet --profile reference --grid alphas.horizon=10,20 --processes 1")
def sweep(
    files: Files = None, recorded: Recorded = None, since: Since = "", until: Until = "", rows: Rows = 0,
    profile: Profile = "default",
    grid: Annotated[list[str] | None, typer.Option(
        "--grid", metavar="NAME=A,B,C", help="Values of a setting; given again, every combination is run.")] = None,
    settings: Set = None, model: Model = "",
    earlier: Annotated[int, typer.Option(min=0, help="Trials of other sweeps over these data: they count too.")] = 0,
    processes: Annotated[int, typer.Option(min=0, help="Processes; 0 is one for each core.")] = 0,
    out: Annotated[Path, typer.Option(help="The page with plots and table.")] = Path("build/sweep.html"),
    as_json: AsJson = False,
) -> None:
    """Run a strategy under every combination of some settings, and compare; warns where the best can be luck.

    Results are in the order of the grid and do not depend on the number of processes. The deflated Sharpe ratio is the
    probability that the ratio is above 0 although it was the best of so many (Bailey and Lopez de Prado 2014).
    """
    from sigmaflow.backtest import sweep as module
    from sigmaflow.output import show

    source = _source(files, recorded, since, until, rows)
    show(as_json, lambda: module.run(source, profile, settings or [], grid or [], model, earlier, processes, out,
                                     as_json), module.draw)


def _source(files: list[Path] | None, recorded: str | None, since: str, until: str, rows: int) -> Source:
    from sigmaflow.backtest.command import Source

    run = None if recorded is None else namespace(recorded)
    return Source(tuple(files or ()), run, _time("--since", since), _time("--until", until), rows)


def _time(option: str, text: str) -> int | None:
    """Seconds since 1970 of a UTC time."""
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise UserError("backtest", f"{option} must be a time", repr(text), "write 2026-01-31T09:30, in UTC") from None
