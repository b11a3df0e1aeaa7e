"""Learning the ensemble's blender from a log of ticks, and measuring what it is worth.

The log goes through the chain's own features and alphas, and the ensemble stage tells, tick by tick, what the fallback
said: a model is trained on nothing that the job does not see. Quantiles of the return over the horizon, in units of
the fallback's sigma, are learned by LightGBM (Ke et al. 2017), one booster each; an isotonic map makes a probability of
them. Whether that is worth anything is measured by a purged walk-forward with embargo (Lopez de Prado 2018, chapter 7):
a fold's model knows no outcome that its test segment had a part in, and it is run by the ensemble stage itself.

The same input gives the same digest: one thread, fixed seeds, no time in what is written.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.chain.contracts import Contracts
from jobs.chain.inprocess import Chain, contracts
from schemas.codec import Decoder
from sigmaflow.errors import UserError
from udfs import calibration, models, trees
from udfs.models import QUANTILES, Model, Models
from udfs.profiles import NS, Profile
from udfs.stage import Columns, StageState
from udfs.stages import ensemble

STAGE = "train"
FOLDS = 4
EMBARGO_S = 1.0
"""Event time left out before a test segment, besides what the outcomes themselves take."""
CALIBRATION = 0.2
"""Latest part of the training rows that the isotonic map is fitted on and the trees never see."""
LEAST_ROWS = 2_000
"""Training rows below which nothing is learned."""
ROUNDS = 40
MICRO_BATCH = 8_192
"""Messages decoded at once: signals take a few kilobytes each as columns."""

PARAMETERS: dict[str, Any] = {
    "objective": "quantile", "num_leaves": 15, "learning_rate": 0.1, "max_bin": 63, "min_data_in_bin": 5,
    "lambda_l2": 1.0, "use_missing": False, "zero_as_missing": False, "deterministic": True, "force_row_wise": True,
    "num_threads": 1, "seed": 1, "verbosity": -1,
}
"""Small trees, few rounds: what the book tells is an R squared of a few per cent, and outcomes overlap."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Signals of all symbols in order of time, what the fallback said of them, and what came true.

    `outcome` is the log return over the horizon, NaN where the log ends before; `end` its time, ns. `units` is the
    fallback's sigma, `x` the inputs of a model, `usable` the warm rows with an outcome.
    """

    columns: Columns
    fallback: Columns
    units: NDArray[np.float64]
    x: NDArray[np.float64]
    outcome: NDArray[np.float64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    usable: Rows


@dataclass(frozen=True)
class Metrics:
    """How good forecasts were: `coverage` of the 90 % interval, `pinball` loss of its three quantiles (basis points),
    `crps` of the normal law with mu and sigma (basis points), `brier` score of p_up."""

    rows: int
    coverage: float
    pinball: float
    crps: float
    brier: float

    def __str__(self) -> str:
        return (f"coverage {100 * self.coverage:5.1f} %  pinball {self.pinball:.4f} bp  CRPS {self.crps:.4f} bp  "
                f"Brier {self.brier:.4f}")


# ----------------------------------------------------------------------------------------------------------- the data


def signals(profile: Profile, log: Sequence[Sequence[bytes]], stamps: list[list[int]] | None = None,
            known: Contracts | None = None) -> Columns:
    """What signals.v1 holds for a log of market.ticks.v1 (a list of messages for each partition), in order of time."""
    chain = Chain(profile, len(log), MICRO_BATCH, known=known)
    written = chain.run(["features", "alphas"], [list(part) for part in log], stamps=stamps).get("signals.v1", [])
    slots: dict[bytes, int] = {}
    c = known or contracts()
    decoder = Decoder(c.schema("signals.v1"), c.writers("signals.v1"))
    parts = [_decoded(decoder, messages[at:at + MICRO_BATCH], slots) for messages in written
             for at in range(0, len(messages), MICRO_BATCH)]
    if not parts:
        raise UserError(STAGE, "the input must hold ticks that are admitted", "there is none", "give another input")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(whole["ts_order"], kind="stable")
    return {name: held[order] for name, held in whole.items()} | {"slots": len(slots)}


def _decoded(decoder: Decoder, messages: list[bytes], slots: dict[bytes, int]) -> Columns:
    columns = decoder.decode(messages).columns
    venue, symbol = columns.pop("venue"), columns.pop("symbol")
    names = [venue.at(row) + b":" + symbol.at(row) for row in range(len(messages))]
    return columns | {"slot": np.array([slots.setdefault(name, len(slots)) for name in names], np.int64)}


def blended(profile: Profile, columns: Columns, known: Models | None = None) -> Columns:
    """The ensemble stage over all rows; `columns["model"]` says which model is in force where."""
    stage = ensemble.stage(profile, known)
    state = StageState(np.zeros(columns["slots"], stage.symbol), np.zeros(1, stage.shared))
    return stage.step(state, {name: held for name, held in columns.items() if name != "slots"})


def outcomes(slot: Rows, mid: NDArray[np.float64], ts: Rows, horizon: int) -> tuple[NDArray[np.float64], Rows]:
    """Log return of each row's symbol over its next `horizon` ticks and the time it ends; NaN where the log ends first.

    >>> outcomes(np.zeros(3, int), np.array([1.0, 2.0, 1.0]), np.arange(3), 2)
    (array([ 0., nan, nan]), array([2, 2, 2]))
    """
    found, end = np.full(len(slot), np.nan), np.full(len(slot), ts[-1] if len(ts) else 0)
    for symbol in range(int(slot.max(initial=-1)) + 1):
        at = np.flatnonzero(slot == symbol)
        now, then = at[:-horizon], at[horizon:]
        found[now], end[now] = np.log(mid[then] / mid[now]), ts[then]
    return found, end


def sample(profile: Profile, columns: Columns) -> Sample:
    """All that training needs of some signals."""
    horizon = profile.alphas.horizon
    fallback = blended(profile, columns | {"model": np.zeros(len(columns["slot"]), np.int64)})
    outcome, end = outcomes(columns["slot"], columns["mid"], columns["ts_order"], horizon)
    units = fallback["sigma"]
    usable = ~np.isnan(outcome) & (units > 0) & (columns["history"] >= profile.ensemble.warm_up)
    return Sample(columns, fallback, units, models.matrix(columns, units, horizon), outcome, columns["ts_order"], end,
                  np.flatnonzero(usable))


# --------------------------------------------------------------------------------------------------------- the splits


def walk_forward(start: Rows, end: Rows, folds: int, embargo_ns: int) -> Iterator[tuple[Rows, Rows]]:
    """(training rows, test rows) of each fold; rows are in order of `start`, `end` is when their outcome was known.

    The rows are cut into folds + 1 segments of one size; each but the first is tested once. It is trained on what
    comes before it and whose outcome ended at least `embargo_ns` before it begins.

    >>> start = np.arange(9)
    >>> [(train.tolist(), test.tolist()) for train, test in walk_forward(start, start + 1, 2, 1)]
    [([0], [3, 4, 5]), ([0, 1, 2, 3], [6, 7, 8])]
    """
    edges = np.linspace(0, len(start), folds + 2).astype(int)
    for a, b in pairwise(edges[1:].tolist()):
        yield purged(np.arange(a), end, int(start[a]), embargo_ns), np.arange(a, b)


def purged(rows: Rows, end: Rows, before: int, embargo_ns: int) -> Rows:
    """Those rows whose outcome ended more than the embargo before a time."""
    return rows[end[rows] + embargo_ns < before]


# ----------------------------------------------------------------------------------------------------------- the model


@dataclass(frozen=True)
class Fitted:
    """What one training gives: LightGBM's text for each quantile, and the isotonic map."""

    texts: dict[str, str]
    isotonic: calibration.Isotonic

    def model(self, digest: str, about: dict[str, Any]) -> Model:
        """It as a model in memory."""
        return Model(digest, about, trees.read(list(self.texts.values()), len(about["inputs"])), self.isotonic)


