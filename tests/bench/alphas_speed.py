"""CPU time a tick takes in the features and alphas stages of `default`: `python -m tests.bench.alphas_speed`.

The best of some runs over one long micro-batch and over short ones, as a busy and a quiet market make them.
"""
from __future__ import annotations

import sys
import time

import numpy as np

from tests.kit import quotes, run, state
from udfs import profiles
from udfs.stage import Columns, Stage
from udfs.stages import alphas, features

ROWS, RUNS, SHORT = 50_000, 9, 64
LIMIT_NS = 2_000.0
"""Most that both stages may take a tick, ns."""


def time_ns(stage: Stage, columns: Columns, largest: int) -> float:
    """Best time a tick, ns, with micro-batches of so many ticks."""
    parts = [{name: values[at:at + largest] for name, values in columns.items() if np.ndim(values)}
             for at in range(0, ROWS, largest)]
    best = float("inf")
    for _ in range(RUNS):
        held, start = state(stage), time.process_time_ns()
        for part in parts:
            stage.step(held, part)
        best = min(best, (time.process_time_ns() - start) / ROWS)
    return best


def main() -> int:
    """Print the figures; 1 where the limit is not met in long micro-batches."""
    first, second = features.stage(profiles.DEFAULT), alphas.stage(profiles.DEFAULT)
    ticks, count = quotes(ROWS, 4), len(profiles.DEFAULT.alphas.names)
    made = run(first, ticks)
    for largest in (ROWS, SHORT):
        each = time_ns(first, ticks, largest), time_ns(second, made, largest)
        print(f"micro-batches of {largest:,} ticks: features {each[0]:.0f} ns, {count} alphas {each[1]:.0f} ns, "
              f"together {sum(each):.0f} ns a tick (limit {LIMIT_NS:.0f} in long ones)", flush=True)
        if largest == ROWS:
            failed = sum(each) > LIMIT_NS
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
