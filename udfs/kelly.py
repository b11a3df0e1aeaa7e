"""Kelly bets: the part of the equity whose bet makes log wealth grow fastest, shrunk for what mu may be wrong by.

For a return with mean mu and variance sigma^2 over one horizon the growth of log(1 + f r) is f mu - f^2 sigma^2 / 2 to
the second order, and its maximum is at f = mu / sigma^2 (Kelly 1956; Thorp 2006, section 7). mu is the mean of the
simple return; a log return's mean is lower by sigma^2 / 2, so taking it for mu bets less, never more.

mu is an estimate. A bet that is scaled by k = mu^2 / (mu^2 + e^2), where e is the standard error of mu, has the highest
expected growth under that error to the same order (Baker and McHale 2013, equation 6).
"""
from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)
def fraction(mu, sigma):
    """Full Kelly fraction of the equity, signed; infinite where only sigma is 0, 0 where mu is 0 or either is NaN.

    >>> fraction(0.0005, 0.02)
    1.25
    >>> fraction(-0.01, 0.0), fraction(0.0, 0.0), fraction(0.01, float("nan"))
    (-inf, 0.0, 0.0)
    """
    variance = sigma * sigma
    if not (abs(mu) > 0 and variance >= 0):
        return 0.0
    return mu / variance if variance > 0 else np.copysign(np.inf, mu)


@numba.njit(cache=True)
def shrinkage(mu, error):
    """Part of the bet that is left when mu has the standard error `error`: in [0, 1], 0 where mu is 0 or either NaN.

    >>> shrinkage(0.01, 0.0), shrinkage(0.01, 0.01), shrinkage(0.0, 0.01)
    (1.0, 0.5, 0.0)
    """
    square = mu * mu
    if not (square > 0 and error * error >= 0):
        return 0.0
    return square / (square + error * error)


def ratio(returns: NDArray[np.float64], risk_free: NDArray[np.float64] | float = 0.0) -> float:
    """Kelly fraction of a record of returns: mean in excess of the risk-free one over their sample variance (n - 1).

    NaN for fewer than two returns, and where they do not vary: a record without risk has no finite best bet.

    >>> round(ratio(np.array([0.02, -0.01, 0.03, 0.0])), 9)
    30.0
    >>> ratio(np.array([0.5, 0.5])), ratio(np.array([0.01]))
    (nan, nan)
    """
    variance = float(np.var(returns, ddof=1)) if len(returns) > 1 else 0.0
    return float(np.mean(returns - risk_free)) / variance if variance > 0 else float("nan")
