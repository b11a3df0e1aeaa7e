"""Sends chunks of ticks in time: each tick when its receive time has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from connectors.market.columns import Ticks

STEP_S = 0.003
"""Shortest sleep: ticks of 3 ms leave together, which bounds what pacing adds to a measured latency."""
IDLE_S = 0.2
"""Longest sleep, so that a request to stop is heard."""


class Writer(Protocol):
    """Where ticks go, for example `connectors.ticks.TickWriter`."""

    def write(self, ticks: Ticks) -> None:
        """Take a chunk in its order."""


@dataclass
class Sent:
    """What `send` has done."""

    ticks: int = 0
    behind_s: float = 0.0
    """Most that a tick left after its time, in seconds: source or broker too slow, or the machine busy."""


class Clock:
    """Time in the recording while it is played at `speed` times its own pace, None as fast as it goes."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._origin: tuple[int, float] | None = None

    def reached(self, first_ns: int) -> int:
        """Receive time (ns) that has come; `first_ns` is now when this is called for the first time."""
        if self._speed is None:
            return 2**63 - 1
        if self._origin is None:
            self._origin = first_ns, time.monotonic()
        begin_ns, begin_s = self._origin
        return begin_ns + int((time.monotonic() - begin_s) * self._speed * 1e9)

    def seconds(self, recording_ns: int) -> float:
        """How long a stretch of the recording takes to play."""
        return 0.0 if self._speed is None else recording_ns / 1e9 / self._speed


def never() -> bool:
    """Go on to the end."""
    return False


def send(
    chunks: Iterable[Ticks],
    writer: Writer,
    speed: float | None = 1.0,
    stop: Callable[[], bool] = never,
    progress: Callable[[int], None] = lambda ticks: None,
) -> Sent:
    """Send every chunk; the first tick leaves now, the others as much later as they were received later.

    Stops early when `stop()` is true. `progress` gets the number of ticks just sent. Does not flush.
    """
    sent, clock = Sent(), Clock(speed)
    for chunk in chunks:
        times = np.maximum.accumulate(chunk.ts_recv)  # a receive time that steps back must not overtake
        at = 0
        while at < len(chunk) and not stop():
            now = clock.reached(int(times[0]))
            due = int(np.searchsorted(times, now, side="right"))
            if due <= at:
                time.sleep(min(max(clock.seconds(int(times[at]) - now), STEP_S), IDLE_S))
                continue
            sent.behind_s = max(sent.behind_s, clock.seconds(now - int(times[at])))
            writer.write(chunk.take(slice(at, due)))
            sent.ticks += due - at
            progress(due - at)
            at = due
        if stop():
            break
    return sent
