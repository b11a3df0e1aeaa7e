"""Questions to a run's log, and its dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmaflow.cli.common import MARKET, NEGATIVE, AsJson, From, command, group, namespace

PANEL = "Questions"
app = group()
dlq = group("Dead letters: ticks that were refused, whole, with the reason.")
app.add_typer(dlq, name="dlq", rich_help_panel=PANEL)

Reason = Annotated[str, typer.Option(help="Only this reason, for example crossed.")]


@command(app, PANEL, "sigmaflow explain 5342262132823400817", "sigmaflow explain -81217 --json", settings=NEGATIVE)
def explain(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="Of a tick, decision, intent, order or fill.")],
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Print the whole path that an id is on, from the tick to the fill."""
    from sigmaflow import explain_view

    explain_view.explain(wanted, namespace(recorded), as_json)


@command(app, PANEL, "sigmaflow why-not BTCUSDT 2026-01-31T09:30:00Z",
         "sigmaflow why-not BINANCE:BTCUSDT 1769851800000000000 --json")
def why_not(
    symbol: Annotated[str, typer.Argument(help="BTCUSDT, or with its venue BINANCE:BTCUSDT.")],
    time: Annotated[str, typer.Argument(help="Event time: ISO 8601 (UTC without a zone), or ns since 1970.")],
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Print why no order was sent: the last decision on a symbol at or before a time, gate by gate."""
    from sigmaflow import explain_view

    explain_view.why_not(symbol, time, namespace(recorded), as_json)


@command(app, PANEL, "sigmaflow state --at market.ticks.v1:2:1234")
def state(
    at: Annotated[str, typer.Option(help="An input: market.ticks.v1:PARTITION:OFFSET.")],
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Print positions, cash, risk state and open orders as of a past input."""
    from sigmaflow import explain_view

    explain_view.state(at, namespace(recorded), as_json)


@command(dlq, PANEL, "sigmaflow dlq list", "sigmaflow dlq list --reason crossed --limit 5 --json", name="list")
def dlq_list(
    recorded: From = MARKET, reason: Reason = "", as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest to list.")] = 20,
) -> None:
    """Count dead letters by reason and list the newest, by the PARTITION:OFFSET of their input."""
    from sigmaflow import dead_letters

    dead_letters.run_list(namespace(recorded), reason, limit, as_json)


@command(dlq, PANEL, "sigmaflow dlq show 2:17", name="show")
def dlq_show(
    at: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="The input that was refused.")],
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Print one dead letter: every field, its bytes, and the tick in them where it can be read."""
    from sigmaflow import dead_letters

    dead_letters.run_show(namespace(recorded), at, as_json)


@command(dlq, PANEL, "sigmaflow dlq replay --dry-run", "sigmaflow dlq replay --reason unknown_schema",
         "sigmaflow dlq replay --at 2:17", name="replay")
def dlq_replay(
    recorded: From = MARKET, reason: Reason = "",
    at: Annotated[str, typer.Option(metavar="PARTITION:OFFSET", help="Only this input.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Also ticks sent again and refused once more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the ticks in dead letters to market.ticks.v1 again, each once, after a fix.

    Admission judges them anew, by its rules for all ticks, and a tick keeps
    its seq and event time. It is refused again as duplicate once its symbol
    has had that seq or a later one, and as time_behind once its partition is
    more than admission.max_behind_s (60 s) past it. So a replay helps ticks
    that a fix makes acceptable (a schema registered since, a newer job) and
    that the market has not passed by: a feed that was refused whole, or the
    last ticks of a symbol.

    A dead letter stays listed. What is sent carries the header replayed-from
    with the place of its input, and is not sent again.
    """
    from sigmaflow import dead_letters
    from sigmaflow.output import aside, print_json

    with aside(as_json):
        answer = dead_letters.run_replay(namespace(recorded), reason, at, again, dry_run)
    print_json(answer)
