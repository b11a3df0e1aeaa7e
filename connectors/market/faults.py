"""What goes wrong with real feeds, done to a clean stream on request and with a seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from connectors.market.columns import Ticks
from sigmaflow.errors import UserError

STALE_NS = 60_000_000_000
"""How far behind a stale clock stands: one minute."""


@dataclass(frozen=True)
class Faults:
    """Probability of each fault for each tick, 0 to 1.

    `gaps`: the tick is lost, so the next seq of its symbol is two higher. `duplicates`: it comes twice in a row.
    `crossed`: bid and ask trade places (a spread of one cent is then a cross of one cent). `stale_clock`: its event
    time is one minute behind.
    """

    gaps: float = 0.0
    duplicates: float = 0.0
    crossed: float = 0.0
    stale_clock: float = 0.0

    def __post_init__(self) -> None:
        for name in ("gaps", "duplicates", "crossed", "stale_clock"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError("simulate", f"{name} must be a probability from 0 to 1", f"it is {getattr(self, name)}",
                                f"give another {name}")


def inject(ticks: Ticks, faults: Faults, rng: np.random.Generator, tally: Counter[str] | None = None) -> Ticks:
    """The same ticks with faults. Four numbers are drawn a tick, so chunk borders do not change the result."""
    draw = rng.random((len(ticks), 4))
    lost, twice = draw[:, 0] < faults.gaps, draw[:, 1] < faults.duplicates
    crossed, stale = draw[:, 2] < faults.crossed, draw[:, 3] < faults.stale_clock
    if not (lost.any() or twice.any() or crossed.any() or stale.any()):
        return ticks
    faulty = replace(
        ticks,
        bid=np.where(crossed, ticks.ask, ticks.bid),
        ask=np.where(crossed, ticks.bid, ticks.ask),
        ts_event=ticks.ts_event - STALE_NS * stale,
    )
    times = np.where(lost, 0, 1 + twice)
    if tally is not None:
        kept = ~lost
        tally.update({"gaps": int(lost.sum()), "duplicates": int((twice & kept).sum()),
                      "crossed": int((crossed * times).sum()), "stale_clock": int((stale * times).sum())})
    return faulty.take(np.repeat(np.arange(len(ticks)), times))
