"""Command line of the fuzzing run; the last line is one JSON object."""
from __future__ import annotations

import argparse
import math
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sigmaflow.errors import UserError
from tests.fuzz import campaign
from tests.fuzz.outcome import Outcome


def main() -> int:
    """Run and report: 0 when nothing was wrong, 1 otherwise, 2 for a call that makes no sense."""
    asked = _arguments()
    try:
        outcome = _reproduced(*asked.reproduce) if asked.reproduce else _fuzzed(asked)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for example in outcome.examples:
        print(example)
    print(outcome.line())
    return 0 if outcome.clean else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz admission and the market readers.")
    parser.add_argument("--cases", type=int, default=1_000_000, help="inputs to try (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=1, help="same seed and code, same inputs (default 1)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after this time (default: no limit)")
    parser.add_argument("--reproduce", nargs=2, metavar=("TARGET", "HEX"), help="try what an earlier run has printed")
    return parser.parse_args()


def _fuzzed(asked: argparse.Namespace) -> Outcome:
    if asked.cases < 1:
        raise UserError("fuzz", "CASES must be at least 1", f"it is {asked.cases}", "give CASES=1000000")
    columns = (TextColumn("fuzz"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[bad]} misbehave"),
               TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("fuzz", total=asked.cases, bad=0)

        def show(outcome: Outcome) -> None:
            bar.update(task, completed=outcome.cases, bad=len(outcome.examples))

        return campaign.run(asked.cases, asked.seed, asked.seconds, show)


def _reproduced(name: str, text: str) -> Outcome:
    try:
        return campaign.reproduce(name, text)
    except KeyError:
        raise UserError("fuzz", "TARGET must be one that a run has printed", f"it is {name!r}",
                        "copy the command as it was printed") from None
    except ValueError as error:
        raise UserError("fuzz", "HEX must be what a run has printed", str(error),
                        "copy the command as it was printed") from None


if __name__ == "__main__":
    sys.exit(main())
