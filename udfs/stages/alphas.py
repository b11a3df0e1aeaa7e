"""Alphas: a score from each registered alpha, and from each score a forecast with its own measured uncertainty.

mu = beta * score, with beta the regression through the origin of the realised log return over the horizon on the score;
sigma is the root of the mean squared error of the forecasts made so. Both are averages over `memory` outcomes, taken
`horizon` ticks after the score, so a forecast never knows its own outcome. Until there is evidence, sigma is the
volatility over the horizon and mu is shrunk towards zero. confidence = Phi(|mu| / sigma).

A score of 0 says that the alpha knows nothing: mu is 0, confidence one half, sigma that of forecasting no change, and
what comes true is no evidence about it. A slow alpha without a value that is public and fresh has confidence 0, and
`signals.silence` says why.

The score of a fitted alpha is its own forecast over the usual size of such returns: a ridge regression of the realised
return on its regressors. Cross products are averages like the others, never an inverse that is updated, so that
roundings fade and the solution is that of the textbook; it is solved afresh at every eighth outcome of the symbol.
"""
from __future__ import annotations

import math
from functools import partial
from typing import Any

import numba
import numpy as np

from udfs.alphas import REGISTRY, Alpha
from udfs.profiles import Profile
from udfs.slow import NONE, SPEAKS
from udfs.stage import Columns, Stage, StageState

PRIOR = 200.0
"""Outcomes that the prior beta of zero weighs."""

RIDGE = 20.0
"""Outcomes, of regressors with mean square one, that the prior weights of zero of a fitted alpha weigh."""

REFIT = 8
"""Outcomes from one solution to the next; each outcome moves the averages by 1 / memory at most."""


def _fit_state(terms: int, horizon: int) -> np.dtype:
    """Regressors of the last ticks; averages of their products with each other and with the return; the weights."""
    return np.dtype([("past", np.float64, (terms, horizon)), ("products", np.float64, (terms, terms)),
                     ("moments", np.float64, terms), ("weights", np.float64, terms)])


def _symbol(alphas: list[Alpha], horizon: int) -> np.dtype:
    count = len(alphas)
    fits: list[Any] = [(alpha.name, _fit_state(alpha.terms, horizon)) for alpha in alphas if alpha.terms]
    return np.dtype([
        ("ticks", np.int64), ("mids", np.float64, horizon), ("scores", np.float64, (count, horizon)),
        ("forecasts", np.float64, (count, horizon)), ("square", np.float64), ("seen", np.int64, count),
        ("score_score", np.float64, count), ("score_return", np.float64, count), ("error", np.float64, count), *fits,
    ])


@numba.njit(cache=True)
def _outcomes(symbols, slot, mid, memory, ticks, realised, usual):
    """Of each row: ticks before it, the log return over the horizon that ends there, the usual size of such returns.

    Return and usual size (root mean square) are 0 until a horizon has passed.
    """
    for row in range(slot.shape[0]):
        s = symbols[slot[row]]
        horizon = s.mids.shape[0]
        at = s.ticks % horizon
        outcomes = s.ticks - horizon + 1
        realised[row] = math.log(mid[row] / s.mids[at]) if outcomes > 0 else 0.0
        if outcomes > 0:
            s.square += max(1 / memory, 1 / outcomes) * (realised[row] * realised[row] - s.square)
        ticks[row], usual[row] = s.ticks, math.sqrt(s.square)
        s.mids[at] = mid[row]
        s.ticks += 1


@numba.njit(cache=True)
def solve(products, moments, ridge, factor, weights):
    """Weights of a ridge regression, (products + ridge I) weights = moments, by Cholesky's factor.

    Reads the lower triangle of `products`; overwrites `factor`, of the same shape, and `weights`.
    """
    terms = moments.shape[0]
    for i in range(terms):
        for j in range(i + 1):
            total = products[i, j] + (ridge if i == j else 0.0)
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = math.sqrt(total) if i == j else total / factor[j, j]
    for i in range(terms):
        total = moments[i]
        for k in range(i):
            total -= factor[i, k] * weights[k]
        weights[i] = total / factor[i, i]
    for i in range(terms - 1, -1, -1):
        total = weights[i]
        for k in range(i + 1, terms):
            total -= factor[k, i] * weights[k]
        weights[i] = total / factor[i, i]


@numba.njit(cache=True)
def _fit(fits, slot, ticks, realised, usual, regressors, memory, score):
    """Score of a fitted alpha: learn from what came true, then forecast."""
    terms, rows = regressors.shape
    factor = np.empty((terms, terms))
    for row in range(rows):
        f = fits[slot[row]]
        horizon = f.past.shape[1]
        at = ticks[row] % horizon
        outcomes = ticks[row] - horizon + 1
        if outcomes > 0:
            weight = max(1 / memory, 1 / outcomes)
            for i in range(terms):
                x = f.past[i, at]
                f.moments[i] += weight * (x * realised[row] - f.moments[i])
                for j in range(i + 1):
                    f.products[i, j] += weight * (x * f.past[j, at] - f.products[i, j])
            if outcomes % REFIT == 0:
                solve(f.products, f.moments, RIDGE * weight, factor, f.weights)
        forecast = 0.0
        for i in range(terms):
            f.past[i, at] = regressors[i, row]
            forecast += f.weights[i] * regressors[i, row]
        score[row] = math.tanh(forecast / usual[row]) if usual[row] > 0 else 0.0


