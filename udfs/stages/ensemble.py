"""Ensemble: the alphas' forecasts of one tick blended into one, with its whole uncertainty.

Weights are inverse mean squared errors of the realised forecasts, kept apart for each regime (Bates and Granger 1969,
"The combination of forecasts"). That blend is always computed: it is the fallback, and what a trained model is
measured in.

Intervals are `normal` or `adaptive` (a setting of the profile).
- normal: the variance is the weighted variance of each alpha's error plus the weighted variance of the mus around the
  blend (the law of total variance), and quantiles are those of the normal law.
- adaptive: the variance is a volatility forecast plus the variance of the mus around the blend, corrected by how large
  errors came true; q05 and q95 are corrected until 90 % of outcomes lie between them (udfs/conformal.py).

With adaptive intervals a trained model (udfs/models.py) may take the blend's place, tick by tick: column `model` holds
its number, 0 for the fallback. Its quantiles are in units of the fallback's sigma. mu is the mean and sigma the
deviation of its five quantiles, p_up its calibrated probability; the weights told are still those of the fallback.
"""
from __future__ import annotations

import math
from functools import partial

import numba
import numpy as np

from udfs import conformal
from udfs.conformal import Z95
from udfs.models import DEVIATION, FALLBACK, Models, matrix
from udfs.profiles import Profile
from udfs.regimes import REGIMES
from udfs.stage import Columns, Stage, StageState

OUT = ("score", "mu", "sigma", "p_up", "q05", "q50", "q95")


def _symbol(count: int, horizon: int, adaptive: bool) -> np.dtype:
    track = [("track", conformal.track(REGIMES, horizon))] if adaptive else []
    return np.dtype([
        ("ticks", np.int64), ("mids", np.float64, horizon), ("mus", np.float64, (count, horizon)),
        ("regimes", np.int64, horizon), ("error", np.float64, (REGIMES, count)), ("seen", np.float64, REGIMES),
        *track,
    ])


@numba.njit(cache=True)
def _blend(symbols, slot, mus, sigmas, mid, regime, memory, weights, blend, total_variance, disagreement):
    """Weights of each row, their blend of the mus, its total variance and the part of it between the alphas."""
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
        variance = between = 0.0
        for k in range(count):
            variance += weights[row, k] * (sigmas[row, k] ** 2 + (mus[row, k] - mu) ** 2)
            between += weights[row, k] * (mus[row, k] - mu) ** 2
        blend[row], total_variance[row], disagreement[row] = mu, variance, between
        for k in range(count):
            s.mus[k, at] = mus[row, k]
        s.mids[at], s.regimes[at] = mid[row], now
        s.ticks += 1


@numba.njit(cache=True)
def _score(mus, scores, weights, mu, sigma, model, history, fixed, warm_up, score, p_up, top):
    """Score and p_up of each row, and the alpha that pulled hardest its way; p_up of a row with a model is given."""
    rows, count = mus.shape
    for row in range(rows):
        if fixed.shape[0] > 0:
            logit = 0.0
            for k in range(count):
                weights[row, k] = fixed[k]
                logit += fixed[k] * scores[row, k]
            score[row] = 2 * (1 / (1 + math.exp(-logit))) - 1
            p_up[row] = (score[row] + 1) / 2
        else:
            if model[row] == FALLBACK:
                ratio = mu[row] / (sigma[row] * math.sqrt(2.0)) if sigma[row] > 0 else 0.0
                p_up[row] = 0.5 * (1 + math.erf(ratio))
            score[row] = 2 * p_up[row] - 1
        if history[row] < warm_up:
            score[row] = 0.0
        best, largest = -1, 0.0
        for k in range(count):
            part = weights[row, k] * (scores[row, k] if fixed.shape[0] > 0 else mus[row, k])
            if part * score[row] > largest:
                best, largest = k, part * score[row]
        top[row] = best


