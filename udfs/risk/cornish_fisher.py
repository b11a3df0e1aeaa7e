"""Value at risk and CVaR from mean, deviation, skewness and kurtosis by the Cornish-Fisher expansion.

A normal z is mapped to p(z) = z + (z^2 - 1) S/6 + (z^3 - 3z) K/24 - (2z^3 - 5z) S^2/36. S and K are parameters, not the
skewness and excess kurtosis that p(z) then has: those follow from them, and are solved for here (Maillard 2012, "A
user's guide to the Cornish Fisher expansion"). Where p is not increasing it is no quantile function: such moments are
refused. CVaR is the exact mean of p(z) below its quantile (Maillard 2012, section 6).
"""
from __future__ import annotations

import math

import numba
import numpy as np

ROUNDS, CLOSE = 50, 1e-12
"""Most Newton steps for S and K, and the error of skewness and kurtosis that ends them."""

STEP = 1e-6
"""Difference that the Jacobian is taken over; S and K are of the order of 1."""


@numba.njit(cache=True)
def coefficients(skew, kurt):
    """Coefficients of p from z^0 to z^3 for parameters S and K."""
    square = skew * skew / 36
    return np.array([-skew / 6, 1 - kurt / 8 + 5 * square, skew / 6, kurt / 24 - 2 * square])


@numba.njit(cache=True)
def monotone(skew, kurt):
    """Whether p increases everywhere: its derivative c1 + 2 c2 z + 3 c3 z^2 is nowhere negative.

    >>> monotone(0.0, 4.0), monotone(0.0, 8.5), monotone(1.0, 0.0)
    (True, False, False)
    """
    _, one, two, three = coefficients(skew, kurt)
    return one >= 0 and three >= 0 and two * two <= 3 * three * one + 1e-15


@numba.njit(cache=True)
def _moment(polynomial):
    """Mean of a polynomial of a standard normal variable."""
    total, even = 0.0, 1.0
    for power in range(0, polynomial.shape[0], 2):
        total += polynomial[power] * even
        even *= power + 1
    return total


@numba.njit(cache=True)
def _times(left, right):
    out = np.zeros(left.shape[0] + right.shape[0] - 1)
    for i in range(left.shape[0]):
        for j in range(right.shape[0]):
            out[i + j] += left[i] * right[j]
    return out


@numba.njit(cache=True)
def moments(skew, kurt):
    """(variance, skewness, excess kurtosis) that p(z) has with parameters S and K.

    >>> tuple(round(value, 6) for value in moments(0.0, 0.0))
    (1.0, 0.0, 0.0)
    """
    first = coefficients(skew, kurt)
    second = _times(first, first)
    variance = _moment(second)
    third, fourth = _moment(_times(second, first)), _moment(_times(second, second))
    return variance, third / variance**1.5, fourth / variance**2 - 3


@numba.njit(cache=True)
def parameters(skewness, kurtosis):
    """(S, K, found) whose p(z) has this skewness and excess kurtosis.

    `found` is False where there is none at which p increases. Newton's method, from a start fitted to the whole
    monotone range (1.2, 0.25 and 0.16 below), in which it never fails.

    >>> s, k, found = parameters(-0.5, 3.0)
    >>> found, [round(value, 9) for value in moments(s, k)[1:]]
    (True, [-0.5, 3.0])
    >>> parameters(0.0, 60.0)[2]
    False
    """
    positive = max(kurtosis, 0.0)
    k = min(positive, 1.2 * math.sqrt(positive) + 0.25 * skewness * skewness)
    s = skewness / (1 + 0.16 * k)
    for _ in range(ROUNDS):
        _, have_s, have_k = moments(s, k)
        error_s, error_k = have_s - skewness, have_k - kurtosis
        if abs(error_s) < CLOSE and abs(error_k) < CLOSE * (1 + abs(kurtosis)):
            return s, k, monotone(s, k)
        _, up_s, up_k = moments(s + STEP, k)
        _, over_s, over_k = moments(s, k + STEP)
        ss, ks = (up_s - have_s) / STEP, (up_k - have_k) / STEP
        sk, kk = (over_s - have_s) / STEP, (over_k - have_k) / STEP
        determinant = ss * kk - sk * ks
        if not abs(determinant) > 1e-12:
            return s, k, False
        s -= max(-0.5, min(0.5, (error_s * kk - error_k * sk) / determinant))
        k -= max(-2.0, min(2.0, (error_k * ss - error_s * ks) / determinant))
    return s, k, False


@numba.njit(cache=True)
def sample_moments(returns):
    """(mean, standard deviation, skewness, excess kurtosis), all with divisor n; shape is 0 where nothing moves."""
    count = returns.shape[0]
    total = 0.0
    for k in range(count):
        total += returns[k]
    mean = total / count
    two = three = four = 0.0
    for k in range(count):
        off = returns[k] - mean
        square = off * off
        two += square
        three += square * off
        four += square * square
    variance = two / count
    if not variance > 0:
        return mean, 0.0, 0.0, 0.0
    return mean, math.sqrt(variance), three / count / variance**1.5, four / count / variance**2 - 3


@numba.njit(cache=True)
def expansion_tail(mean, deviation, skew, kurt, quantile, tail):
    """(VaR, CVaR) of mean + deviation * p(z) scaled to variance 1, p with parameters S and K.

    `quantile` is the normal quantile of `tail`. The integrals of z^n times the normal density below it are closed.
    """
    zero, one, two, three = coefficients(skew, kurt)
    density = math.exp(-0.5 * quantile * quantile) / math.sqrt(2 * math.pi)
    unit = deviation / math.sqrt(moments(skew, kurt)[0])
    at = zero + quantile * (one + quantile * (two + quantile * three))
    below = (zero + two) * tail - density * (one + two * quantile + three * (quantile * quantile + 2))
    return -mean - unit * at, -mean - unit * below / tail
