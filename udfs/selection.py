"""Selection: which few of many opportunities are worth holding together, by a diversified top K.

The worth of a set S is what its scores would tell of the market if they were noisy readings of bets that move
together:

    f(S) = 1/2 log det(I + W R W) over S,   w = |score| / noise,   R = (1 - penalty) I + penalty * correlation

the information gain of a Gaussian (Srinivas et al. 2010, equation 3; Krause and Guestrin 2005). It grows with every
score and less where the newcomer's returns are those of symbols already chosen: a symbol whose returns correlate 0.9
with a chosen one of score 0.5 is worth what an independent one of 0.24 is (noise 0.1). The sign of a correlation does
not matter: a bet and its mirror image are one bet. A penalty of 0 ranks by score alone.

f is monotone and submodular, so the greedy choice of K reaches at least 1 - 1/e = 63 % of the best set's worth
(Nemhauser, Wolsey and Fisher 1978). Each choice extends a Cholesky factor by one row (Chen, Zhang and Zhou 2018): K n
products of K terms for n symbols, and K n correlations.

Correlations are cosines of de-meaned returns over joint bars (udfs/joint.py), with zeros where a symbol has no past.
They are products of unit vectors, so that R has no negative eigenvalue however unequal the pasts are, and a symbol
with a short one correlates less.
"""
from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from udfs import joint

NONE = -1
"""In the place of a slot: no symbol."""

SAME = 1e-24
"""Variance of returns over their squared mean below which they are all equal: rounding leaves about 1e-32."""


@numba.njit(cache=True)
def _best(residual, taken):
    """Place of the largest residual that is not taken; the first of equals."""
    best, largest = NONE, 0.0
    for i in range(residual.shape[0]):
        if not taken[i] and residual[i] > largest:
            best, largest = i, residual[i]
    return best


@numba.njit(cache=True)
def _correlate(units, i, j):
    """Correlation of two rows of unit vectors."""
    total = 0.0
    for bar in range(units.shape[1]):
        total += units[i, bar] * units[j, bar]
    return total


@numba.njit(cache=True)
def _extend(factor, residual, taken, weights, units, penalty, rank, chosen):
    """Add the chosen symbol's row to the Cholesky factor and take what it explains from the others' residuals."""
    root = math.sqrt(residual[chosen])
    for i in range(weights.shape[0]):
        if taken[i]:
            continue
        both = weights[chosen] * weights[i] * penalty * _correlate(units, chosen, i)
        for k in range(rank):
            both -= factor[k, chosen] * factor[k, i]
        factor[rank, i] = both / root
        residual[i] = max(1.0, residual[i] - factor[rank, i] * factor[rank, i])


@numba.njit(cache=True)
def greedy(weights, units, size, penalty):
    """(places, gains): up to `size` rows in the order the greedy choice takes them, and what each adds to f.

    `weights` are |score| / noise and `units` a unit vector of returns for each. Only weights above 0 are chosen; of
    equal ones the first.

    >>> alike = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> greedy(np.array([5.0, 4.9, 2.0]), alike, 2, 1.0)[0].tolist()
    [0, 2]
    >>> greedy(np.array([5.0, 4.9, 2.0]), alike, 2, 0.0)[0].tolist()
    [0, 1]
    """
    count = weights.shape[0]
    size = min(size, count)
    places, gains = np.full(size, NONE), np.zeros(size)
    factor, residual, taken = np.zeros((size, count)), np.empty(count), np.zeros(count, np.bool_)
    for i in range(count):
        residual[i] = 1 + weights[i] * weights[i]
        taken[i] = not weights[i] > 0
    for rank in range(size):
        chosen = _best(residual, taken)
        if chosen == NONE:
            return places[:rank], gains[:rank]
        places[rank], gains[rank], taken[chosen] = chosen, 0.5 * math.log(residual[chosen]), True
        _extend(factor, residual, taken, weights, units, penalty, rank, chosen)
    return places, gains


def worth(weights: NDArray[np.float64], units: NDArray[np.float64], penalty: float) -> float:
    """f of all these symbols together, natural units of information.

    >>> round(worth(np.array([1.0]), np.array([[1.0]]), 1.0), 4)
    0.3466
    """
    shrunk = penalty * (units @ units.T)
    np.fill_diagonal(shrunk, 1.0)
    return 0.5 * float(np.linalg.slogdet(np.eye(len(weights)) + np.outer(weights, weights) * shrunk)[1])


@numba.njit(cache=True)
def unit_returns(s, a, out):
    """A symbol's joint bar returns, less their mean and scaled to length 1, into `out` (zeros at first).

    They stay zeros below `joint.LEAST_BARS` returns and where the price did not move: correlated with nothing.
    """
    held = joint.past(s, a, out)
    first, mean, square = out.shape[0] - held, 0.0, 0.0
    for bar in range(first, out.shape[0]):
        mean += out[bar] / held
    for bar in range(first, out.shape[0]):
        square += (out[bar] - mean) * (out[bar] - mean)
    moved = square > SAME * held * mean * mean
    scale = 1 / math.sqrt(square) if held >= joint.LEAST_BARS and moved else 0.0
    for bar in range(first, out.shape[0]):
        out[bar] = (out[bar] - mean) * scale