def step(state: StageState, columns: Columns, profile: Profile, fixed: np.ndarray, models: Models) -> Columns:
    """Add the columns of `opportunities.v1` to those of signals."""
    rows, count = len(columns["slot"]), len(profile.alphas.names)
    _check(columns["signals.count"], count)
    out, weights, top = {name: np.empty(rows) for name in OUT}, np.empty((rows, count)), np.empty(rows, np.int64)
    variance, disagreement = np.empty(rows), np.empty(rows)
    _blend(state.symbols, columns["slot"], columns["signals.mu"], columns["signals.sigma"], columns["mid"],
           columns["regime"], profile.alphas.memory, weights, out["mu"], variance, disagreement)
    model = np.asarray(columns["model"]) if "model" in columns else np.full(rows, models.number(models.first))
    if profile.ensemble.intervals == "adaptive":
        _adapt(state.symbols["track"], columns, profile, models, model, disagreement, out)
    elif model.any():
        raise ValueError(f"ensemble: profile {profile.name} must have adaptive intervals to run a model")
    else:
        out["sigma"] = np.sqrt(variance)
        out["q50"] = out["mu"]
        out["q05"], out["q95"] = out["mu"] - Z95 * out["sigma"], out["mu"] + Z95 * out["sigma"]
    _score(columns["signals.mu"], columns["signals.score"], weights, out["mu"], out["sigma"], model,
           columns["history"], fixed, profile.ensemble.warm_up, out["score"], out["p_up"], top)
    return columns | out | {
        "weights": weights, "weights.count": np.full(rows, count), "top_alpha": top, "model": model,
        "horizon": columns["signals.horizon"][:, 0].astype(np.int64)}


def _check(found: np.ndarray, count: int) -> None:
    if (found != count).any():
        raise ValueError(f"ensemble: the profile has {count} alphas, a message of signals.v1 has "
                         f"{int(found[np.argmax(found != count)])}; run alphas and ensemble under the same profile")


def _adapt(tracks: np.ndarray, columns: Columns, profile: Profile, models: Models, model: np.ndarray,
           disagreement: np.ndarray, out: Columns) -> None:
    """Put sigma and the quantiles into `out`; for rows with a model its mu and p_up as well."""
    slot, regime = columns["slot"], columns["regime"]
    rows, horizon = len(slot), profile.alphas.horizon
    half_spread = 0.5 * (columns["ask"] - columns["bid"]) / columns["mid"]
    realised, origin = np.empty(rows), np.empty(rows, np.int64)
    conformal.scale(tracks, slot, columns["mid"], half_spread, regime, out["mu"], disagreement, profile.alphas.memory,
                    out["sigma"], realised, origin)
    out["q50"] = out["mu"].copy()
    left, right = Z95 * out["sigma"], Z95 * out["sigma"]
    for number in np.unique(model[model != FALLBACK]).tolist() if model.any() else ():
        at = np.flatnonzero(model == number)
        unit = out["sigma"][at]
        made = models.get(number).predict(matrix({name: columns[name][at] for name in NEEDED}, unit, horizon))
        quantiles = made.quantiles * unit[:, None]
        out["mu"][at], out["q50"][at], out["p_up"][at] = made.mean * unit, quantiles[:, 2], made.p_up
        left[at], right[at] = quantiles[:, 2] - quantiles[:, 0], quantiles[:, -1] - quantiles[:, 2]
        out["sigma"][at] = (left[at] + right[at]) / DEVIATION
    conformal.intervals(tracks, slot, regime, realised, origin, out["q50"], left, right,
                        profile.ensemble.interval_step, out["q05"], out["q95"])


NEEDED = ("signals.score", "signals.mu", "signals.sigma", "signals.confidence", "regime", "volatility", "bid", "ask",
          "mid")
"""Columns that a model's inputs are made of."""


def stage(profile: Profile, models: Models | None = None) -> Stage:
    """The ensemble stage of a profile; `models` may be in force, none without them."""
    count = len(profile.alphas.names)
    logistic = profile.ensemble.blend == "logistic"
    if logistic and len(profile.ensemble.weights) != count:
        raise ValueError(f"ensemble: {count} alphas but {len(profile.ensemble.weights)} weights; give one for each")
    fixed = np.array(profile.ensemble.weights if logistic else (), np.float64)
    run = partial(step, profile=profile, fixed=fixed, models=models or Models(profile))
    return Stage("ensemble", run, _symbol(count, profile.alphas.horizon, profile.ensemble.intervals == "adaptive"))
