"""Plays recorded files into market.ticks.v1: `python -m connectors.replay A.gz B.gz [--speed 10]`.

Ticks keep the times of the recording, and their seq is the same at every replay: a recording sent again into the same
topic is a duplicate, and the chain says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from connectors.market.recordings import Recording, open_recording
from connectors.pace import Writer, never, send
from connectors.ticks import TickWriter
from sigmaflow.errors import UserError
from sigmaflow.settings import load


@dataclass(frozen=True)
class Played:
    """What a replay has sent. `rejected_at_edge` counts lines that could not be read and never entered Kafka."""

    ticks: int
    frames: dict[str, int]
    rejected_at_edge: int
    seconds: float

    def summary(self) -> dict[str, Any]:
        """The same as plain values, for printing."""
        return {"frames": self.frames, "ticks": self.ticks, "rejected_at_edge": self.rejected_at_edge,
                "seconds": round(self.seconds, 3)}


def play(
    recording: Recording,
    writer: Writer,
    speed: float | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[int], None] = lambda ticks: None,
) -> Played:
    """Send a recording: `speed` 1 at its own pace, 10 ten times as fast, None as fast as it goes. Does not flush.

    Raises UserError for a speed that is not positive, or when the recording holds no quote.
    """
    if speed is not None and not speed > 0:
        raise UserError("replay", "SPEED must be above 0", f"it is {speed}", "leave it out for as fast as it goes")
    begin = time.monotonic()
    sent = send(recording.ticks(), writer, speed, stop, progress)
    return Played(sent.ticks, recording.frames, recording.rejected, time.monotonic() - begin)


def play_shown(recording: Recording, writer: Writer, speed: float | None = None,
               stop: Callable[[], bool] = never) -> Played:
    """The same with a progress bar over the lines of the files."""
    bar = Progress(TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TextColumn("lines"), TimeElapsedColumn(),
                   console=Console(stderr=True), transient=True)
    with bar:
        task = bar.add_task("replay", total=recording.line_count)
        played = play(recording, writer, speed, stop, lambda _: bar.update(task, completed=recording.lines_read))
    return played


def main(
    files: Annotated[list[Path], typer.Argument(help="Recorded files, merged in time order.")],
    speed: Annotated[float | None, typer.Option(help="1 is the recorded pace; default: as fast as it goes.")] = None,
) -> None:
    """Play recorded files into market.ticks.v1; the last line printed is one JSON object."""
    from connectors import stopping

    recording = open_recording(files)
    writer = TickWriter(load())
    stop = stopping.on_signals()
    try:
        played = play_shown(recording, writer, speed, stop.is_set)
    finally:
        writer.flush()
    for path, line, reason in recording.refused:
        print(f"replay: rejected at the edge: {path} line {line}: {reason}")
    print(json.dumps(played.summary()))


if __name__ == "__main__":
    from connectors.command import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run(app)
