"""90 % intervals that keep their coverage online: a volatility forecast, and a conformal threshold on top of it.

Volatility. Per tick it is a mixture of a fast and a slow average of squared returns; over the horizon it is that times
the ratio, measured per regime, of squared errors that came true to squared errors foreseen. It follows a jump of
volatility within some 30 ticks, so that the threshold need not. Until there is evidence, a return per tick is taken
to be half the spread (Wyart, Bouchaud, Kockelkoren, Potters and Vettorazzo 2008: spread follows volatility per trade).

Threshold. The score of an outcome is its distance from the median over the half width foreseen on its side. The
interval multiplies half widths by a threshold that moves up when an outcome lay outside and down when inside, in
proportion to 90 % and 10 %: online gradient descent on the pinball loss of the score, which is the adaptive conformal
inference of Gibbs and Candes (2021) in the form of a quantile tracker (Angelopoulos, Candes and Tibshirani 2023,
"Conformal PID control for time series prediction", section 2.1), with a step that decays to a floor (Angelopoulos,
Barber and Bates 2024). Long-run coverage is then right whatever the outcomes do. It tracks the logarithm of the
threshold, which so stays positive: q05 <= q50 <= q95 always.

There is one threshold and one ratio for each symbol and regime, and one for all regimes of the symbol, from which a
regime starts that was never seen. A symbol that was never seen starts with twice the half width of the normal law.
"""
from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

Z95 = 1.6448536269514722
"""95 % quantile of the standard normal law."""

MISS = 0.10
"""Share of outcomes that may lie outside."""

FAST, SLOW, FAST_SHARE = 1 / 32, 1 / 256, 0.7
"""Weights of the newest squared return in the two averages, and the share of the fast one. On the simulator and the
Binance and tardis recordings slow averages of 128 to 512 ticks and shares of 0.25 to 0.7 differ by less than 1 % in
CRPS; a larger share leaves less for the threshold to do when volatility doubles, and so less to undo afterwards."""

START = 20.0
"""Ticks of evidence that the first guess of the volatility weighs."""

SHRINK = 100.0
"""Outcomes that the ratio of all regimes weighs in that of one, and the ratio 1 in that of all."""

OUTLIER = 5.0
"""Errors count for at most so many standard deviations in the ratio: one jump may not widen the next 2,000 intervals.
"""

FIRST_STEP, DECAY = 0.3, 0.6
"""Step of a threshold after n outcomes: FIRST_STEP / n ** DECAY, not below the profile's interval_step."""

WIDE = math.log(2.0)
"""Logarithm of the threshold of a symbol that was never seen."""


def track(regimes: int, horizon: int) -> np.dtype[Any]:
    """State of one symbol; the last cell of an array over regimes is that of all regimes."""
    return np.dtype([
        ("ticks", np.int64), ("mid", np.float64), ("fast", np.float64), ("slow", np.float64),
        ("mids", np.float64, horizon), ("regimes", np.int64, horizon), ("mus", np.float64, horizon),
        ("foreseen", np.float64, horizon), ("sigmas", np.float64, horizon),
        ("errors", np.float64, regimes + 1), ("expected", np.float64, regimes + 1), ("seen", np.float64, regimes + 1),
        ("outcomes", np.int64), ("medians", np.float64, horizon), ("left", np.float64, horizon),
        ("right", np.float64, horizon), ("factors", np.float64, (2, horizon)), ("scored", np.int64, regimes + 1),
        ("threshold", np.float64, regimes + 1),
    ])


@numba.njit(cache=True, inline="always")
def _ratio(errors, expected, evidence, prior, foreseen):
    """Squared errors over those foreseen, shrunk towards `prior` as if it had been seen SHRINK times."""
    weight = evidence * expected + SHRINK * foreseen
    return (evidence * errors + SHRINK * prior * foreseen) / weight if weight > 0 else prior


@numba.njit(cache=True)
def scale(tracks, slot, mid, half_spread, regime, mu, disagreement, memory, sigma, realised, origin):
    """Standard deviation of the error of `mu` over the horizon, for each row, from what is known at the row.

    `half_spread` is a fraction of the mid, `disagreement` the variance between the alphas' mus. Also gives the log
    return over the horizon that ends at the row, NaN where none does, and the regime at its beginning.
    """
    for row in range(slot.shape[0]):
        s = tracks[slot[row]]
        horizon = s.mids.shape[0]
        last = s.errors.shape[0] - 1
        at = s.ticks % horizon
        if s.ticks == 0:
            s.fast = s.slow = half_spread[row] ** 2
        else:
            square = math.log(mid[row] / s.mid) ** 2
            least = 1 / (START + s.ticks)
            s.fast += max(FAST, least) * (square - s.fast)
            s.slow += max(SLOW, least) * (square - s.slow)
        realised[row], origin[row] = math.nan, regime[row]
        if s.ticks >= horizon:
            realised[row], origin[row] = math.log(mid[row] / s.mids[at]), s.regimes[at]
            error = (realised[row] - s.mus[at]) ** 2
            if s.sigmas[at] > 0:
                error = min(error, (OUTLIER * s.sigmas[at]) ** 2)
            for cell in (last, s.regimes[at]):
                s.seen[cell] += 1
                weight = max(1 / memory, 1 / s.seen[cell])
                s.errors[cell] += weight * (error - s.errors[cell])
                s.expected[cell] += weight * (s.foreseen[at] - s.expected[cell])
        foreseen = horizon * (FAST_SHARE * s.fast + (1 - FAST_SHARE) * s.slow) + disagreement[row]
        ratio, now = 1.0, regime[row]
        for cell in (last, now):
            ratio = _ratio(s.errors[cell], s.expected[cell], min(s.seen[cell], memory), ratio, foreseen)
        sigma[row] = math.sqrt(ratio * foreseen)
        s.mid = s.mids[at] = mid[row]
        s.mus[at], s.foreseen[at], s.sigmas[at], s.regimes[at] = mu[row], foreseen, sigma[row], now
        s.ticks += 1


@numba.njit(cache=True)
def intervals(tracks, slot, regime, realised, origin, median, left, right, step, low, high):
    """Bounds of the 90 % interval around `median`: half widths `left` and `right`, corrected by what came true.

    `realised` and `origin` are those of `scale`.
    """
    for row in range(slot.shape[0]):
        s = tracks[slot[row]]
        horizon = s.medians.shape[0]
        last = s.threshold.shape[0] - 1
        at = s.outcomes % horizon
        if s.outcomes == 0:
            s.threshold[:] = WIDE
        if s.outcomes >= horizon:
            error, then = realised[row] - s.medians[at], origin[row]
            width = s.right[at] if error > 0 else s.left[at]
            if s.scored[then] == 0:
                s.threshold[then] = s.threshold[last]
            for cell, told in ((last, 0), (then, 1)):
                s.scored[cell] += 1
                missed = abs(error) > width * s.factors[told, at]
                move = max(step, FIRST_STEP / s.scored[cell] ** DECAY)
                s.threshold[cell] += move * ((1.0 if missed else 0.0) - MISS)
        now = regime[row]
        factor = math.exp(s.threshold[now if s.scored[now] > 0 else last])
        s.factors[0, at], s.factors[1, at] = math.exp(s.threshold[last]), factor
        low[row], high[row] = median[row] - factor * left[row], median[row] + factor * right[row]
        s.medians[at], s.left[at], s.right[at] = median[row], left[row], right[row]
        s.outcomes += 1
