"""Mean of the tail of an empirical distribution: historical value at risk and conditional value at risk.

CVaR is the mean of the tail (Rockafellar and Uryasev 2000, 2002). With n returns and tail a the tail holds n*a of
them: `ceil` takes the next whole number of smallest returns; `rockafellar_uryasev` gives the last one the weight that
is left, which is the exact CVaR of the empirical distribution. Losses are positive.
"""
from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True)
def tail_mean(order, held, alpha, whole):
    """(VaR, CVaR) of the `held` ascending returns for tail `alpha`; `whole` rounds the tail up to whole observations.

    Only the tail's own returns of `order` are read.
    """
    count = alpha * held
    last = np.int64(math.ceil(count - 1e-9))
    total = 0.0
    for k in range(last - 1):
        total += order[k]
    weight = 1.0 if whole else count - (last - 1)
    total += weight * order[last - 1]
    return -order[last - 1], -total / (last if whole else count)
