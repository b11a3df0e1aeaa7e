"""Shows the messages of a topic as they flow: `python -m connectors.monitor TOPIC [--limit N] [--from-beginning]`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from connectors.consume import Record, Undecodable, follow
from connectors.stopping import on_signals
from sigmaflow.settings import Settings, load

COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


def line(topic: str, record: Record) -> str:
    """One message as one plain line.

    >>> line("fills.v1", Record(b"paper", {"price": 1.25, "n": 3}, 0, 7))
    'fills.v1[0]@7 paper price=1.25 n=3'
    """
    return f"{topic}[{record.partition}]@{record.offset} {_key(record)} {_value(record.value)}"


def _key(record: Record) -> str:
    return "-" if record.key is None else record.key.decode(errors="replace")


def _value(value: Any) -> str:
    if isinstance(value, Undecodable):
        return f"UNREADABLE {value.reason}: {(value.raw or b'')[:40].hex()}"
    return " ".join(f"{name}={_plain(field)}" for name, field in value.items())


def _plain(field: Any) -> str:
    if isinstance(field, float):
        return f"{field:.10g}"
    if isinstance(field, bytes):
        return f"{field[:40].hex()}{'…' if len(field) > 40 else ''}"
    return str(field)


def _shown(topic: str, record: Record) -> Text:
    """The same in colours, one for each partition."""
    text = Text(f"{topic}[{record.partition}]@{record.offset} ", style=COLOURS[record.partition % len(COLOURS)])
    text.append(f"{_key(record)} ", style="bold")
    text.append(_value(record.value), style="red" if isinstance(record.value, Undecodable) else "")
    return text


def monitor(topic: str, settings: Settings, limit: int | None = None, from_beginning: bool = False) -> int:
    """Print messages until `limit` or an interrupt; give their number. Plain lines where there is no terminal."""
    console, asked, seen = Console(soft_wrap=True), on_signals(), 0
    if console.is_terminal:
        console.print(f"{topic}: waiting for messages, Ctrl-C ends", style="dim")
    for batch in follow(topic, settings, from_beginning, stop=asked.is_set):
        for record in batch:
            if console.is_terminal:
                console.print(_shown(topic, record))
            else:
                print(line(topic, record), flush=True)
            seen += 1
            if seen == limit:
                return seen
    return seen


def main(
    topic: Annotated[str, typer.Argument(help="Name of the topic, for example fills.v1.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many messages.")] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start with the oldest message.")] = False,
) -> None:
    """Show the decoded messages of a topic as they flow."""
    monitor(topic, load(), limit, from_beginning)


if __name__ == "__main__":
    from connectors.command import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run(app)
