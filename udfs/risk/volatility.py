"""Conditional volatility of the next return: exponentially weighted, and GARCH(1,1) with variance targeting.

EWMA: variance is decay * variance + (1 - decay) * return^2 (RiskMetrics 1996). GARCH(1,1) (Bollerslev 1986) with its
constant set from the symbol's long-run variance (variance targeting, Engle and Mezrich 1996): one pair alpha, beta from
the profile then serves symbols of any scale. The pair is estimated off the hot path by `fit`.

Prices of ticks stand still for long, and an exponentially weighted variance forgets all it knew meanwhile: conditional
volatility is therefore held at or above a share of the long-run one.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

FLAT, EWMA, GARCH = 0, 1, 2
"""No filter; exponentially weighted; GARCH(1,1)."""

FILTERS = ("none", "ewma", "garch")
"""Their names in a profile, in the order of the numbers."""


@numba.njit(cache=True, inline="always")
def garch(variance, change, constant, alpha, beta):
    """Variance of the next return after `change`, whose own variance was `variance`."""
    return constant + alpha * change * change + beta * variance


@numba.njit(cache=True, inline="always")
def next_variance(kind, variance, long_run, change, count, decay, alpha, beta):
    """Variance of the next return after the `count`-th, a plain mean of squares while that weighs the newest more."""
    if kind == EWMA:
        weight = max(1 - decay, 1 / count)
        return variance + weight * (change * change - variance)
    if kind == GARCH:
        return garch(variance, change, (1 - alpha - beta) * long_run, alpha, beta)
    return 1.0


@numba.njit(cache=True, inline="always")
def standardised(change, deviation):
    """Return over its conditional volatility; the first move of a price that never moved is one of size 1."""
    if deviation > 0:
        return change / deviation
    return float(np.sign(change))


def ewma_path(returns: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Volatility known before each return, and after the last: one longer than `returns`, same unit, first one 0.

    >>> ewma_path(np.array([0.01, -0.02]), 0.94).round(6).tolist()
    [0.0, 0.01, 0.015811]
    """
    return _path(np.asarray(returns, float), EWMA, 0.0, decay, 0.0, 0.0)


def garch_path(returns: NDArray[np.float64], model: Garch) -> NDArray[np.float64]:
    """Volatility known before each return, and after the last, under a fixed model started at its long-run variance."""
    return _path(np.asarray(returns, float), GARCH, model.long_run, 0.0, model.alpha, model.beta)


@numba.njit(cache=True)
def _path(returns, kind, long_run, decay, alpha, beta):
    out = np.empty(returns.shape[0] + 1)
    variance = long_run
    out[0] = math.sqrt(variance)
    for k in range(returns.shape[0]):
        variance = next_variance(kind, variance, long_run, returns[k], k + 1, decay, alpha, beta)
        out[k + 1] = math.sqrt(variance)
    return out


@dataclass(frozen=True)
class Garch:
    """A GARCH(1,1): weights of the last squared return and the last variance, and the variance it returns to."""

    alpha: float
    beta: float
    long_run: float


LEAST_RETURNS = 250
"""Fewest returns a GARCH is fitted to: estimates from less are mostly noise (Hwang and Valls Pereira 2006)."""


def fit(returns: NDArray[np.float64]) -> Garch:
    """Quasi-maximum-likelihood GARCH(1,1) with zero mean, by `arch`. Off the hot path.

    ValueError for fewer than LEAST_RETURNS, values that are not finite, returns that never move, and where the
    optimiser does not converge or ends at a variance without a mean (alpha + beta at 1).
    """
    from arch import arch_model  # heavy, and no stage needs it

    if len(returns) < LEAST_RETURNS or not np.isfinite(returns).all() or not np.std(returns) > 0:
        raise ValueError(f"risk: GARCH needs at least {LEAST_RETURNS} finite returns that move, found {len(returns)}")
    scale = 1 / float(np.std(returns))
    result = arch_model(returns * scale, mean="Zero", vol="GARCH", p=1, q=1).fit(disp="off")
    alpha, beta = float(result.params["alpha[1]"]), float(result.params["beta[1]"])
    if result.convergence_flag or not alpha + beta < 1:
        raise ValueError(f"risk: GARCH does not settle on these returns (alpha {alpha:.3f}, beta {beta:.3f}); use EWMA")
    return Garch(alpha, beta, float(result.params["omega"]) / (1 - alpha - beta) / scale**2)
