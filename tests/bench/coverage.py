"""Figures of the forecasts: coverage and scores on the simulator, after volatility doubles, and on recordings.

    python -m tests.bench.coverage [--quick]

Prints one line a figure and exits 1 if one is not met: 90 % intervals cover 88 to 92 % per regime on simulator data and
in the 500 events after a doubling, and no quantile crosses. A regime with fewer than a thousand outcomes, some fifty
that do not overlap, is told and not judged. On the recordings coverage is told, and the blend, the trained model, the
best single alpha (chosen afterwards, by its CRPS) and a naive forecast (zero mean, rolling volatility) stand side by
side.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from connectors.market.columns import Ticks
from connectors.market.simulator import Config, generate
from sigmaflow import learning, train
from udfs import conformal, models, profiles
from udfs.conformal import Z95
from udfs.stage import Columns

PROFILE = profiles.DEFAULT
HORIZON = PROFILE.alphas.horizon
DATA = Path(__file__).parents[3] / "shared" / "data"
RECORDINGS = {
    "Binance spot BTC ETH 2024-08-08": ("binance_spot/btcusdt_20240808.gz", "binance_spot/ethusdt_20240808.gz"),
    "Binance futures BTC 2020-02-22 (tardis)": ("tardis/tardis_quotes.csv", "tardis/tardis_trades.csv")}
LOW, HIGH = 0.88, 0.92
BEFORE, AFTER = 3_000, 1_000
"""Ticks before volatility doubles, and after."""
JUDGED = 1_000

Judge = Callable[[str, float, float, float], None]


def simulated(ticks: int, judge: Judge) -> None:
    """Coverage per regime on the simulator with its own changes of volatility, and crossings."""
    config = Config(seed=7, count=ticks)
    s = learning.sample(PROFILE, learning.signals(PROFILE, train.messages(generate(config))))
    for regime, inside in per_regime(s.fallback, s):
        line = f"simulator, regime {regime}: coverage of {len(inside):,} intervals"
        if len(inside) < JUDGED:
            print(f"{line} {inside.mean():.4f} (too few to judge)")
        else:
            judge(line, float(inside.mean()), LOW, HIGH)
    judge(f"simulator: crossed quantiles in {ticks:,} rows", crossed(s.fallback), 0, 0)


def per_regime(forecast: Columns, s: learning.Sample) -> Iterator[tuple[int, np.ndarray]]:
    """(regime, whether each outcome lay inside) for every regime that was met."""
    rows = s.usable
    inside = (s.outcome >= forecast["q05"]) & (s.outcome <= forecast["q95"])
    for regime in np.unique(s.columns["regime"][rows]).tolist():
        yield regime, inside[rows[s.columns["regime"][rows] == regime]]


def crossed(forecast: Columns) -> float:
    """Rows where a quantile lies above a higher one, or is no number."""
    return float((~((forecast["q05"] <= forecast["q50"]) & (forecast["q50"] <= forecast["q95"]))).sum())


def doubled(seed: int) -> Ticks:
    """One symbol whose volatility doubles: two simulations, the second moved by whole cents to where the first ends."""
    calm = Config(seed=seed, symbols=1, rate=200.0, count=BEFORE, jumps_per_hour=0)
    first = next(generate(calm))
    wild = replace(calm, seed=seed + 1_000_000, count=AFTER + HORIZON, volatility=2 * calm.volatility,
                   start_ns=int(first.ts_event[-1]), first_seq=BEFORE + 1)
    second = next(generate(wild))
    shift = np.rint(100 * (first.bid[-1] - second.bid[0])) / 100
    moved = replace(second, **{n: np.rint(100 * (getattr(second, n) + shift)) / 100 for n in ("bid", "ask")})
    names = [name for name in vars(first) if name != "instruments"]
    return replace(first, **{n: np.concatenate([getattr(first, n), getattr(moved, n)]) for n in names})


def doubling(repetitions: int, judge: Judge) -> None:
    """Coverage in the events after volatility doubles, the average of many repetitions."""
    rows = []
    for seed in range(1, repetitions + 1):
        s = learning.sample(PROFILE, learning.signals(PROFILE, train.messages([doubled(seed)])))
        rows.append((s.outcome >= s.fallback["q05"]) & (s.outcome <= s.fallback["q95"]))
    inside = np.array(rows)[:, :BEFORE + AFTER]
    for a, b in pairwise(range(0, 501, 100)):
        found = inside[:, BEFORE + a:BEFORE + b].mean()
        print(f"volatility doubles: coverage in events {a + 1} to {b} after it {found:.4f}")
    judge(f"volatility doubles, {repetitions} times: coverage in the 500 events after it",
          float(inside[:, BEFORE:BEFORE + 500].mean()), LOW, HIGH)
    judge("volatility doubles: coverage in events 401 to 500 after it",
          float(inside[:, BEFORE + 400:BEFORE + 500].mean()), LOW, HIGH)


def recorded(name: str, files: tuple[str, ...]) -> None:
    """Coverage and scores on a recording; all contenders on the rows that the walk-forward tested."""
    paths = [str(DATA / file) for file in files]
    s = learning.sample(PROFILE, train.from_files(PROFILE, paths))
    for regime, inside in per_regime(s.fallback, s):
        print(f"{name}, regime {regime}: coverage of {len(inside):,} intervals {inside.mean():.4f}", flush=True)
    folds = max(1, min(learning.FOLDS, len(s.usable) // 4_000))
    test = np.concatenate([rows for _, rows in learning.walk_forward(
        s.start[s.usable], s.end[s.usable], folds, int(learning.EMBARGO_S * 1e9))])
    with TemporaryDirectory() as folder:
        made = learning.train(PROFILE, s.columns, name, Path(folder), folds)
    alphas = {f"alpha {alpha}": normal(s.columns["signals.mu"][:, k], s.columns["signals.sigma"][:, k])
              for k, alpha in enumerate(PROFILE.alphas.names)}
    scored = {which: learning.measure(held, s.outcome, s.usable[test]) for which, held in alphas.items()}
    best = min(scored, key=lambda which: scored[which].crps)
    naive = normal(np.zeros(len(s.start)), s.columns["volatility"] * np.sqrt(HORIZON))
    lines = {"blend": learning.measure(s.fallback, s.outcome, s.usable[test]), f"best {best}": scored[best],
             "naive": learning.measure(naive, s.outcome, s.usable[test])}
    for number, (model, _) in enumerate(made.folds, 1):
        print(f"{name}, {model.rows:,} rows: trained model, fold {number} {model}")
    weight = np.array([model.rows for model, _ in made.folds])
    print(f"{name}, {weight.sum():,} rows: trained model, all folds CRPS "
          f"{np.average([m.crps for m, _ in made.folds], weights=weight):.4f} bp")
    for which, found in lines.items():
        print(f"{name}, {found.rows:,} rows: {which} {found}")


def normal(mu: np.ndarray, sigma: np.ndarray) -> Columns:
    """A normal forecast as columns of opportunities.v1."""
    from scipy.stats import norm

    ratio = np.divide(mu, sigma, out=np.zeros_like(mu), where=sigma > 0)
    return {"mu": mu, "sigma": sigma, "q05": mu - Z95 * sigma, "q50": mu, "q95": mu + Z95 * sigma,
            "p_up": norm.cdf(ratio)}


def million(rows: int, judge: Judge) -> None:
    """Crossed quantiles of a model and intervals on rows of noise far outside of anything trained on."""
    rng = np.random.default_rng(1)
    scaled = rng.standard_cauchy((rows, 5)) * np.exp(rng.normal(0, 10, (rows, 1)))
    ordered = np.sort(scaled, axis=1)
    track = np.zeros(16, conformal.track(3, HORIZON))
    low, high = np.empty(rows), np.empty(rows)
    slot, regime, realised = rng.integers(0, 16, rows), rng.integers(0, 3, rows), rng.standard_cauchy(rows)
    conformal.intervals(track, slot, regime, realised, regime, ordered[:, 2], ordered[:, 2] - ordered[:, 0],
                        ordered[:, 4] - ordered[:, 2], PROFILE.ensemble.interval_step, low, high)
    judge(f"noise: crossed quantiles in {rows:,} rows",
          crossed({"q05": low, "q50": ordered[:, 2], "q95": high}), 0, 0)
    assert len(models.QUANTILES) == ordered.shape[1]


def main(quick: bool) -> int:
    """Print every figure; the number of those not met."""
    missed = []

    def judge(title: str, found: float, least: float, most: float) -> None:
        met = least <= found <= most
        print(f"{title} {found:.4g}" + ("" if met else f"  NOT MET: {least:g} to {most:g}"), flush=True)
        missed.extend([] if met else [title])

    simulated(400_000 if quick else 1_000_000, judge)
    million(1_000_000, judge)
    doubling(40 if quick else 300, judge)
    for name, files in RECORDINGS.items():
        if all((DATA / file).exists() for file in files):
            recorded(name, files)
        else:
            print(f"{name}: left out, the recording is not beside the project")
    return len(missed)


if __name__ == "__main__":
    raise SystemExit(1 if main("--quick" in sys.argv) else 0)
