"""What an operator tells Prometheus of its micro-batches: ticks, gaps, time of a call, age of a tick, memory.

Counters only. In thread mode a gauge would be read by the reporter's thread through the interpreter, and
`distribution()` arrives as 0 (shared fact 28 of PyFlink 2.3); so a histogram is a counter for each bucket, labelled
`le`, and memory is a counter that goes up and down. Flink puts `flink_taskmanager_job_task_operator_` before each name
and adds the operator's name as a label. Nothing here reaches a message.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the buckets. Signals are promised within 20 ms, decisions within 100 ms. Unit: s."""

LIVE_S = 60.0
"""A tick received longer ago than this is replayed, and its age is no latency. Unit: s."""

FLUSH_S = 1.0
"""How often counts leave the interpreter: every counter costs a call into the JVM, and a micro-batch comes each few ms.
Where ticks end, what is left of the last second waits for the next tick. Unit: s."""

STATM = Path("/proc/self/statm")
PAGE_BYTES = 4096


class Counter(Protocol):
    """A counter of Flink's."""

    def inc(self, n: int) -> None: ...


Make = Callable[[str, str], Counter]
"""The counter of a name and of a value of its label `le`, which is empty where it has none."""


@dataclass(frozen=True)
class Seen:
    """What a worker saw in its last micro-batch. `received`: when a source received each accepted tick, ns since 1970;
    none where the input does not say."""

    ticks: int = 0
    gaps: int = 0
    received: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0, np.int64))


class Meters:
    """The counters of one operator.

    >>> counts = {}
    >>> class Plain:
    ...     def __init__(self, name): self.name = name
    ...     def inc(self, n): counts[self.name] = counts.get(self.name, 0) + n
    >>> meters = Meters(lambda name, le: Plain(f"{name} {le}".strip()))
    >>> meters.observe("tick_age", np.array([0.004, 0.015, 99.0]))
    >>> meters.flush()
    >>> [counts[f"tick_age_{name}"] for name in ("seconds_bucket 0.005", "seconds_bucket +Inf", "milliseconds_sum")]
    [1, 2, 19]
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._counters: dict[tuple[str, str], Counter] = {}
        self._waiting: dict[tuple[str, str], int] = {}
        self._calls: list[float] = []
        self._ages: list[np.ndarray[Any, Any]] = []
        self._resident, self._next_flush = 0, 0.0

    def call(self, seconds: float, seen: Seen) -> None:
        """Count one call that took so long and saw this. Buckets are counted at the next flush, for all calls at once.
        """
        self._calls.append(seconds)
        self._ages.append(time.time_ns() - seen.received)
        self._count("ticks", seen.ticks)
        self._count("gaps", seen.gaps)
        now = time.monotonic()
        if now >= self._next_flush:
            self._next_flush = now + FLUSH_S
            self.observe("call", np.array(self._calls))
            self.observe("tick_age", np.concatenate(self._ages) / 1e9)
            self._calls, self._ages = [], []
            self._memory()
            self.flush()

    def observe(self, name: str, seconds: np.ndarray[Any, Any]) -> None:
        """Count durations into cumulative buckets; those of a clock ahead of ours or of a replay are left out."""
        live = seconds[(seconds >= 0) & (seconds <= LIVE_S)]
        if not len(live):
            return
        below = np.searchsorted(np.sort(live), BOUNDS_S, side="right")
        for bound, count in zip(BOUNDS_S, below.tolist(), strict=True):
            self._count(f"{name}_seconds_bucket", count, str(bound))
        self._count(f"{name}_seconds_bucket", len(live), "+Inf")
        self._count(f"{name}_milliseconds_sum", round(1e3 * float(live.sum())))

    def flush(self) -> None:
        """Hand over what was counted. Counters of 0 are made too: a bucket that is missing is none to Prometheus."""
        for key, n in self._waiting.items():
            if key not in self._counters:
                self._counters[key] = self._make(*key)
            if n:
                self._counters[key].inc(n)
                self._waiting[key] = 0

    def _count(self, name: str, n: int, le: str = "") -> None:
        self._waiting[name, le] = self._waiting.get((name, le), 0) + n

    def _memory(self) -> None:
        """Note the memory of the process that runs Python: in thread mode the whole TaskManager."""
        if STATM.exists():
            resident = int(STATM.read_text().split()[1]) * PAGE_BYTES
            self._count("process_resident_bytes", resident - self._resident)
            self._resident = resident
