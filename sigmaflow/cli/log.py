"""Kafka topics and the contracts of their messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigmaflow.cli.common import (
    MARKET,
    AsJson,
    From,
    JsonLines,
    command,
    contract_names,
    group,
    namespace,
    topic_names,
)

PANEL = "Topics and contracts"
app = group()
schema = group("Contracts of the messages: list, show, check, compare.")
app.add_typer(schema, name="schema", rich_help_panel=PANEL)

Contract = Annotated[str, typer.Argument(metavar="CONTRACT", help="For example tick.", autocompletion=contract_names)]


@command(app, PANEL, "sigmaflow topics", "sigmaflow topics market.ticks.v1", "sigmaflow topics --json")
def topics(
    topic: Annotated[str, typer.Argument(help="One topic, by partition; all when left out.",
                                         autocompletion=topic_names)] = "",
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """List topics: messages kept, ends, sizes, retention, and how far each running job is behind.

    Lag counts messages that no completed checkpoint of a job covers, so a healthy job is about one checkpoint behind.
    Ends of topics written in transactions count one commit marker a transaction too. Sizes are known where the broker
    is this stack's own.
    """
    from sigmaflow import topic_view
    from sigmaflow.output import show

    show(as_json, lambda: topic_view.look(namespace(recorded), topic), topic_view.draw)


@command(app, PANEL, "sigmaflow setup-topics", "sigmaflow setup-topics --namespace mine --json")
def setup_topics(
    run: Annotated[str, typer.Option("--namespace", metavar="NAMESPACE", help="Also the topics of this run.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create missing topics, align the others' settings, register the schemas; safe to run again."""
    from sigmaflow import topic_view
    from sigmaflow.output import show

    show(as_json, lambda: topic_view.set_up(run), topic_view.draw_set_up)


@command(app, PANEL, "sigmaflow monitor-topics fills.v1 --limit 10",
         "sigmaflow monitor-topics equity.v1 --from-beginning --json")
def monitor_topics(
    topic: Annotated[str, typer.Argument(help="For example fills.v1; a run's topics begin with its namespace.",
                                         autocompletion=topic_names)],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many messages.")] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start with the oldest message.")] = False,
    as_json: JsonLines = False,
) -> None:
    """Decoded messages of a topic as they flow, until interrupted."""
    from connectors.monitor import monitor
    from sigmaflow.settings import load

    monitor(topic, load(), limit, from_beginning, as_json)


@command(app, PANEL, "sigmaflow feed coinbase --symbols BTC-USD,ETH-USD", "sigmaflow feed binance")
def feed(
    venue: Annotated[str, typer.Argument(help="coinbase, binance, bybit, bybit-linear or alpaca.")],
    symbols: Annotated[str, typer.Option(help="As the venue writes them, with commas; its own choice if none.")] = "",
    metrics_port: Annotated[int | None, typer.Option(help="Port of its metrics; 0 serves none.")] = None,
    address: Annotated[str, typer.Option(help="Another WebSocket address: wss://stream.binance.us:9443.")] = "",
    rest_address: Annotated[str, typer.Option(help="Another address of requests: https://api.binance.us.")] = "",
) -> None:
    """Write a live venue's ticks to market.ticks.v1 until it is stopped."""
    from connectors.venues import command as module

    module.run(venue, symbols, metrics_port, address, rest_address)


@command(app, PANEL, "sigmaflow fetch AAPL,MSFT --since 2024-01-02 --until 2024-01-03 --out build/past",
         "sigmaflow fetch BTC/USD --since 2024-01-02 --until 2024-01-03 --market crypto --kinds quotes,trades")
def fetch(
    symbols: Annotated[str, typer.Argument(help="As the venue writes them, with commas.")],
    since: Annotated[str, typer.Option(metavar="TIME", help="From this time on (UTC, ISO 8601).")],
    until: Annotated[str, typer.Option(metavar="TIME", help="Before this time.")],
    kinds: Annotated[str, typer.Option(help="bars (of one minute), quotes, trades; with commas.")] = "bars",
    out: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("build/past"),
    market: Annotated[str, typer.Option(help="stocks or crypto.")] = "stocks",
    source: Annotated[str, typer.Option(help="Of stocks: iex (free) or sip.")] = "iex",
    address: Annotated[str, typer.Option(help="Another address of requests.")] = "",
    as_json: AsJson = False,
) -> None:
    """Fetch Alpaca's past bars, quotes or trades into files for replay and backtest, one for each symbol and kind.

    APCA_API_KEY_ID and APCA_API_SECRET_KEY must be set. Files that are there are not asked for again. Bars alone make
    quotes of a stated spread, so replay a symbol's bars or its quotes and trades, not both.
    """
    from connectors.venues import past
    from sigmaflow.output import print_table, show

    names, wanted = ([part.strip() for part in text.split(",") if part.strip()] for text in (symbols, kinds))
    show(as_json, lambda: {"files": past.fetch(names, wanted, since, until, out, market, source, address,
                                               say=lambda text: None)},
         lambda answer: print_table(answer["files"]))


@command(schema, PANEL, "sigmaflow schema list", name="list")
def schema_list(as_json: AsJson = False) -> None:
    """List the contracts: versions on record, topics, and what the registry holds of each."""
    from sigmaflow import schema_view
    from sigmaflow.output import show

    show(as_json, schema_view.listing, schema_view.draw_listing)


@command(schema, PANEL, "sigmaflow schema show tick", "sigmaflow schema show fill --version 1 --json", name="show")
def schema_show(
    contract: Contract,
    version: Annotated[int, typer.Option(min=0, help="A version on record; 0 is the contract as it is.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print a contract: every field with type, meaning and default; with --json its Avro schema."""
    from sigmaflow import schema_view
    from sigmaflow.output import show

    show(as_json, lambda: schema_view.one(contract, version), schema_view.draw_one)


@command(schema, PANEL, "sigmaflow schema check", "sigmaflow schema check --registry --json", name="check")
def schema_check(
    registry: Annotated[bool, typer.Option("--registry", help="Also against all versions in the registry.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold every contract against all its versions (FULL_TRANSITIVE); exits 1 when a change may not be made."""
    from sigmaflow import schema_view
    from sigmaflow.output import show

    answer = show(as_json, lambda: schema_view.check(registry), schema_view.draw_check)
    raise typer.Exit(1 if answer["problems"] else 0)


@command(schema, PANEL, "sigmaflow schema diff decision", "sigmaflow schema diff fill --old 1 --new 2",
         "sigmaflow schema diff tick --registry --json", name="diff")
def schema_diff(
    contract: Contract,
    old: Annotated[int, typer.Option(min=0, help="A version on record; 0 is the one before.")] = 0,
    new: Annotated[int, typer.Option(min=0, help="A version on record; 0 is the contract as it is.")] = 0,
    registry: Annotated[bool, typer.Option("--registry", help="The newest in the registry is the old one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what changed between two versions, field by field; exits 1 when the change may not be made."""
    from sigmaflow import schema_view
    from sigmaflow.output import show

    answer = show(as_json, lambda: schema_view.compare(contract, old, new, registry), schema_view.draw_compare)
    raise typer.Exit(1 if answer["problems"] else 0)
