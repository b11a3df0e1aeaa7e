"""Speed of a backtest in one process: `python -m tests.bench.backtest`. Best of three runs, wall clock and processor.

The figures are of one core of this machine; there is no figure to reach.
"""
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from sigmaflow.backtest import engine, inputs
from sigmaflow.backtest.inputs import Input
from sigmaflow.bench.ticks import reference
from udfs import profiles

BINANCE = Path(__file__).parents[3] / "shared" / "data" / "binance_spot"
ROWS = 200_000


def figures(name: str, given: Input) -> Iterator[str]:
    """One line for each profile."""
    for profile in map(profiles.get, profiles.names()):
        engine.warm(profile)
        wall, cpu = map(min, zip(*(once(given, profile) for _ in range(3)), strict=True))
        yield (f"backtest, {profile.name} profile, {given.log.rows:,} ticks of {name}: {given.log.rows / wall:,.0f} "
               f"ticks/s, {given.log.rows / cpu:,.0f} a second of processor")


def once(given: Input, profile: profiles.Profile) -> tuple[float, float]:
    """Seconds of one run by the wall clock and of the processor."""
    began = time.process_time()
    return engine.run(given, profile).seconds, time.process_time() - began


def main() -> None:
    """Print all figures."""
    with TemporaryDirectory() as folder:
        given = inputs.from_files([reference().path], Path(folder) / "reference", lambda share: None, ROWS)
        print(*figures("the reference file", given), sep="\n", flush=True)
        if BINANCE.exists():
            given = inputs.from_files(sorted(BINANCE.glob("*.gz")), Path(folder) / "binance", lambda share: None)
            print(*figures("recorded Binance", given), sep="\n", flush=True)


if __name__ == "__main__":
    main()
