"""The simulated market as a process: `python -m connectors.simulate --rate 2000 --symbols 10 --seed 7`.

The simulator itself knows no clock. Here, at the edge, an offset is added to its times, so that the first tick is
received now and latency can be measured; with `--fixed-times` there is none, and the same seed writes the same bytes.

`seq` starts at the microseconds since 1970, so that a market started again is above all earlier runs (as long as no
symbol makes more than a million ticks a second): the chain drops what is not above. `--first-seq` or `--fixed-times`,
which starts at 1, override it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import typer

from connectors.market.columns import Ticks
from connectors.market.faults import Faults
from connectors.market.simulator import Config, generate
from connectors.pace import Sent, Writer, never, send
from connectors.ticks import TickWriter
from sigmaflow.settings import Settings, load

REPORT_S = 10.0
"""Seconds between two lines about progress."""


def epoch_seq(now_ns: int) -> int:
    """First seq of a run that starts now.

    >>> epoch_seq(1_704_205_800_000_000_000)
    1704205800000000
    """
    return now_ns // 1_000


def from_now(chunks: Iterable[Ticks], now_ns: Callable[[], int] = time.time_ns) -> Iterator[Ticks]:
    """The same ticks with times moved so that the first one is received when it is asked for."""
    offset: int | None = None
    for chunk in chunks:
        if offset is None and len(chunk):
            offset = now_ns() - int(chunk.ts_recv[0])
        yield chunk.later(offset or 0)


def run(
    config: Config,
    writer: Writer,
    live: bool = True,
    paced: bool = True,
    stop: Callable[[], bool] = never,
    progress: Callable[[int], None] = lambda ticks: None,
    tally: Counter[str] | None = None,
) -> Sent:
    """Simulate into a writer until `config.count` or `stop()`. `live`: times start now; `paced`: in real time."""
    chunks = generate(config, tally)
    return send(from_now(chunks) if live else chunks, writer, 1.0 if paced else None, stop, progress)


class Report:
    """One line every ten seconds for the log."""

    def __init__(self) -> None:
        self._since, self._count = time.monotonic(), 0

    def __call__(self, ticks: int) -> None:
        """Count ticks, and print the rate when it is time."""
        self._count += ticks
        passed = time.monotonic() - self._since
        if passed >= REPORT_S:
            print(f"simulate: {self._count / passed:,.0f} ticks/s", flush=True)
            self._since, self._count = time.monotonic(), 0


def simulate(config: Config, settings: Settings, live: bool, paced: bool, stop: threading.Event) -> Sent:
    """Run, flush, and print what was done."""
    writer, tally = TickWriter(settings), Counter[str]()
    print(f"simulate: {config.symbols} symbols, {config.rate:,.0f} ticks/s, seed {config.seed}, first seq "
          f"{config.first_seq}, to market.ticks.v1 on {settings.kafka.bootstrap}", flush=True)
    try:
        sent = run(config, writer, live, paced, stop.is_set, Report(), tally)
    finally:
        writer.flush()
    faults = ", ".join(f"{count} {name}" for name, count in tally.items() if count) or "none"
    print(f"simulate: {sent.ticks:,} ticks sent and confirmed, at most {sent.behind_s * 1e3:.0f} ms behind their time; "
          f"faults: {faults}", flush=True)
    return sent


def main(
    rate: Annotated[float, typer.Option(help="Ticks a second, all symbols together.")] = 2_000.0,
    symbols: Annotated[int, typer.Option(help="Number of symbols.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 7,
    count: Annotated[int | None, typer.Option(help="Stop after so many ticks; default: never.")] = None,
    first_seq: Annotated[int | None, typer.Option(help="First seq; default: microseconds since 1970.")] = None,
    fixed_times: Annotated[bool, typer.Option("--fixed-times", help="Times from 2024-01-02 on, seq from 1.")] = False,
    start_now: Annotated[bool, typer.Option("--start-now", help="Times from now on (the default).")] = True,
    unpaced: Annotated[bool, typer.Option("--unpaced", help="As fast as it goes.")] = False,
    volatility: Annotated[float, typer.Option(help="A year's, as a fraction.")] = 0.6,
    information: Annotated[float, typer.Option(help="How much the order book knows, 0 to 1.")] = 0.3,
    jumps_per_hour: Annotated[float, typer.Option(help="For each symbol.")] = 12.0,
    gaps: Annotated[float, typer.Option(help="Probability that a tick is lost.")] = 0.0,
    duplicates: Annotated[float, typer.Option(help="Probability that a tick comes twice.")] = 0.0,
    crossed: Annotated[float, typer.Option(help="Probability of a crossed book.")] = 0.0,
    stale_clock: Annotated[float, typer.Option(help="Probability of an event time a minute behind.")] = 0.0,
) -> None:
    """Write a simulated market to market.ticks.v1 until it is stopped."""
    from connectors import stopping

    live = start_now and not fixed_times
    config = Config(
        seed=seed, symbols=symbols, rate=rate, count=count,
        first_seq=first_seq or (epoch_seq(time.time_ns()) if live else 1),
        volatility=volatility, information=information, jumps_per_hour=jumps_per_hour,
        faults=Faults(gaps, duplicates, crossed, stale_clock))
    simulate(config, load(), live, not unpaced, stopping.on_signals())


if __name__ == "__main__":
    from connectors.command import run as run_command

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_command(app)
