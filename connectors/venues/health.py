"""What a feed has seen, and the same as Prometheus metrics.

Every frame is counted once: used, ignored by its kind, or rejected with a reason.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import orjson
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from connectors.metrics import Histogram, counter, gauge, histogram

NS = 1_000_000_000
KEPT = 100
"""Rejected frames whose words are kept."""
LONGEST_LATENCY_S = 60.0
"""A message that is later is a snapshot of the past or a replay, and no latency."""

REASONS: tuple[tuple[type[Exception], str], ...] = (
    (orjson.JSONDecodeError, "not_json"), (UnicodeDecodeError, "not_json"), (KeyError, "missing_field"),
    (IndexError, "missing_field"), (OverflowError, "out_of_range"), (ValueError, "no_number"),
    (TypeError, "wrong_type"), (AttributeError, "wrong_type"))
"""First match names a rejected frame's reason; any other is `malformed`."""


def reason(error: Exception) -> str:
    """One word for why a frame was rejected.

    >>> reason(KeyError("bids")), reason(ValueError("could not convert string to float: '0.-10000'"))
    ('missing_field', 'no_number')
    """
    return next((word for kind, word in REASONS if isinstance(error, kind)), "malformed")


@dataclass
class Health:
    """Counts of one feed since its start."""

    venue: str
    monotonic: Callable[[], float] = time.monotonic
    connected: bool = False
    used: Counter[str] = field(default_factory=Counter)
    """Frames by kind that said something."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Frames by kind that are not used."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Frames by reason that could not be read."""
    words: list[str] = field(default_factory=list)
    """Why the first of them could not be read."""
    ticks: int = 0
    reconnects: int = 0
    gaps: int = 0
    resyncs: int = 0
    limited: int = 0
    """Times that the venue said to wait."""
    checks: Counter[str] = field(default_factory=Counter)
    """Comparisons of the book's touch with the venue's own best bid and offer: `equal`, `different`."""
    latency: Histogram = field(default_factory=Histogram)
    ahead: int = 0
    """Messages that the venue sent after we received them: one of the clocks is wrong, and no latency is known."""
    ahead_s: float = 0.0
    """How much the last such message was ahead."""
    heard: float | None = None
    """When the last message came, by `monotonic`."""

    @property
    def frames(self) -> int:
        """All frames."""
        return self.used.total() + self.ignored.total() + self.rejected.total()

    def reject(self, error: Exception) -> None:
        """Count a frame that could not be read."""
        self.rejected[reason(error)] += 1
        if len(self.words) < KEPT:
            self.words.append(f"{type(error).__name__}: {error}")

    def arrived(self, ts_recv: int, sent_ns: int) -> None:
        """Take the times of a message that says when it was sent."""
        delay = (ts_recv - sent_ns) / NS
        if delay < 0:
            self.ahead += 1
            self.ahead_s = -delay
        elif delay <= LONGEST_LATENCY_S:
            self.latency.observe(delay)

    def line(self) -> str:
        """One line for the log."""
        return (f"{self.venue}: {self.frames:,} frames ({self.used.total():,} used, {self.ignored.total():,} ignored, "
                f"{self.rejected.total():,} rejected), {self.ticks:,} ticks, {self.gaps} gaps, {self.resyncs} resyncs, "
                f"{self.reconnects} reconnects")


class VenueExporter(Collector):
    """Turns the health of feeds into metric families whenever Prometheus asks."""

    def __init__(self, *feeds: Health) -> None:
        self._feeds = feeds

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        feeds, label = {(h.venue,): h for h in self._feeds}, ("venue",)
        yield gauge("sigmaflow_venue_connection_state", "1 while the feed is connected.", label,
                    {key: float(h.connected) for key, h in feeds.items()})
        yield gauge("sigmaflow_venue_last_message_age_seconds", "Time since the last message.", label,
                    {key: h.monotonic() - h.heard for key, h in feeds.items() if h.heard is not None})
        yield gauge("sigmaflow_venue_clock_ahead_seconds", "How much a message was last sent after its receipt.", label,
                    {key: h.ahead_s for key, h in feeds.items()})
        for name, text in (("ticks", "Ticks written"), ("gaps", "Times that messages of the venue were lost"),
                           ("reconnects", "Connections made again"), ("resyncs", "Books started anew on our request"),
                           ("limited", "Times that the venue said to wait")):
            yield counter(f"sigmaflow_venue_{name}", f"{text}.", label, {k: getattr(h, name) for k, h in feeds.items()})
        yield counter("sigmaflow_venue_clock_ahead", "Messages sent after their receipt: a clock is wrong.", label,
                      {key: h.ahead for key, h in feeds.items()})
        yield counter("sigmaflow_venue_messages", "Messages by kind, used or ignored.", ("venue", "kind", "fate"),
                      {(h.venue, kind, fate): n for h in self._feeds for fate in ("used", "ignored")
                       for kind, n in dict(getattr(h, fate)).items()})
        yield counter("sigmaflow_venue_rejected_messages", "Messages that could not be read.", ("venue", "reason"),
                      {(h.venue, why): n for h in self._feeds for why, n in dict(h.rejected).items()})
        yield counter("sigmaflow_venue_book_checks", "The kept book against the venue's own best bid and offer.",
                      ("venue", "result"),
                      {(h.venue, result): n for h in self._feeds for result, n in dict(h.checks).items()})
        yield histogram("sigmaflow_venue_latency_seconds", "Sent by the venue to received, where the clocks agree.",
                        label, {key: h.latency for key, h in feeds.items()})
