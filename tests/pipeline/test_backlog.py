"""A backlog whose partitions are not alike: one is full, one holds a quarter of it, one falls silent, one is empty."""
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors import consume
from connectors.market.columns import Ticks, concat
from connectors.market.simulator import Config, generate
from connectors.partitioner import partition
from jobs.chain.topology import READ_AHEAD
from sigmaflow.runs import Run
from sigmaflow.settings import Settings

FULL, PART, SILENT, EMPTY = range(4)
"""Partitions by what the simulator's ten symbols bring to them: half of all ticks, and a sixth each."""

TICKS, BACKLOG = 400_000, 390_000
IN_FLIGHT = READ_AHEAD
"""Messages that were fetched, or on their way, when a partition is paused: far fewer than the 38,000 that PART would be
ahead by its end."""


@pytest.fixture(scope="module")
def market() -> tuple[Ticks, NDArray[np.int64]]:
    """Ticks, and the partition of each."""
    ticks = concat(generate(Config(count=TICKS)))
    of = np.array([partition(f"{venue}:{symbol}".encode(), 4) for venue, symbol in ticks.instruments])
    return ticks, of[ticks.instrument]


def test_partitions_are_read_in_step_and_none_stays_behind(stack: Settings,
                                                           market: tuple[Ticks, NDArray[np.int64]]) -> None:
    ticks, of = market
    rows = np.arange(TICKS)
    kept = (of == FULL) | (of == PART) | (of == SILENT) & (rows < BACKLOG // 10)
    backlog, later = np.flatnonzero(kept & (rows < BACKLOG)), rows[BACKLOG:]
    with Run("backlog", "default", taps="features.v1", settings=stack, submit=False) as r:
        r.writer.write(ticks.take(backlog))
        r.writer.flush()
        r.start()
        r.settle()
        times = {p: ticks.ts_event[backlog[of[backlog] == p]] for p in (FULL, PART)}
        read = {p: written(stack, r.topic("features.v1"), p, len(times[p])) for p in (FULL, PART)}
        ahead = furthest_ahead(times, read)
        r.writer.write(ticks.take(later))
        r.settle()
        assert r.ends()["features.v1"] == len(backlog) + len(later)
    assert READ_AHEAD // 2 < ahead < READ_AHEAD + IN_FLIGHT


def written(stack: Settings, topic: str, number: int, count: int) -> NDArray[np.int64]:
    """When each message of a partition was written, milliseconds."""
    return np.array([m.timestamp()[1] for m in consume.partition(topic, number, 0, count, stack)])


def furthest_ahead(times: dict[int, NDArray[np.int64]], read: dict[int, NDArray[np.int64]]) -> int:
    """Most messages of PART that were there at one time and later than what was there of FULL."""
    assert {p: len(read[p]) for p in read} == {p: len(times[p]) for p in times}
    there = np.maximum(np.searchsorted(read[FULL], read[PART], "right") - 1, 0)
    return int((np.arange(1, len(read[PART]) + 1) - np.searchsorted(times[PART], times[FULL][there])).max())
