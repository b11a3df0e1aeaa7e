"""Test kit: a stage run over columns, cut where one likes; its state as a job would keep it."""
from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from udfs.stage import Columns, Stage, StageState


def state(stage: Stage, symbols: int = 16) -> StageState:
    """Fresh state with room for some symbols."""
    return StageState(np.zeros(symbols, stage.symbol), np.zeros(1, stage.shared))


def run(stage: Stage, columns: Columns, cuts: Iterable[int] = (), held: StageState | None = None) -> Columns:
    """Step through the columns in pieces that end at `cuts`; the pieces' columns joined. Scalars pass as they are."""
    kept = held or state(stage)
    rows = len(columns["slot"])
    edges = [0, *sorted(cuts), rows]
    parts = [stage.step(kept, {name: values[a:b] if np.ndim(values) else values for name, values in columns.items()})
             for a, b in pairwise(edges)]
    return {name: np.concatenate([part[name] for part in parts]) if np.ndim(parts[0][name]) else parts[0][name]
            for name in parts[0]}


def same(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Assert that two runs gave the same bits."""
    assert left.keys() == right.keys()
    for name, values in left.items():
        assert np.array_equal(values, right[name], equal_nan=np.asarray(values).dtype.kind == "f"), name


def quotes(rows: int, symbols: int = 3, seed: int = 1) -> Columns:
    """Accepted ticks of some symbols on a cent grid, interleaved: wild and calm by turns, sizes never stand still."""
    rng = np.random.default_rng(seed)
    slot = rng.integers(0, symbols, rows)
    largest = np.array([2, 1, 20])[np.arange(rows) * 6 // rows % 3]
    steps = rng.integers(-largest, largest + 1) * (rng.random(rows) < 0.6)
    bid = np.empty(rows)
    for s in range(symbols):
        at = slot == s
        bid[at] = (10_000 + 5_000 * s + np.cumsum(steps[at])) / 100
    made = {"slot": slot, "slots": symbols, "bid": bid, "ask": bid + rng.integers(1, 4, rows) / 100,
            "bid_size": rng.uniform(1, 50, rows), "ask_size": rng.uniform(1, 50, rows),
            "ts_order": 1_700_000_000_000_000_000 + np.cumsum(rng.integers(0, 10**8, rows))}
    return made | {"last_price": bid, "last_size": rng.integers(1, 9, rows) / 10, "last_side": rng.integers(0, 3, rows)}


def untraded(rows: int) -> Columns:
    """The last trades of ticks of a venue that sends none."""
    return {"last_price": np.full(rows, np.nan), "last_size": np.full(rows, np.nan),
            "last_side": np.zeros(rows, np.int64)}
