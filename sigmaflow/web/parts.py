"""A part of the page: data from one source, asked for at most so often, with its age, or the reason why there is none.

A part never gives old data for new. What cannot be had is an `error` and no data; what was had says in `as_of_ms` when
it was last known to be true, which for a stream of events is when its newest event was last seen to be a new one.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from confluent_kafka import KafkaException

from connectors.questdb import QuestDBError
from sigmaflow.errors import UserError

log = logging.getLogger("web")

Record = Mapping[str, Any]
AWAY = (OSError, KafkaException, redis.RedisError, QuestDBError, UserError)
"""What a source raises that does not answer."""
WATCHED_S = 15.0
"""Longest time between two looks for a change between them to count as seen when it happened."""
COST = 10
"""A source is left alone for so many times as long as it took to answer."""


@dataclass(frozen=True)
class Found:
    """What a source said. `newest_ns` is the event time of the newest event in it; None where it speaks of now."""

    data: Record
    newest_ns: int | None = None


@dataclass
class Freshness:
    """When a stream was last known to be current.

    A stream that moves between two looks is as fresh as the second one, whatever its event time: a replay's is long
    ago. One that has not been watched is as old as its newest event. Unit: s since 1970.

    >>> stream = Freshness()
    >>> stream.seen(100_000_000_000, 500.0), stream.seen(101_000_000_000, 501.0), stream.seen(101_000_000_000, 509.0)
    (100.0, 501.0, 501.0)
    >>> stream.seen(102_000_000_000, 900.0)
    102.0
    """

    _newest_ns: int | None = None
    _looked: float = -math.inf
    _fresh: float = 0.0

    def seen(self, newest_ns: int, now: float) -> float:
        """Take a look's newest event; gives the time as of which the stream is known."""
        if newest_ns != self._newest_ns:
            watched = self._newest_ns is not None and now - self._looked <= WATCHED_S
            self._fresh = now if watched else min(now, newest_ns / 1e9)
        self._newest_ns, self._looked = newest_ns, now
        return self._fresh


@dataclass
class _Held:
    """The last answer to one option, and until when it is given again."""

    answer: Record = field(default_factory=dict)
    until: float = -math.inf
    freshness: Freshness = field(default_factory=Freshness)


@dataclass
class Part:
    """One part of the page. `collect` is asked with one of `options`, of which the first is the default."""

    name: str
    source: str
    about: str
    collect: Callable[[str], Found]
    every_s: float = 1.0
    options: tuple[str, ...] = ("",)
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._held = {option: _Held() for option in self.options}

    def get(self, option: str) -> Record:
        """Return {part, source, option, error, as_of_ms, data}; `data` is None exactly where there is an error."""
        held = self._held[option]
        with self._lock:
            if self.clock() >= held.until:
                began = self.clock()
                held.answer = self._ask(option, held.freshness)
                now = self.clock()
                held.until = now + max(self.every_s, COST * (now - began) if held.answer["error"] is None else 0.0)
            return held.answer

    def _ask(self, option: str, freshness: Freshness) -> Record:
        head = {"part": self.name, "source": self.source, "option": option}
        try:
            found = self.collect(option)
        except AWAY as error:
            return head | {"error": silence(self.source, error), "as_of_ms": None, "data": None}
        except Exception as error:
            log.exception("part %s", self.name)
            return head | {"error": f"{self.source} said something unexpected ({type(error).__name__})",
                           "as_of_ms": None, "data": None}
        now = self.clock()
        as_of = now if found.newest_ns is None else freshness.seen(found.newest_ns, now)
        return head | {"error": None, "as_of_ms": round(as_of * 1e3), "data": found.data}


def silence(source: str, error: Exception) -> str:
    """Why there is no data, in a few words.

    >>> silence("Redis", ConnectionRefusedError(111, "refused")), silence("QuestDB", QuestDBError("HTTP 400: no"))
    ('Redis does not answer', 'QuestDB refuses: HTTP 400: no')
    """
    if isinstance(error, QuestDBError) and str(error).startswith("HTTP"):
        return f"{source} refuses: {error}"
    return f"{source} does not answer"
