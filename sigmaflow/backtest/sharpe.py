"""What a Sharpe ratio is worth: its standard error, and its deflation by how many were tried.

Ratios are per bar, not annualised. Who tries many settings and takes the best finds a high ratio in pure noise: the
deflated Sharpe ratio is the probability that the best one's true ratio is above 0 all the same.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from sigmaflow.report_stats import Floats, sharpe

EULER = 0.5772156649015329


def error(ratio: float, count: int, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """Standard error of a Sharpe ratio of `count` bars whose changes have this skewness and kurtosis (normal: 3).

    Mertens (2002), as in Bailey and Lopez de Prado (2012), "The Sharpe ratio efficient frontier". It takes the bars as
    independent. NaN below 2 bars.

    >>> round(error(0.0, 101), 3), round(error(0.1581, 1251, -3.0, 10.0), 3)
    (0.1, 0.035)
    """
    if count < 2 or not math.isfinite(ratio):
        return math.nan
    return math.sqrt(max(0.0, 1 - skew * ratio + (kurtosis - 1) / 4 * ratio * ratio) / (count - 1))


def moments(changes: Floats) -> tuple[float, float]:
    """Skewness and kurtosis (normal: 3) of bar changes; those of the normal law where nothing moved.

    >>> moments(np.zeros(5))
    (0.0, 3.0)
    """
    if len(changes) < 2 or not np.ptp(changes) > 0:
        return 0.0, 3.0
    return float(stats.skew(changes)), float(stats.kurtosis(changes, fisher=False))


def error_of(changes: Floats) -> float:
    """Standard error of the Sharpe ratio of these bar changes."""
    return error(sharpe(changes), len(changes), *moments(changes))


def best_of(trials: int, variance: float) -> float:
    """Sharpe ratio that the best of so many trials is expected to show where none is worth anything.

    `variance` is that of the ratios over the trials. Bailey and Lopez de Prado (2014), "The deflated Sharpe ratio",
    equation 1; 0 for one trial.

    >>> round(best_of(100, 0.5 / 250), 4), best_of(1, 0.5)
    (0.1132, 0.0)
    """
    if trials < 2:
        return 0.0
    high, higher = stats.norm.ppf([1 - 1 / trials, 1 - 1 / (trials * math.e)])
    return math.sqrt(variance) * float((1 - EULER) * high + EULER * higher)


def deflated(ratio: float, count: int, skew: float, kurtosis: float, trials: int, variance: float) -> float:
    """Probability that the true ratio is above 0 although it is the best of `trials`; NaN where it has no error.

    Bailey and Lopez de Prado (2014), equation 2; their example is 90.04 % after 100 trials and 95.05 % after 46.

    >>> [round(deflated(2.5 / 250**0.5, 1250, -3.0, 10.0, trials, 0.5 / 250), 4) for trials in (100, 46)]
    [0.9004, 0.9505]
    """
    spread = error(ratio, count, skew, kurtosis)
    if not spread > 0:
        return math.nan
    return float(stats.norm.cdf((ratio - best_of(trials, variance)) / spread))
