"""Speed of the ledger: microseconds of one core a tick of the fills stage, on 5,000 ticks a second of market.

    python -m tests.bench.ledger

Figure: below 1 us a tick for every way of execution, with 8 and with 200 symbols (a 50th of the ticks has an intent).
Exit code 1 where one is above.
"""
from __future__ import annotations

import sys
import time

import numpy as np

from tests import kit
from udfs import profiles
from udfs.profiles import Fills, Profile
from udfs.stage import Columns
from udfs.stages import fills

TICKS, BEST_OF, LIMIT_US = 300_000, 5, 1.0
GAP_NS = 200_000


def columns(symbols: int) -> Columns:
    """Seeded quotes with intents."""
    rng = np.random.default_rng(2)
    found = kit.quotes(TICKS, symbols)
    asked = rng.random(TICKS) < 0.02
    return found | {"mid": (found["bid"] + found["ask"]) / 2, "intent": np.where(asked, np.arange(TICKS) + 1, 0),
                    "ts_order": found["ts_order"][0] + np.arange(TICKS) * GAP_NS, "intent_id": np.arange(TICKS) + 7,
                    "target_notional": rng.normal(0, 5e4, TICKS), "top_alpha": np.zeros(TICKS, np.int64)}


def microseconds(profile: Profile, made: Columns, symbols: int) -> tuple[float, int]:
    """(least time a tick, fills) of some runs."""
    stage, best = fills.stage(profile), np.inf
    for _ in range(BEST_OF):
        state = kit.state(stage, symbols)
        began = time.process_time()
        found = stage.step(state, made)
        best = min(best, time.process_time() - began)
    return best / TICKS * 1e6, len(found["fills"])


def main() -> int:
    """Print a line for each; 1 where a figure is not met."""
    resting = profiles.DEFAULT.fills.model_copy(update={"order": "limit"})
    ways: dict[str, Fills] = {"market at mid (reference)": profiles.REFERENCE.fills,
                              "market, displayed size (default)": profiles.DEFAULT.fills, "limit orders": resting}
    worst = 0.0
    for symbols in (8, 200):
        made = columns(symbols)
        for name, way in ways.items():
            took, filled = microseconds(profiles.DEFAULT.model_copy(update={"fills": way}), made, symbols)
            worst = max(worst, took)
            print(f"ledger, {name}, {symbols} symbols: {took:.2f} us a tick, {filled:,} fills in {TICKS:,} ticks")
    return int(worst >= LIMIT_US)


if __name__ == "__main__":
    sys.exit(main())
