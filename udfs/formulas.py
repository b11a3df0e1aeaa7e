"""Formulas of one quote, written once: kernels compile them in line, SQL calls them as vectorised functions.

Each is registered by its decorator with the columns it reads, as alphas are (`udfs/alphas.py`).
"""
from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, update_wrapper
from typing import Any

import numba
import numpy as np


class Ufunc:
    """A scalar function of the columns that its parameters name, as a NumPy ufunc of float64. NaN in gives NaN out.

    It is compiled when it is first used: a client that submits a job never does, and has to wait for none of them. It
    travels to other processes as its name where its module has it, else as the function.
    """

    __name__: str
    __wrapped__: Callable[..., float]

    def __init__(self, function: Callable[..., float]) -> None:
        update_wrapper(self, function)
        self.inputs = tuple(inspect.signature(function).parameters)

    @cached_property
    def _compiled(self) -> Any:
        """Numba's wrapper, which owns the machine code."""
        signature = f"float64({', '.join(['float64'] * len(self.inputs))})"
        return numba.vectorize([signature], cache=True)(self.__wrapped__)

    @property
    def over(self) -> np.ufunc:
        """NumPy's own ufunc: each call of Numba's wrapper costs as much as a few rows."""
        made: np.ufunc = self._compiled.ufunc
        return made

    def __call__(self, *columns: Any) -> Any:
        return self.over(*columns)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        module = sys.modules.get(self.__module__)
        if getattr(module, self.__name__, None) is self:
            return _named, (self.__module__, self.__name__)
        return Ufunc, (self.__wrapped__,)


def _named(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Formula:
    """A scalar function of the columns named by `inputs`; `over` is the same code as a NumPy ufunc."""

    name: str
    compiled: Ufunc

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that it reads."""
        return self.compiled.inputs

    @property
    def over(self) -> np.ufunc:
        """The ufunc of those columns."""
        return self.compiled.over


FORMULAS: dict[str, Formula] = {}


def formula(function: Callable[..., float]) -> Callable[..., Any]:
    """Register a formula under its own name; what is returned compiles into kernels in line."""
    FORMULAS[function.__name__] = Formula(function.__name__, Ufunc(function))
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
