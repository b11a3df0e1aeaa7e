"""What a process of slow data has done, and the same as Prometheus metrics.

A part is what is looked at by itself: a series, a feed, a forum, a topic. Its age counts from the last look that
succeeded, or from the start while none has, so a part that never answers is seen as well as one that has stopped to.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from connectors.metrics import counter, gauge
from connectors.venues.errors import RateLimited, Refused, VenueError
from connectors.venues.rest import REQUESTS, no_requests

KINDS: tuple[tuple[type[VenueError], str], ...] = ((RateLimited, "limited"), (Refused, "refused"))
"""First match names an error; any other is `lost`."""


def kind(error: VenueError) -> str:
    """One word for why a look failed.

    >>> kind(Refused("no such series")), kind(RateLimited(429, 9.0)), kind(VenueError("no answer"))
    ('refused', 'limited', 'lost')
    """
    return next((word for of, word in KINDS if isinstance(error, of)), "lost")


@dataclass
class Health:
    """Counts since the start. `every_s` is the time between two looks at the same part."""

    source: str
    parts: Sequence[str] = ()
    every_s: float = 0.0
    requests: dict[str, float] = field(default_factory=no_requests)
    gaps: Callable[[], int] = lambda: 0
    """Times that more had come since the last look than the host still tells."""
    monotonic: Callable[[], float] = time.monotonic
    looks: int = 0
    items: int = 0
    """Records written and confirmed."""
    errors: Counter[str] = field(default_factory=Counter)
    """Failed looks by kind."""
    succeeded: dict[str, float] = field(default_factory=dict)
    """When a part was last looked at with success, by `monotonic`."""

    def __post_init__(self) -> None:
        self.succeeded = dict.fromkeys(self.parts, self.monotonic())

    def success(self, part: str, items: int) -> None:
        """A look has succeeded, and what it gave is confirmed."""
        self.items += items
        self.succeeded[part] = self.monotonic()

    def line(self) -> str:
        """One line for the log."""
        failed = ", ".join(f"{count} {word}" for word, count in sorted(self.errors.items())) or "none failed"
        return f"{self.source}: {self.items:,} new records in {self.looks:,} looks, {failed}, {self.gaps()} gaps"


class SlowExporter(Collector):
    """Turns health into metric families whenever Prometheus asks."""

    def __init__(self, *healths: Health) -> None:
        self._healths = healths

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        healths, label = {(h.source,): h for h in self._healths}, ("source",)
        yield gauge("sigmaflow_slow_last_success_age_seconds", "Time since the last look that succeeded.",
                    ("source", "part"), {(h.source, part): h.monotonic() - at for h in self._healths
                                         for part, at in dict(h.succeeded).items()})
        yield gauge("sigmaflow_slow_interval_seconds", "Time between two looks at the same part.", label,
                    {key: h.every_s for key, h in healths.items()})
        for name, text in (("looks", "Looks at a part"), ("items", "Records written and confirmed")):
            yield counter(f"sigmaflow_slow_{name}", f"{text}.", label,
                          {key: getattr(h, name) for key, h in healths.items()})
        yield counter("sigmaflow_slow_gaps", "Times that more had come than the host still tells.", label,
                      {key: h.gaps() for key, h in healths.items()})
        yield counter("sigmaflow_slow_errors", "Failed looks by kind: lost, limited, refused, no_score.",
                      ("source", "kind"), {(h.source, word): n for h in self._healths
                                           for word, n in dict(h.errors).items()})
        for name, text in REQUESTS.items():
            yield counter(f"sigmaflow_slow_requests_{name}", f"{text}.", label,
                          {key: h.requests[name] for key, h in healths.items()})