def fit(x: NDArray[np.float64], y: NDArray[np.float64], start: Rows, end: Rows, embargo_ns: int,
        rounds: int = ROUNDS) -> Fitted:
    """Learn quantiles of `y` (outcomes in units of sigma) on the earlier rows, and the isotonic map on the latest.

    Raises UserError where there are too few rows.
    """
    import lightgbm

    cut = int(len(y) * (1 - CALIBRATION))
    early = purged(np.arange(cut), end, int(start[cut]), embargo_ns) if len(y) else np.zeros(0, np.int64)
    if len(early) < LEAST_ROWS:
        raise UserError(STAGE, f"a fold must have {LEAST_ROWS} rows to learn from", f"it has {len(early)}",
                        "give a longer input, or fewer folds")
    texts = {}
    for quantile in QUANTILES:
        parameters = PARAMETERS | {"alpha": quantile, "min_data_in_leaf": max(50, len(early) // 200)}
        data = lightgbm.Dataset(x[early], y[early], params=parameters)
        texts[models.file_of(quantile)] = lightgbm.train(parameters, data, rounds).model_to_string()
    latest = slice(cut, None)
    said = np.sort(trees.read(list(texts.values()), x.shape[1]).predict(x[latest]), axis=1)
    return Fitted(texts, calibration.fit(models.ratio(said), rises(y[latest])))


def rises(outcome: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for a return above 0, 0 below, one half for exactly 0: prices move on a grid and often end where they were."""
    return 0.5 * (1 + np.sign(outcome))


@dataclass(frozen=True)
class Trained:
    """A model that was written, and how every fold did beside the fallback."""

    digest: str
    folds: list[tuple[Metrics, Metrics]]
    rows: int


def train(profile: Profile, columns: Columns, source: str, folder: Path, folds: int = FOLDS,
          rounds: int = ROUNDS) -> Trained:
    """Measure by walk-forward, learn from everything, write the model. Raises UserError for too little input."""
    if profile.ensemble.intervals != "adaptive":
        raise UserError(STAGE, f"profile {profile.name} must have adaptive intervals",
                        f"they are {profile.ensemble.intervals}", "train another profile")
    s = sample(profile, columns)
    rows = s.usable
    if len(rows) < 2 * LEAST_ROWS:
        raise UserError(STAGE, f"the input must give {2 * LEAST_ROWS} warm signals with an outcome", str(len(rows)),
                        "give a longer one")
    x, y, start, end = s.x[rows], s.outcome[rows] / s.units[rows], s.start[rows], s.end[rows]
    embargo = int(EMBARGO_S * NS)
    about: dict[str, Any] = {
        "profile": profile.name, "profile_digest": profile.digest, "signals": models.signals_of(profile),
        "inputs": models.inputs(profile.alphas.names), "quantiles": list(QUANTILES), "source": source,
        "span": {"first_ts": int(s.start[0]), "last_ts": int(s.start[-1]), "ticks": len(s.start), "rows": len(rows)},
        "training": {"folds": folds, "embargo_s": EMBARGO_S, "rounds": rounds, "calibration": CALIBRATION,
                     "parameters": PARAMETERS}}
    measured = _folds(profile, s, rows, x, y, folds, rounds, about)
    whole = fit(x, y, start, end, embargo, rounds)
    about["isotonic"] = {"x": whole.isotonic.x.tolist(), "y": whole.isotonic.y.tolist()}
    about["metrics"] = [{"model": vars(model), "fallback": vars(fallback)} for model, fallback in measured]
    return Trained(models.save(folder, about, whole.texts), measured, len(rows))


def _folds(profile: Profile, s: Sample, rows: Rows, x: NDArray[np.float64], y: NDArray[np.float64], folds: int,
           rounds: int, about: dict[str, Any]) -> list[tuple[Metrics, Metrics]]:
    """Each fold's model beside the fallback on its test rows, both as the stage gives them."""
    known, embargo = Models(profile), int(EMBARGO_S * NS)
    in_force = np.zeros(len(s.start), np.int64)
    tests = []
    for fold, (early, test) in enumerate(walk_forward(s.start[rows], s.end[rows], folds, embargo), 1):
        made = fit(x[early], y[early], s.start[rows][early], s.end[rows][early], embargo, rounds)
        in_force[rows[test[0]]:] = known.add(made.model(f"{fold:016x}", about))
        tests.append(rows[test])
    run = blended(profile, s.columns | {"model": in_force}, known)
    return [(measure(run, s.outcome, test), measure(s.fallback, s.outcome, test)) for test in tests]


# ------------------------------------------------------------------------------------------------------------- figures


def measure(forecast: Columns, outcome: NDArray[np.float64], rows: Rows) -> Metrics:
    """Metrics of `opportunities.v1` columns at some rows."""
    y = outcome[rows]
    f = {name: forecast[name][rows] for name in ("mu", "sigma", "p_up", "q05", "q50", "q95")}
    losses = [pinball(y, f[name], level) for name, level in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95))]
    return Metrics(len(rows), float(((y >= f["q05"]) & (y <= f["q95"])).mean()), 1e4 * float(np.mean(losses)),
                   1e4 * float(crps(y, f["mu"], f["sigma"]).mean()), float(((f["p_up"] - rises(y)) ** 2).mean()))


def pinball(y: NDArray[np.float64], quantile: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Pinball loss of a quantile forecast (Koenker and Bassett 1978).

    >>> pinball(np.array([1.0, -1.0]), np.zeros(2), 0.75).tolist()
    [0.75, 0.25]
    """
    miss: NDArray[np.float64] = y - quantile
    return np.maximum(level * miss, (level - 1) * miss)


def crps(y: NDArray[np.float64], mu: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Continuous ranked probability score of the normal law (Gneiting and Raftery 2007, equation 21); |y - mu| at 0.

    >>> crps(np.array([0.0, 2.0]), np.zeros(2), np.array([1.0, 0.0])).round(6).tolist()
    [0.233695, 2.0]
    """
    from scipy.stats import norm

    z = np.divide(y - mu, sigma, out=np.zeros_like(y), where=sigma > 0)
    spread = sigma * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    found: NDArray[np.float64] = np.where(sigma > 0, spread, np.abs(y - mu))
    return found
