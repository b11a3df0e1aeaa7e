"""Shows the messages of a topic as they flow: `sigmaflow monitor-topics`."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from connectors.consume import Record, Undecodable, follow
from connectors.stopping import on_signals
from sigmaflow.output import plain
from sigmaflow.settings import Settings

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


def record_line(topic: str, record: Record) -> str:
    """One message as one line of JSON; a value that cannot be read has the reason in its place.

    >>> record_line("fills.v1", Record(b"paper", {"price": 1.25}, 0, 7))
    '{"topic": "fills.v1", "partition": 0, "offset": 7, "key": "paper", "value": {"price": 1.25}}'
    """
    value = record.value
    held = {"unreadable": value.reason, "raw": value.raw} if isinstance(value, Undecodable) else value
    key = None if record.key is None else _key(record)
    return json.dumps(plain({"topic": topic, "partition": record.partition, "offset": record.offset, "key": key,
                             "value": held}))


def monitor(topic: str, settings: Settings, limit: int | None = None, from_beginning: bool = False,
            as_json: bool = False) -> int:
    """Print messages until `limit` or an interrupt; give their number. Plain lines where there is no terminal."""
    console, asked, seen = Console(soft_wrap=True), on_signals(), 0
    coloured = console.is_terminal and not as_json
    if coloured:
        console.print(f"{topic}: waiting for messages, Ctrl-C ends", style="dim")
    for batch in follow(topic, settings, from_beginning, stop=asked.is_set):
        for record in batch:
            if coloured:
                console.print(_shown(topic, record))
            else:
                print((record_line if as_json else line)(topic, record), flush=True)
            seen += 1
            if seen == limit:
                return seen
    return seen
