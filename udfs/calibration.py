"""Isotonic calibration of a probability: a piecewise-linear, never falling map, fitted at training.

The fit is scikit-learn's (pool adjacent violators; Ayer et al. 1955). What runs in the job is the lookup, so that no
job needs scikit-learn.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

LEAST, MOST = 0.02, 0.98
"""Bounds of a calibrated probability: a pool of a few outcomes that went one way is no certainty."""


@dataclass(frozen=True)
class Isotonic:
    """Knots of the map: `x` rises, `y` never falls.

    >>> Isotonic(np.array([0.0, 1.0]), np.array([0.2, 0.6]))(np.array([-1.0, 0.5, 9.0])).tolist()
    [0.2, 0.4, 0.6]
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The map at each value: linear between knots, constant outside."""
        out = np.empty(len(values))
        _lookup(self.x, self.y, values, out)
        return out


@numba.njit(cache=True)
def _lookup(x, y, values, out):
    for row in range(values.shape[0]):
        value = values[row]
        at = np.searchsorted(x, value)
        if at == 0:
            out[row] = y[0]
        elif at == x.shape[0]:
            out[row] = y[-1]
        else:
            share = (value - x[at - 1]) / (x[at] - x[at - 1])
            out[row] = y[at - 1] + share * (y[at] - y[at - 1])


def fit(x: Any, outcome: Any, weight: Any = None, least: float = LEAST, most: float = MOST) -> Isotonic:
    """The isotonic regression of outcomes on x, least squares. Needs scikit-learn; equal x are averaged first.

    >>> fit([1, 2, 3, 4], [0.1, 0.5, 0.3, 0.9]).y.tolist()
    [0.1, 0.4, 0.4, 0.9]
    """
    from sklearn.isotonic import IsotonicRegression

    found = IsotonicRegression(y_min=least, y_max=most, out_of_bounds="clip").fit(x, outcome, weight)
    return Isotonic(np.asarray(found.X_thresholds_, np.float64), np.asarray(found.y_thresholds_, np.float64))
