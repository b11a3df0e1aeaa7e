"""Alphas: a score from each registered alpha, and from each score a forecast with its own measured uncertainty.

mu = beta * score, with beta the regression through the origin of the realised log return over the horizon on the score;
sigma is the root of the mean squared error of the forecasts made so. Both are averages over `memory` ticks of what came
true `horizon` ticks later, so a forecast never knows its own outcome. Until there is evidence, sigma is the volatility
over the horizon and mu is shrunk towards zero. confidence = Phi(|mu| / sigma).
"""
from __future__ import annotations

import math
from functools import partial

import numba
import numpy as np

from udfs.alphas import REGISTRY, Alpha
from udfs.profiles import Profile
from udfs.stage import Columns, Stage, StageState

PRIOR = 200.0
"""Ticks of evidence that the prior beta of zero weighs."""


def _symbol(count: int, horizon: int) -> np.dtype:
    return np.dtype([
        ("ticks", np.int64), ("mids", np.float64, horizon), ("scores", np.float64, (count, horizon)),
        ("forecasts", np.float64, (count, horizon)), ("score_score", np.float64, count),
        ("score_return", np.float64, count), ("error", np.float64, count),
    ])


@numba.njit(cache=True)
def _forecast(symbols, slot, scores, mid, volatility, memory, mu, sigma, confidence):
    count, rows = scores.shape
    for row in range(rows):
        s = symbols[slot[row]]
        horizon = s.mids.shape[0]
        at = s.ticks % horizon
        if s.ticks >= horizon:
            realised = math.log(mid[row] / s.mids[at])
            weight = max(1 / memory, 1 / (s.ticks - horizon + 1))
            for k in range(count):
                x = s.scores[k, at]
                s.score_score[k] += weight * (x * x - s.score_score[k])
                s.score_return[k] += weight * (x * realised - s.score_return[k])
                s.error[k] += weight * ((realised - s.forecasts[k, at]) ** 2 - s.error[k])
        evidence = min(float(memory), float(max(0, s.ticks - horizon)))
        for k in range(count):
            x = scores[k, row]
            beta = 0.0
            if s.score_score[k] > 0:
                beta = s.score_return[k] / s.score_score[k] * evidence / (evidence + PRIOR)
            forecast = beta * x
            prior = volatility[row] * math.sqrt(horizon)
            error = (evidence * s.error[k] + PRIOR * prior * prior) / (evidence + PRIOR)
            deviation = math.sqrt(error)
            mu[row, k], sigma[row, k] = forecast, deviation
            ratio = abs(forecast) / deviation if deviation > 0 else 0.0
            confidence[row, k] = 0.5 * (1 + math.erf(ratio / math.sqrt(2.0)))
            s.scores[k, at] = x
            s.forecasts[k, at] = forecast
        s.mids[at] = mid[row]
        s.ticks += 1


def step(state: StageState, columns: Columns, alphas: list[Alpha], horizon: int, memory: int) -> Columns:
    """Add `signals.*`: two-dimensional columns, one row a tick and one column an alpha."""
    rows = len(columns["slot"])
    shape = rows, len(alphas)
    scores = np.empty((len(alphas), rows))
    with np.errstate(over="ignore"):  # the logistic of a very large number is 0 or 1, as it should be
        for k, alpha in enumerate(alphas):
            scores[k] = alpha.score(*(columns[name] for name in alpha.inputs))
    mu, sigma, confidence = np.empty(shape), np.empty(shape), np.empty(shape)
    _forecast(state.symbols, columns["slot"], scores, columns["mid"], columns["volatility"], memory, mu, sigma,
              confidence)
    return columns | {
        "signals.count": np.full(rows, len(alphas)), "signals.score": np.ascontiguousarray(scores.T),
        "signals.mu": mu, "signals.sigma": sigma, "signals.confidence": confidence,
        "signals.horizon": np.full(shape, float(horizon)),
        "signals.regime": np.repeat(columns["regime"][:, None].astype(float), len(alphas), axis=1)}


def stage(profile: Profile) -> Stage:
    """The alphas stage of a profile; KeyError with the known names for an alpha that is not registered."""
    unknown = [name for name in profile.alphas.names if name not in REGISTRY]
    if unknown:
        raise KeyError(f"alphas: profile {profile.name!r} names {unknown}, registered are {sorted(REGISTRY)}")
    alphas = [REGISTRY[name] for name in profile.alphas.names]
    run = partial(step, alphas=alphas, horizon=profile.alphas.horizon, memory=profile.alphas.memory)
    return Stage("alphas", run, _symbol(len(alphas), profile.alphas.horizon))
