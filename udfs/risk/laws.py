"""Value at risk and CVaR of known laws, in closed form: for oracles, and for the parametric estimators.

All take the tail probability (0.025 for 97.5 %) and give (VaR, CVaR) with losses positive. Source of the formulas:
McNeil, Frey and Embrechts (2015), "Quantitative Risk Management", sections 2.3.4 and 5.2.3.
"""
from __future__ import annotations

import math

import numba
import numpy as np
import scipy  # its parts load when they are first used: no stage needs stats
from numpy.typing import NDArray


def normal(mean: float, deviation: float, tail: float) -> tuple[float, float]:
    """Of normal returns, in their unit.

    >>> [round(value, 4) for value in normal(0.0, 1.0, 0.025)]
    [1.96, 2.3378]
    """
    quantile = scipy.stats.norm.ppf(tail)
    return float(-mean - deviation * quantile), float(-mean + deviation * scipy.stats.norm.pdf(quantile) / tail)


def student(freedom: float, tail: float) -> tuple[float, float]:
    """Of Student t returns scaled to variance 1; ValueError unless `freedom` is above 2.

    >>> [round(value, 4) for value in student(3, 0.025)]
    [1.8374, 2.9096]
    """
    if not freedom > 2:
        raise ValueError(f"risk: Student t has a variance above 2 degrees of freedom only, found {freedom}")
    unit, quantile = math.sqrt((freedom - 2) / freedom), scipy.stats.t.ppf(tail, freedom)
    mean = scipy.stats.t.pdf(quantile, freedom) / tail * (freedom + quantile**2) / (freedom - 1)
    return float(-unit * quantile), float(unit * mean)


@numba.njit(cache=True)
def pareto_tail(threshold, shape, scale, beyond, tail):
    """(VaR, CVaR) where losses above `threshold`, a share `beyond` of all, exceed it by a generalised Pareto law.

    CVaR is infinite from shape 1 on: the tail has no mean. `tail` must be at most `beyond`.

    >>> [round(value, 6) for value in pareto_tail(2.0, 0.25, 0.6, 0.05, 0.025)]
    [2.454097, 3.405463]
    >>> pareto_tail(2.0, 1.0, 0.6, 0.05, 0.025)[1]
    inf
    """
    ratio = beyond / tail
    over = scale * math.log(ratio) if abs(shape) < 1e-9 else scale / shape * (ratio**shape - 1)
    var = threshold + over
    return var, var + (scale + shape * over) / (1 - shape) if shape < 1 else np.inf


def gaussian_tail(returns: NDArray[np.float64], tail: float) -> tuple[float, float]:
    """(VaR, CVaR) as if returns were normal with their sample mean and population standard deviation.

    ValueError for none or for values that are not finite.
    """
    _sample(returns)
    return normal(float(np.mean(returns)), float(np.std(returns)), tail)


def _sample(returns: NDArray[np.float64]) -> None:
    if len(returns) == 0 or not np.isfinite(returns).all():
        raise ValueError("risk: returns must be at least one finite number; drop what is missing before")
