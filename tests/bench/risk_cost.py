"""Time of one tick in the risk stage under every method and filter, and of the account's joint returns.

    python -m tests.bench.risk_cost

Prints a line a figure; exits 1 where a tick of history, with the EWMA filter or without, takes 1 us or more at
window 500.
"""
from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

import numba
import numpy as np

from tests.kit import quotes, state
from udfs import joint, profiles
from udfs.formulas import FORMULAS
from udfs.profiles import NS, Risk
from udfs.stage import StageState
from udfs.stages import risk

ROWS, WINDOW, SYMBOLS, BOUND_US = 100_000, 500, 10, 1.0


def least(run: Callable[[], object], rounds: int = 5) -> float:
    """Least time of some runs after a first that compiles, seconds."""
    run()
    return min(_timed(run) for _ in range(rounds))


def _timed(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def stage_us(method: str, kind: str) -> float:
    """Time of a tick of the stage, us."""
    ticks = quotes(ROWS)
    ticks["mid"] = FORMULAS["mid"].over(ticks["bid"], ticks["ask"])
    settings = Risk(window=WINDOW, method=method, filter=kind)  # type: ignore[arg-type]
    stage = risk.stage(profiles.DEFAULT.model_copy(update={"risk": settings}))
    held = state(stage)
    return least(lambda: stage.step(held, ticks)) / ROWS * 1e6


@numba.njit
def _feed(symbols, shared, slot, time, mid):
    for row in range(slot.shape[0]):
        joint.update(symbols[slot[row]], shared[0], time[row], mid[row])


@numba.njit
def _repeat(symbols, shared, values, times):
    total = 0.0
    for _ in range(times):
        total += joint.joint_cvar(symbols, shared[0], values, 0.025)[1]
    return total


@numba.njit
def _pairs(symbols, shared, times):
    total = 0.0
    for _ in range(times):
        total += joint.correlation(symbols, shared[0], 0, 1)
    return total


def joint_lines() -> list[str]:
    """Time of a tick, of an account CVaR and of a correlation; bytes a symbol."""
    ticks = quotes(ROWS, SYMBOLS)
    mid, time = FORMULAS["mid"].over(ticks["bid"], ticks["ask"]), ticks["ts_order"] // NS

    def feed() -> StageState:
        held = joint.state(WINDOW, SYMBOLS)
        _feed(held.symbols, held.shared, ticks["slot"], time, mid)
        return held

    held, values = feed(), np.linspace(-1e5, 1e5, SYMBOLS)
    return [
        f"joint returns, {WINDOW} bars, {SYMBOLS} symbols: {least(feed) / ROWS * 1e6:.3f} us a tick, "
        f"{joint.symbol(WINDOW).itemsize} bytes a symbol",
        f"account CVaR of {SYMBOLS} positions: "
        f"{least(lambda: _repeat(held.symbols, held.shared, values, 1_000)) * 1e3:.1f} us",
        f"correlation of two symbols: {least(lambda: _pairs(held.symbols, held.shared, 1_000)) * 1e3:.2f} us"]


def main() -> int:
    """Print and judge."""
    slow = 0
    for method in risk.METHODS:
        for kind in risk.FILTERS:
            took = stage_us(method, kind)
            held = method == "historical" and kind in ("none", "ewma")
            slow += held and not took < BOUND_US
            print(f"risk stage, window {WINDOW}, {method}, filter {kind}: {took:.3f} us a tick"
                  + (f", bound {BOUND_US:.0f} us" if held else ""))
    for line in joint_lines():
        print(line)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
