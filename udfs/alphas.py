"""Micro-alphas: each one function from features to a score in [-1, 1], registered by its decorator.

The parameters' names are the features it reads (columns of `features.v1`), so a function is its own declaration. It is
compiled to a NumPy ufunc: the same scalar code for every row, so a score cannot depend on where a batch was cut, and
the same object serves as a Pandas UDF. How a score becomes mu and sigma is learned online by the alphas stage.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from udfs.formulas import vectorised


@dataclass(frozen=True)
class Alpha:
    """A registered alpha: `score` is a ufunc of the columns named by `inputs`."""

    name: str
    inputs: tuple[str, ...]
    score: Callable[..., Any]


REGISTRY: dict[str, Alpha] = {}


def alpha(function: Callable[..., float]) -> Callable[..., Any]:
    """Register a scalar function as an alpha under its own name."""
    inputs, score = vectorised(function)
    REGISTRY[function.__name__] = Alpha(function.__name__, inputs, score)
    return score


@alpha
def book_pressure_vol(imbalance, micro_price, mid, volatility):
    """Logistic of imbalance and of micro-price over volatility: a1 of the reference strategy.

    >>> float(book_pressure_vol(0.0, 10.0, 10.0, 0.0))
    0.0
    """
    drift = (micro_price - mid) / (mid * volatility) if volatility > 0 else 0.0
    return 2 * (1 / (1 + math.exp(-(2.0 * imbalance + 1.0 * drift)))) - 1


@alpha
def book_pressure(imbalance):
    """Logistic of the size imbalance at the touch (Gould and Bonart 2016, "Queue imbalance as a one-tick-ahead …").

    >>> round(float(book_pressure(0.5)), 4)
    0.4621
    """
    return 2 * (1 / (1 + math.exp(-2.0 * imbalance))) - 1


@alpha
def momentum_3_6(mid, volatility, mean_fast, mean_slow):
    """Fast mean of 3 mids over slow mean of 6, in units of volatility: a2 of the reference strategy."""
    return math.tanh(0.5 * (mean_fast - mean_slow) / (mid * volatility)) if volatility > 0 else 0.0


@alpha
def mean_reversion_50(zscore):
    """Against the distance from the mean of 50 mids: a3 of the reference strategy.

    >>> float(mean_reversion_50(6.0))
    -1.0
    """
    return -min(1.0, max(-1.0, zscore / 3))


@alpha
def order_flow(order_flow):
    """Signed flow at the touch over the last 20 changes (Cont, Kukanov, Stoikov 2014)."""
    return math.tanh(3.0 * order_flow)


@alpha
def micro_price_drift(micro_price, mid, spread):
    """Where between bid and ask the micro-price stands (Stoikov 2018): it leads the mid by part of the spread."""
    return math.tanh(2.0 * (micro_price - mid) / spread) if spread > 0 else 0.0
