"""Slow data: economic series, news, posts, and what is made of them."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmaflow.cli.common import command, group

PANEL = "Topics and contracts"
app = group()
slow = group("Economic series, news and posts: read them, score them, make indicators of them.")
app.add_typer(slow, name="slow", rich_help_panel=PANEL)

Every = Annotated[float | None, typer.Option(min=0.1, help="Seconds between two looks at the same thing.")]
Rounds = Annotated[int, typer.Option(min=0, help="Stop after so many rounds; 0 goes on.")]
Address = Annotated[str, typer.Option(help="Another address of the host.")]
MetricsPort = Annotated[int | None, typer.Option(help="Port of its metrics; 0 serves none.")]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@command(slow, PANEL, "sigmaflow slow fred", "sigmaflow slow fred --series T10Y2Y,VIXCLS --since 2020-01-01")
def fred(
    series: Annotated[str, typer.Option(help="Series of FRED, with commas; a usual set if none.")] = "",
    since: Annotated[str, typer.Option(help="First day of publication asked for.")] = "",
    every: Every = None, rounds: Rounds = 0, address: Address = "",
    metrics_port: MetricsPort = None,
) -> None:
    """Economic series with their vintages onto macro.v1. FRED_API_KEY must be set."""
    from connectors.slow import command as module

    module.poll("fred", _listed(series), every, address, rounds, metrics_port, **({"since": since} if since else {}))


@command(slow, PANEL, "sigmaflow slow rss",
         "sigmaflow slow rss --feeds https://www.federalreserve.gov/feeds/press_all.xml")
def rss(
    feeds: Annotated[str, typer.Option(help="Addresses of RSS or Atom feeds, with commas; a usual set if none.")] = "",
    every: Every = None, rounds: Rounds = 0, metrics_port: MetricsPort = None,
) -> None:
    """News by RSS or Atom onto news.v1; no key."""
    from connectors.slow import command as module

    module.poll("rss", _listed(feeds), every, "", rounds, metrics_port)


@command(slow, PANEL, "sigmaflow slow alpaca --symbols AAPL,MSFT")
def alpaca(
    symbols: Annotated[str, typer.Option(help="Symbols that the news is about, with commas.")] = "",
    every: Every = None, rounds: Rounds = 0, address: Address = "",
    metrics_port: MetricsPort = None,
) -> None:
    """News about symbols onto news.v1. APCA_API_KEY_ID and APCA_API_SECRET_KEY must be set."""
    from connectors.slow import command as module

    module.poll("alpaca", _listed(symbols), every, address, rounds, metrics_port)


@command(slow, PANEL, "sigmaflow slow reddit --forums wallstreetbets,stocks")
def reddit(
    forums: Annotated[str, typer.Option(help="Subreddits, with commas; a usual set if none.")] = "",
    every: Every = None, rounds: Rounds = 0, address: Address = "",
    metrics_port: MetricsPort = None,
) -> None:
    """New posts onto posts.v1. Public; by OAuth where REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET are set."""
    from connectors.slow import command as module

    module.poll("reddit", _listed(forums), every, address, rounds, metrics_port)


@command(slow, PANEL, "sigmaflow slow sentiment --about BTCUSDT=bitcoin,btc --about ETHUSDT=ethereum,ether",
         "sigmaflow slow sentiment --ollama llama3.2")
def sentiment(
    about: Annotated[list[str] | None, typer.Option(
        metavar="SYMBOL=WORD,WORD", help="Words that a text about an instrument has; may be given again.")] = None,
    ollama: Annotated[str, typer.Option(metavar="MODEL", help="Ask this model of a local Ollama server.")] = "",
    address: Annotated[str, typer.Option(help="Address of the Ollama server.")] = "",
    limit_s: Annotated[float, typer.Option(min=0, help="Longest wait for its answer, seconds; 0: 30.")] = 0,
    metrics_port: MetricsPort = None,
) -> None:
    """Score news and posts onto sentiment.v1, each once: by a lexicon, or by a local model where one is named."""
    from connectors.slow import command as module

    module.score(about or [], ollama, address, limit_s, metrics_port)


@command(slow, PANEL, "sigmaflow slow indicators", "sigmaflow slow indicators --model llama3.2 --series VIXCLS:-1")
def indicators(
    model: Annotated[str, typer.Option(help="Whose scores count: lexicon, or a local model's name.")] = "lexicon",
    series: Annotated[list[str] | None, typer.Option(
        metavar="SERIES:SIGN", help="Economic series and whether more of it is good; may be given again.")] = None,
    every: Annotated[float, typer.Option(min=1, help="Least seconds between two indicators of one name.")] = 300,
    history: Annotated[bool, typer.Option(help="Also for every past day of macro.v1, to replay recordings.")] = False,
    metrics_port: MetricsPort = None,
) -> None:
    """Make the values that the alphas macro_gauge and news_sentiment read, onto indicators.v1."""
    from connectors.slow import command as module

    module.indicate(model, series or [], every, history, metrics_port)
