"""Progress of a backtest on stderr: the share that is done and the ticks a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


@contextmanager
def bar(title: str, total: float, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar that is told how much is done. Above 1 `total` counts ticks, whose speed is shown.

    `quiet` shows nothing, nor is there a bar where stderr is no terminal.
    """
    columns = (TextColumn("{task.description:<20}"), BarColumn(30), TaskProgressColumn(),
               TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    began = time.monotonic()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, note="")

        def tell(done: float) -> None:
            speed = done / max(1e-9, time.monotonic() - began)
            progress.update(task, completed=done, note=f"{speed:,.0f} ticks/s" if total > 1 else "")

        yield tell
