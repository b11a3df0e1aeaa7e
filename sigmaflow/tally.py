"""What a proof counts, and the JSON line that ends its command."""
from __future__ import annotations

import json
import time
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of a command that proves something. `cases` are messages, records or inputs that were looked at."""

    cases: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    found: int = 0
    began: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        """The counts and the seconds since the beginning, as one JSON object."""
        counts = {name: getattr(self, name) for name in ("cases", "lost", "doubled", "differing", "found")}
        return json.dumps(counts | {"seconds": round(time.monotonic() - self.began, 1)})

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled, different or found.

        >>> Tally(cases=3).clean, Tally(cases=3, lost=1).clean
        (True, False)
        """
        return not (self.lost or self.doubled or self.differing or self.found)
