"""How long to wait before the next attempt: longer each time, never the same for two processes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from random import Random

MOMENT = 1e9
"""A number of seconds above this is a moment since 1970, and no span."""


class Backoff:
    """Exponential backoff with equal jitter: between half and the whole of `base_s` times two to the attempts so far.

    >>> backoff = Backoff(Random(7), base_s=1.0, cap_s=4.0)
    >>> [round(backoff.next_s(), 2) for _ in range(4)]
    [0.66, 1.15, 3.3, 2.14]
    """

    def __init__(self, rng: Random, base_s: float, cap_s: float) -> None:
        self._rng, self._base_s, self._cap_s = rng, base_s, cap_s
        self.attempts = 0

    def next_s(self) -> float:
        """Seconds to wait now."""
        longest = min(self._cap_s, self._base_s * 2.0 ** min(self.attempts, 60))
        self.attempts += 1
        return longest * (0.5 + 0.5 * self._rng.random())

    def reset(self) -> None:
        """Begin anew: it has worked."""
        self.attempts = 0


def asked_s(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds that an answer of 429 or 418 asks for, 0 where it says nothing.

    By Retry-After; else by X-RateLimit-Reset, which is a moment (Alpaca: seconds since 1970) or a span (Reddit).

    >>> from datetime import UTC
    >>> now = datetime(2026, 8, 9, 21, 0, 0, tzinfo=UTC)
    >>> asked_s({"retry-after": "120"}, now), asked_s({"x-ratelimit-reset": "1786309230"}, now)
    (120.0, 30.0)
    >>> asked_s({"x-ratelimit-reset": "17"}, now), asked_s({"x-ratelimit-reset": "soon"}, now), asked_s({}, now)
    (17.0, 0.0, 0.0)
    """
    if "retry-after" in headers:
        return retry_after_s(headers["retry-after"], now)
    try:
        reset = float(headers.get("x-ratelimit-reset", "0"))
    except ValueError:
        return 0.0
    span = reset - now.timestamp() if reset > MOMENT else reset
    return max(0.0, span) if isfinite(span) else 0.0


def retry_after_s(value: str | None, now: datetime) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date; 0 for none or one that cannot be read.

    >>> from datetime import UTC
    >>> now = datetime(2026, 8, 9, 21, 0, 0, tzinfo=UTC)
    >>> retry_after_s("120", now), retry_after_s("Sun, 09 Aug 2026 21:00:30 GMT", now), retry_after_s("soon", now)
    (120.0, 30.0, 0.0)
    """
    if not value:
        return 0.0
    try:
        return max(0.0, float(value)) if value.strip().isdigit() else max(
            0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return 0.0
