"""Reads recorded tables (comma-separated, one row a line) with the same counting of bad lines as frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from connectors.market.lines import lines
from connectors.market.records import Malformed, Record, Tally, checked

Row = list[str]


def read(
    path: Path, tally: Tally, kind: str, record: Callable[[Row], Record | None], skip: int = 0
) -> Iterator[Record]:
    """Records of every row after the first `skip` lines; `record` gives None for a row that is none.

    `record` may raise Malformed, IndexError or ValueError: the line is then counted as refused.
    """
    for number, line in enumerate(lines(path), 1):
        tally.lines += 1
        if number <= skip or not line.strip():
            continue
        try:
            held = record(line.decode().split(","))
            if held is not None:
                held = checked(held)
            tally.frames[kind] += 1
        except (Malformed, IndexError, ValueError, OverflowError) as error:
            tally.refuse(path, number, error)
            continue
        if held is not None:
            yield held


def header(head: list[bytes]) -> Row:
    """Column names of the first line.

    >>> header([b"symbol,price"])
    ['symbol', 'price']
    """
    return [name.strip().lower() for name in head[0].decode(errors="replace").split(",")] if head else []