@numba.njit(cache=True, inline="always")
def _learn(s, at, realised, memory):
    """Take in what came true of the scores and forecasts of `horizon` ticks ago."""
    for k in range(s.seen.shape[0]):
        x = s.scores[k, at]
        if x != 0:
            s.seen[k] += 1
            weight = max(1 / memory, 1 / s.seen[k])
            s.score_score[k] += weight * (x * x - s.score_score[k])
            s.score_return[k] += weight * (x * realised - s.score_return[k])
            s.error[k] += weight * ((realised - s.forecasts[k, at]) ** 2 - s.error[k])


@numba.njit(cache=True, inline="always")
def _shrunk(error, prior, evidence):
    """Root of a mean squared error that so many outcomes and the prior variance tell together."""
    return math.sqrt((evidence * error + PRIOR * prior) / (evidence + PRIOR))


@numba.njit(cache=True)
def _forecast(symbols, slot, ticks, realised, usual, scores, volatility, memory, mu, sigma, confidence):
    count, rows = scores.shape
    for row in range(rows):
        s = symbols[slot[row]]
        horizon = s.mids.shape[0]
        at = ticks[row] % horizon
        outcomes = max(0, ticks[row] - horizon + 1)
        if outcomes > 0:
            _learn(s, at, realised[row], memory)
        prior = volatility[row] * volatility[row] * horizon
        nothing = _shrunk(usual[row] * usual[row], prior, min(memory, outcomes))
        for k in range(count):
            x = scores[k, row]
            evidence = min(memory, s.seen[k])
            beta = s.score_return[k] / s.score_score[k] * evidence / (evidence + PRIOR) if s.score_score[k] > 0 else 0.0
            forecast = beta * x
            deviation = _shrunk(s.error[k], prior, evidence) if x != 0 else nothing
            ratio = abs(forecast) / deviation if deviation > 0 else 0.0
            mu[row, k], sigma[row, k] = forecast, deviation
            confidence[row, k] = 0.5 * (1 + math.erf(ratio / math.sqrt(2.0)))
            s.scores[k, at], s.forecasts[k, at] = x, forecast


def _regressors(alpha: Alpha, columns: Columns) -> np.ndarray:
    """Regressors of a fitted alpha, terms by rows."""
    return alpha.over(np.arange(float(alpha.terms))[:, None], *(columns[name] for name in alpha.inputs))


def _slow_score(alpha: Alpha, columns: Columns, silence: np.ndarray) -> np.ndarray:
    """Score of a slow alpha, 0 where it has nothing to read; `silence` gets why. No slow values at all are NONE."""
    silence[:] = columns.get(f"{alpha.reads}_silence", NONE)
    if (silence != SPEAKS).all():
        return np.zeros(len(silence))
    return np.where(silence == SPEAKS, alpha.over(*(columns[name] for name in alpha.inputs)), 0.0)


def step(state: StageState, columns: Columns, alphas: list[Alpha], horizon: int, memory: int) -> Columns:
    """Add `signals.*`: two-dimensional columns, one row a tick and one column an alpha."""
    slot, rows = columns["slot"], len(columns["slot"])
    shape = rows, len(alphas)
    ticks, realised, usual = np.empty(rows, np.int64), np.empty(rows), np.empty(rows)
    _outcomes(state.symbols, slot, columns["mid"], memory, ticks, realised, usual)
    scores, silence = np.empty((len(alphas), rows)), np.zeros(shape)
    with np.errstate(all="ignore"):  # a ufunc computes both branches of a condition; a logistic may overflow to 0 or 1
        for k, alpha in enumerate(alphas):
            if alpha.terms:
                _fit(state.symbols[alpha.name], slot, ticks, realised, usual, _regressors(alpha, columns), memory,
                     scores[k])
            elif alpha.reads:
                scores[k] = _slow_score(alpha, columns, silence[:, k])
            else:
                alpha.over(*(columns[name] for name in alpha.inputs), out=scores[k])
    mu, sigma, confidence = np.empty(shape), np.empty(shape), np.empty(shape)
    _forecast(state.symbols, slot, ticks, realised, usual, scores, columns["volatility"], memory, mu, sigma, confidence)
    for k in [k for k, alpha in enumerate(alphas) if alpha.reads]:
        confidence[silence[:, k] != SPEAKS, k] = 0.0
    return columns | {
        "signals.count": np.full(rows, len(alphas)), "signals.score": np.ascontiguousarray(scores.T),
        "signals.mu": mu, "signals.sigma": sigma, "signals.confidence": confidence,
        "signals.horizon": np.full(shape, float(horizon)),
        "signals.regime": np.repeat(columns["regime"][:, None].astype(float), len(alphas), axis=1),
        "signals.silence": silence}


def slow(profile: Profile) -> tuple[str, ...]:
    """Names of the slow values that a profile's alphas read, in alphabetical order.

    >>> from udfs import profiles
    >>> slow(profiles.DEFAULT), slow(profiles.SLOW)
    ((), ('macro', 'sentiment'))
    """
    return tuple(sorted({REGISTRY[name].reads for name in profile.alphas.names if name in REGISTRY} - {""}))


def stage(profile: Profile) -> Stage:
    """The alphas stage of a profile; KeyError with the known names for an alpha that is not registered."""
    unknown = [name for name in profile.alphas.names if name not in REGISTRY]
    if unknown:
        raise KeyError(f"alphas: profile {profile.name!r} names {unknown}, registered are {sorted(REGISTRY)}")
    alphas = [REGISTRY[name] for name in profile.alphas.names]
    run = partial(step, alphas=alphas, horizon=profile.alphas.horizon, memory=profile.alphas.memory)
    return Stage("alphas", run, _symbol(alphas, profile.alphas.horizon))
