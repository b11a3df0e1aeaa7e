"""What commands print: tables for people, or with --json one JSON object on stdout and nothing else there."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Record = Mapping[str, Any]
VERDICTS = {"ok": "green", "warn": "yellow", "bad": "bold red"}
"""Colours of the verdicts of checks."""
PIPE_WIDTH = 10_000


def console() -> Console:
    """Where people read; never wraps in a pipe."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def plain(value: Any) -> Any:
    """A value as strict JSON has it: bytes in hexadecimal, numbers that are not finite as text.

    >>> plain({"limit": float("inf"), "payload": [b"ok"]})
    {'limit': 'inf', 'payload': ['6f6b']}
    """
    if isinstance(value, Mapping):
        return {name: plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def print_json(answer: Record) -> None:
    """Print one JSON object."""
    print(json.dumps(plain(answer), indent=2), flush=True)


@contextmanager
def aside(as_json: bool) -> Iterator[None]:
    """While a command works: with --json, what it tells people on the way goes to stderr."""
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        yield


@contextmanager
def last_line(as_json: bool) -> Iterator[None]:
    """The same for a command that ends with one line of JSON: with --json that line alone is left on stdout."""
    if not as_json:
        yield
        return
    held = _LastLine()
    try:
        with redirect_stdout(held):
            yield
    except BaseException:  # it did not come to its end: no line is the last one
        sys.stderr.write(held.rest())
        raise
    print(held.rest(), end="", flush=True)


class _LastLine(io.TextIOBase):
    """Passes whole lines on to stderr, but keeps the newest."""

    def __init__(self) -> None:
        self.line = self._begun = ""

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Take some text, which need not end with a line."""
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            sys.stderr.write(self.line)
            self.line = f"{line}\n"
        return len(text)

    def rest(self) -> str:
        """What was not passed on."""
        return self.line + self._begun


def show(as_json: bool, ask: Callable[[], Record], draw: Callable[[Record], object]) -> Record:
    """Get an answer, print it and give it: by `draw` for people, with --json as one object."""
    with aside(as_json):
        answer = ask()
    print_json(answer) if as_json else draw(answer)
    return answer


def print_table(rows: Sequence[Record], title: str = "", empty: str = "none",
                cell: Callable[[str, Any], str] | None = None) -> None:
    """Print records of the same fields as one table; `cell` makes rich markup of a column's name and a value."""
    if not rows:
        console().print(f"{title}: {empty}" if title else empty, markup=False)
        return
    table = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in rows[0]:
        numbers = all(_is_number(row[name]) for row in rows)
        table.add_column(escape(name), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*((cell or shown)(name, value) for name, value in row.items()))
    # In a pipe a record is one line, however long.
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def shown(name: str, value: Any) -> str:
    """One value of a table, as rich's markup.

    >>> shown("messages", 12345), shown("lag", None), shown("verdict", "bad"), shown("note", "[x]")
    ('12,345', '-', '[bold red]bad[/]', '\\\\[x]')
    """
    if name == "verdict":
        return f"[{VERDICTS.get(str(value), 'default')}]{value}[/]"
    if value is None or value == "":
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(f"{value:.6g}" if isinstance(value, float) else str(value))


def size(count: int | None) -> str | None:
    """Bytes for people, None as it is.

    >>> size(1536), size(3 * 2**30), size(12)
    ('1.5 KiB', '3.0 GiB', '12 B')
    """
    if count is None:
        return None
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
