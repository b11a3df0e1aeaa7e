"""The running chain: watch it, report on it, tell it to stop trading."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigmaflow.cli.common import MARKET, AsJson, From, Namespace, command, group, namespace
from sigmaflow.errors import UserError

PANEL = "The account"
app = group()

Why = Annotated[str, typer.Option(help="Why, for the log.")]
Account = Annotated[str, typer.Option(help="The account it is for.")]


@command(app, PANEL, "sigmaflow dashboard", "sigmaflow dashboard --seconds 60", "sigmaflow dashboard --json")
def dashboard(
    seconds: Annotated[float, typer.Option(min=0, help="End after this many seconds; 0 is never.")] = 0,
    account: Account = "paper",
    as_json: AsJson = False,
) -> None:
    """The live view: ticks/s, lag, signals, orders, fills, equity, drawdown; with --json one look."""
    from sigmaflow import live
    from sigmaflow.output import print_json

    if as_json:
        print_json(live.once(account))
        return
    from sigmaflow import dashboard as module

    module.run(seconds=seconds, account=account)


@command(app, PANEL, "sigmaflow metrics", "sigmaflow metrics --json")
def metrics(as_json: AsJson = False) -> None:
    """Print the chain's own metrics as they stand."""
    from sigmaflow import metrics_view
    from sigmaflow.output import show

    show(as_json, metrics_view.look, metrics_view.draw)


@command(app, PANEL, "sigmaflow traces --otlp http://127.0.0.1:4318 --ratio 0.001", "sigmaflow traces --lines")
def traces(
    otlp: Annotated[str, typer.Option(help="OTLP/HTTP collector, http://127.0.0.1:4318; none when left out.")] = "",
    ratio: Annotated[float, typer.Option(min=0, max=1, help="Part of the ticks that are traced.")] = 0.01,
    lines: Annotated[bool, typer.Option("--lines", help="Print every decision as one JSON line.")] = False,
    namespace: Namespace = "",
) -> None:
    """Follow the chain: OpenTelemetry traces of sampled decisions, canonical log lines of all."""
    if not otlp and not lines:
        raise UserError("traces", "there must be something to do", "neither --otlp nor --lines is given", "give one")
    from sigmaflow.monitoring import follow

    follow.run(otlp, ratio, lines, namespace)


@command(app, PANEL, "sigmaflow report", "sigmaflow report --out monday.html --json")
def report(
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("build/report.html"),
    account: Account = "paper", recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Write the tear sheet as one HTML file."""
    from sigmaflow import report as module
    from sigmaflow.output import aside, print_json

    with aside(as_json):
        file = module.run(out, account, namespace(recorded))
    if as_json:
        print_json({"file": str(file)})


@command(app, PANEL, 'sigmaflow halt --reason "spread of BTCUSDT looks wrong"', "sigmaflow halt --json")
def halt(reason: Why = "", namespace: Namespace = "", account: Account = "paper", as_json: AsJson = False) -> None:
    """The kill switch: no order passes from the next tick on, until resume.

    Returns when the chain has written down from where on it holds; exits 3 when no chain takes the command within five
    seconds: it then holds from the chain's next start on.
    """
    _command("halt", reason, namespace, account, as_json)


@command(app, PANEL, 'sigmaflow reduce --reason "end of day"')
def reduce(reason: Why = "", namespace: Namespace = "", account: Account = "paper", as_json: AsJson = False) -> None:
    """Only orders that reduce a position pass, until resume."""
    _command("reduce", reason, namespace, account, as_json)


@command(app, PANEL, 'sigmaflow resume --reason "feed is back"')
def resume(reason: Why = "", namespace: Namespace = "", account: Account = "paper", as_json: AsJson = False) -> None:
    """Trade again after halt, reduce or a breaker."""
    _command("resume", reason, namespace, account, as_json)


def _command(kind: str, reason: str, namespace: str, account: str, as_json: bool) -> None:
    from sigmaflow import commands
    from sigmaflow.output import show

    show(as_json, lambda: commands.run(kind, reason, namespace, account), commands.draw)
