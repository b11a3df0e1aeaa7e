"""Formulas of one quote, written once: kernels compile them in line, SQL calls them as vectorised functions.

Each is registered by its decorator with the columns it reads, as alphas are (`udfs/alphas.py`).
"""
from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba


@dataclass(frozen=True)
class Formula:
    """A scalar function of the columns named by `inputs`; `over` is the same code as a NumPy ufunc."""

    name: str
    inputs: tuple[str, ...]
    over: Callable[..., Any]


FORMULAS: dict[str, Formula] = {}


def vectorised(function: Callable[..., float]) -> tuple[tuple[str, ...], Any]:
    """Names of the inputs, and the function compiled to a ufunc of float64 columns. NaN in gives NaN out."""
    inputs = tuple(inspect.signature(function).parameters)
    signature = f"float64({', '.join(['float64'] * len(inputs))})"
    return inputs, numba.vectorize([signature], cache=True)(function)


def formula(function: Callable[..., float]) -> Callable[..., Any]:
    """Register a formula under its own name; what is returned compiles into kernels in line."""
    FORMULAS[function.__name__] = Formula(function.__name__, *vectorised(function))
    return numba.njit(cache=True, inline="always")(function)


@formula
def mid(bid, ask):
    """Mean of bid and ask, quote currency.

    >>> mid(9.0, 11.0)
    10.0
    """
    return (bid + ask) / 2


@formula
def spread(bid, ask):
    """Ask minus bid, quote currency.

    >>> spread(9.0, 11.0)
    2.0
    """
    return ask - bid


@formula
def imbalance(bid_size, ask_size):
    """Size at the bid less size at the ask, over both: a fraction in [-1, 1].

    >>> imbalance(3.0, 1.0)
    0.5
    """
    return (bid_size - ask_size) / (bid_size + ask_size)


@formula
def micro_price(bid, ask, bid_size, ask_size):
    """Mid weighted by the opposite side's size, quote currency (Stoikov 2018, equation 1).

    >>> micro_price(9.0, 11.0, 3.0, 1.0)
    10.5
    """
    return (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
