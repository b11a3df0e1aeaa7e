"""Slow values at ticks: which one an alpha reads, from the places and times that the log says.

A value is read from an offset on (a ruling, jobs/chain/slow.py), not before the event time at which it became public,
and not after the one at which it is stale. All three are in the log, so a replay reads the same value at each tick.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

SPEAKS, NONE, NOT_YET, STALE = range(4)
"""Silence of signals.v1, in the order of its symbols."""


class SlowValue(NamedTuple):
    """A value in [-1, 1] that ticks read from offset `first` on, at event times from `known` to `until` (ns)."""

    known: int
    command: int
    """Offset of the indicator, which decides between two that became known at once."""
    first: int
    value: float
    until: int


class Slow(NamedTuple):
    """What each tick reads: the value, how much of its life is left (1 at `known`, 0 at `until`), and the silence."""

    value: NDArray[np.float64]
    life: NDArray[np.float64]
    silence: NDArray[np.int64]


@numba.njit(cache=True)
def _read(known, first, value, until, offset, ts_order, out, life, silence):
    for row in range(offset.shape[0]):
        silence[row] = NONE
        for k in range(known.shape[0] - 1, -1, -1):
            if first[k] > offset[row]:
                continue
            if known[k] > ts_order[row]:
                silence[row] = NOT_YET
                continue
            if ts_order[row] > until[k]:
                silence[row] = STALE
                break
            silence[row], out[row] = SPEAKS, value[k]
            life[row] = (until[k] - ts_order[row]) / max(1, until[k] - known[k])
            break


def read(values: Sequence[SlowValue], offset: NDArray[np.int64], ts_order: NDArray[np.int64]) -> Slow:
    """What ticks read of the values of one name and instrument, sorted: the last one that holds and is public.

    >>> values = [SlowValue(10, 0, 5, 0.5, 30), SlowValue(20, 1, 7, -0.5, 25)]
    >>> found = read(values, np.array([4, 5, 6, 7, 8]), np.array([9, 9, 15, 22, 26]))
    >>> found.value.tolist(), found.silence.tolist()
    ([0.0, 0.0, 0.5, -0.5, 0.0], [1, 2, 0, 0, 3])
    """
    rows = len(offset)
    out, life, silence = np.zeros(rows), np.zeros(rows), np.empty(rows, np.int64)
    _read(np.array([v.known for v in values], np.int64), np.array([v.first for v in values], np.int64),
          np.array([v.value for v in values], np.float64), np.array([v.until for v in values], np.int64),
          np.ascontiguousarray(offset), np.ascontiguousarray(ts_order), out, life, silence)
    return Slow(out, life, silence)


def living(values: Sequence[SlowValue], offset: int, ts_order: int) -> list[SlowValue]:
    """The values that a tick after this one may still read: in a partition offsets and order times never fall.

    >>> [v.value for v in living([SlowValue(10, 0, 5, 0.5, 30), SlowValue(20, 1, 7, -0.5, 25)], 7, 20)]
    [-0.5]
    """
    reached = [k for k, v in enumerate(values) if v.first <= offset and v.known <= ts_order]
    return list(values[reached[-1]:]) if reached else list(values)


def own_or_general(own: Slow, general: Slow) -> Slow:
    """An instrument's own value; where it has none yet, the one for all."""
    at = (own.silence == NONE) | (own.silence == NOT_YET)
    return Slow(np.where(at, general.value, own.value), np.where(at, general.life, own.life),
                np.where(at, general.silence, own.silence))
