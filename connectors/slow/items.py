"""What all slow sources share: names that never change, plain text, times."""

from __future__ import annotations

import hashlib
import html
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Record = dict[str, Any]
LONGEST = 4_000
"""Characters of a text that are kept."""
NS = 1_000_000_000
_MARKUP = re.compile(r"<[^>]{0,2000}>")


def identity(*parts: object) -> str:
    """A name made of what an item is: 16 hex digits, the same in every process.

    >>> identity("reddit", "t3_1abcde")
    '93abb563c1659161'
    """
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]


def plain(text: object, longest: int = LONGEST) -> str:
    """Text without markup, on one line, cut; what is no text is empty.

    >>> plain("<p>Profit &amp; loss:<br>  up 3&nbsp;%</p>")
    'Profit & loss: up 3 %'
    """
    if not isinstance(text, str):
        return ""
    bare = html.unescape(_MARKUP.sub(" ", text[:20 * longest]))
    return " ".join(bare.encode("utf-8", "ignore").decode().split())[:longest]


def iso_ns(text: str) -> int:
    """Nanoseconds since 1970 of an ISO 8601 time with its zone. Raises ValueError for anything else.

    >>> iso_ns("2026-01-31T09:30:00Z")
    1769851800000000000
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return whole_ns(moment)


def end_of_day_ns(day: str, zone: str) -> int:
    """Nanoseconds since 1970 of the midnight that ends a day in a time zone.

    >>> end_of_day_ns("2026-01-30", "America/Chicago") == iso_ns("2026-01-31T06:00:00Z")
    True
    """
    return whole_ns(datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), ZoneInfo(zone)))


def whole_ns(moment: datetime) -> int:
    """Nanoseconds since 1970, exactly."""
    passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds) * 1_000
