"""Ensemble: the alphas' forecasts of one tick blended into one, with the disagreement between them in its uncertainty.

Weights are inverse mean squared errors of the realised forecasts, kept apart for each regime (Bates and Granger 1969,
"The combination of forecasts"). Variance of the blend: weighted variance of each alpha's error plus the weighted
variance of the mus around the blend (the law of total variance). Quantiles are those of the normal law with that mean
and variance.
"""
from __future__ import annotations

import math
from functools import partial

import numba
import numpy as np

from udfs.profiles import Profile
from udfs.regimes import REGIMES
from udfs.stage import Columns, Stage, StageState

Z95 = 1.6448536269514722
"""95 % quantile of the standard normal law."""

OUT = ("score", "mu", "sigma", "p_up", "q05", "q50", "q95")


def _symbol(count: int, horizon: int) -> np.dtype:
    return np.dtype([
        ("ticks", np.int64), ("mids", np.float64, horizon), ("mus", np.float64, (count, horizon)),
        ("regimes", np.int64, horizon), ("error", np.float64, (REGIMES, count)), ("seen", np.float64, REGIMES),
    ])


@numba.njit(cache=True)
def _blend(symbols, slot, scores, mus, sigmas, mid, regime, history, fixed, warm_up, memory, out, weights, top):
    rows, count = mus.shape
    for row in range(rows):
        s = symbols[slot[row]]
        horizon = s.mids.shape[0]
        at = s.ticks % horizon
        if s.ticks >= horizon:
            realised = math.log(mid[row] / s.mids[at])
            then = s.regimes[at]
            s.seen[then] += 1
            weight = max(1 / memory, 1 / s.seen[then])
            for k in range(count):
                s.error[then, k] += weight * ((realised - s.mus[k, at]) ** 2 - s.error[then, k])
        now = regime[row]
        total = 0.0
        for k in range(count):
            error = s.error[now, k] if s.seen[now] >= 1 and s.error[now, k] > 0 else sigmas[row, k] ** 2
            weights[row, k] = 1 / error if error > 0 else 1.0
            total += weights[row, k]
        mu = 0.0
        for k in range(count):
            weights[row, k] /= total
            mu += weights[row, k] * mus[row, k]
        variance = 0.0
        for k in range(count):
            variance += weights[row, k] * (sigmas[row, k] ** 2 + (mus[row, k] - mu) ** 2)
        sigma = math.sqrt(variance)
        for k in range(count):
            s.mus[k, at] = mus[row, k]
        s.mids[at], s.regimes[at] = mid[row], now
        s.ticks += 1

        if fixed.shape[0] > 0:
            logit = 0.0
            for k in range(count):
                weights[row, k] = fixed[k]
                logit += fixed[k] * scores[row, k]
            score = 2 * (1 / (1 + math.exp(-logit))) - 1
            p_up = (score + 1) / 2
        else:
            p_up = 0.5 * (1 + math.erf(mu / (sigma * math.sqrt(2.0)))) if sigma > 0 else 0.5
            score = 2 * p_up - 1
        if history[row] < warm_up:
            score = 0.0
        best, largest = -1, 0.0
        for k in range(count):
            part = weights[row, k] * (scores[row, k] if fixed.shape[0] > 0 else mus[row, k])
            if part * score > largest:
                best, largest = k, part * score
        top[row] = best
        out[0, row], out[1, row], out[2, row], out[3, row] = score, mu, sigma, p_up
        out[4, row], out[5, row], out[6, row] = mu - Z95 * sigma, mu, mu + Z95 * sigma


def step(state: StageState, columns: Columns, fixed: np.ndarray, warm_up: int, memory: int) -> Columns:
    """Add the columns of `opportunities.v1` to those of signals."""
    count = state.symbols["error"].shape[2]
    if (columns["signals.count"] != count).any():
        found = int(columns["signals.count"][np.argmax(columns["signals.count"] != count)])
        raise ValueError(f"ensemble: the profile has {count} alphas, a message of signals.v1 has {found}; "
                         "run alphas and ensemble under the same profile")
    rows = len(columns["slot"])
    out, weights, top = np.empty((len(OUT), rows)), np.empty((rows, count)), np.empty(rows, np.int64)
    _blend(state.symbols, columns["slot"], columns["signals.score"], columns["signals.mu"], columns["signals.sigma"],
           columns["mid"], columns["regime"], columns["history"], fixed, warm_up, memory, out, weights, top)
    return columns | dict(zip(OUT, out, strict=True)) | {
        "weights": weights, "weights.count": np.full(rows, count), "top_alpha": top,
        "horizon": columns["signals.horizon"][:, 0].astype(np.int64)}


def stage(profile: Profile) -> Stage:
    """The ensemble stage of a profile."""
    count = len(profile.alphas.names)
    logistic = profile.ensemble.blend == "logistic"
    if logistic and len(profile.ensemble.weights) != count:
        raise ValueError(f"ensemble: {count} alphas but {len(profile.ensemble.weights)} weights; give one for each")
    fixed = np.array(profile.ensemble.weights if logistic else (), np.float64)
    run = partial(step, fixed=fixed, warm_up=profile.ensemble.warm_up, memory=profile.alphas.memory)
    return Stage("ensemble", run, _symbol(count, profile.alphas.horizon))
