"""Market regimes: a state of volatility and a state of trend, each by a threshold rule with hysteresis.

Volatility: the variance of the last ticks over that of the longer past, both exponentially weighted (RiskMetrics 1996).
Trend: the self-normalised sum of the last returns, sum(r) / sqrt(sum(r^2)). For returns without drift it is close to
a standard normal number whatever their volatility, and however many of them are zero (de la Peña, Lai and Shao 2009,
"Self-Normalized Processes"); it is the t statistic of time-series momentum (Moskowitz, Ooi and Pedersen 2012). A state
is entered at one bound and left at another, so that it does not flicker where the statistic stands near a bound.

`regime` of every message is the pair as one number, 3 * trend + volatility: the place of its name in `NAMES`.
"""
from __future__ import annotations

import numba

CALM, NORMAL, STRESSED = 0, 1, 2
FLAT, TRENDING = 0, 1

NAMES = ("CALM_FLAT", "NORMAL_FLAT", "STRESSED_FLAT", "CALM_TRENDING", "NORMAL_TRENDING", "STRESSED_TRENDING")
"""Symbols of the enum `regime` in the contracts, in order."""

REGIMES = len(NAMES)
"""Number of regimes: what is learned per regime is kept this many times."""

START = NORMAL
"""Regime while there is too little history: normal volatility, no trend."""

ENTER_STRESSED, LEAVE_STRESSED, ENTER_CALM, LEAVE_CALM = 3.0, 2.0, 0.4, 0.6
"""Bounds on fast over slow variance."""

ENTER_TREND, LEAVE_TREND = 2.0, 1.0
"""Bounds on the size of the trend statistic: two standard errors, which 5 % of windows without drift reach, and one."""


@numba.njit(cache=True, inline="always")
def volatility_state(now: int, ratio: float) -> int:
    """Volatility state after a ratio of fast over slow variance.

    >>> [volatility_state(NORMAL, 2.5), volatility_state(NORMAL, 3.5), volatility_state(STRESSED, 2.5)]
    [1, 2, 2]
    """
    if now == STRESSED:
        return NORMAL if ratio < LEAVE_STRESSED else STRESSED
    if now == CALM:
        return NORMAL if ratio > LEAVE_CALM else CALM
    if ratio > ENTER_STRESSED:
        return STRESSED
    return CALM if ratio < ENTER_CALM else NORMAL


@numba.njit(cache=True, inline="always")
def trend_state(now: int, statistic: float) -> int:
    """Trend state after a value of the trend statistic; its sign, the direction, does not matter.

    >>> [trend_state(FLAT, -1.5), trend_state(FLAT, -2.5), trend_state(TRENDING, 1.5)]
    [0, 1, 1]
    """
    if now == TRENDING:
        return FLAT if abs(statistic) < LEAVE_TREND else TRENDING
    return TRENDING if abs(statistic) > ENTER_TREND else FLAT


@numba.njit(cache=True, inline="always")
def next_regime(regime: int, ratio: float, statistic: float) -> int:
    """Regime after one more tick.

    >>> NAMES[next_regime(START, 0.3, 2.2)]
    'CALM_TRENDING'
    """
    return 3 * trend_state(regime // 3, statistic) + volatility_state(regime % 3, ratio)
