"""Mid and spread of a quote, for the fills job, which reads ticks and not features."""
from __future__ import annotations

from udfs.formulas import FORMULAS
from udfs.stage import Columns, Stage, StageState


def step(state: StageState, columns: Columns) -> Columns:
    """Add `mid` and `spread`, as features computes them."""
    bid, ask = columns["bid"], columns["ask"]
    return columns | {name: FORMULAS[name].over(bid, ask) for name in ("mid", "spread")}


def stage() -> Stage:
    """The stateless quotes stage."""
    return Stage("quotes", step)
