"""Risk methods on the recordings: forecasts of each tick's return, made before it, under every backtest.

    python -m tests.bench.risk_backtest

A line for each recording, method and filter at 97.5 %: hits, p-values of Kupiec, Christoffersen and Acerbi-Szekely Z2,
Fissler-Ziegel loss with its difference to plain history and the Diebold-Mariano statistic of that difference (below
-1.96: better than history). The first line of each is history without a floor under CVaR; the others have the default
profile's (`risk.least_cvar`). Returns of 0 on ticks are left in: they are what a position meets. Nothing is held to a
bound; losses are printed as they are.
"""
from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.market.columns import concat
from connectors.market.recordings import open_recording
from tests.kit import run
from udfs import profiles
from udfs.profiles import Risk
from udfs.risk.backtest import Backtest, aligned, backtest, fissler_ziegel
from udfs.risk.volatility import fit
from udfs.stages import risk

DATA = Path(__file__).parents[3] / "shared" / "data"
RECORDINGS = {
    "BTC-PERP minutes, January 2022": "bars/btc-perp-20211231-20220201_1m.csv",
    "Binance BTCUSDT spot, 6 minutes": "binance_spot/btcusdt_20240808.gz",
    "Binance ETHUSDT spot, 6 minutes": "binance_spot/ethusdt_20240808.gz",
    "Binance futures BTCUSDT (tardis), 4 minutes": "tardis/tardis_quotes.csv",
    "SPY days, 1998 to 2021": "bars/spy_daily.zip",
}
TAIL, LEVEL = 0.025, "975"
Array = NDArray[np.float64]


def mids(path: Path) -> Array:
    """Mids of a recording of one instrument, quote currency."""
    ticks = concat(open_recording([path]).ticks())
    return (ticks.bid + ticks.ask) / 2


def forecasts(mid: Array, settings: Risk) -> tuple[Array, Array, Array]:
    """Returns and the VaR and CVaR that were known before each, where the window was full."""
    found = run(risk.stage(profiles.DEFAULT.model_copy(update={"risk": settings})),
                {"slot": np.zeros(len(mid), int), "mid": mid})
    return aligned(mid, found[f"var_{LEVEL}"], found[f"cvar_{LEVEL}"], found["warm"])


def better(losses: Array) -> float:
    """Diebold-Mariano statistic of differences of losses, with Newey-West errors."""
    count = len(losses)
    off = losses - losses.mean()
    lags = int(4 * (count / 100) ** (2 / 9))
    variance = off @ off / count
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (off[lag:] @ off[:-lag]) / count
    return float(losses.mean() / math.sqrt(variance / count)) if variance > 0 else 0.0


def line(name: str, r: Backtest, difference: float, statistic: float) -> str:
    """One plain line."""
    return (f"{name}: hits {r.hits / r.count:.2%} of {r.count}, p Kupiec {r.kupiec.p_value:.3f}, independence "
            f"{r.independence.p_value:.3f}, Z2 {r.z2.value:+.3f} (p {r.z2.p_value:.3f}), FZ0 {r.loss:.4f}, "
            f"against history {difference:+.4f} (DM {statistic:+.1f})")


def report(name: str, mid: Array) -> None:
    """Print all methods of one recording."""
    rows = forecasts(mid, Risk())
    plain = fissler_ziegel(*rows, TAIL)
    print(line(f"{name}, historical, no filter, no floor", backtest(*rows, TAIL), 0.0, 0.0))
    for method in risk.METHODS:
        for kind in risk.FILTERS:
            settings = profiles.DEFAULT.risk.model_copy(update={"method": method, "filter": kind})
            rows = forecasts(mid, settings)
            difference = fissler_ziegel(*rows, TAIL) - plain
            print(line(f"{name}, {method}, filter {kind}", backtest(*rows, TAIL), difference.mean(),
                       better(difference)))


def fitted(name: str, mid: Array) -> None:
    """Print the GARCH that arch fits to the first half, and what it is worth on the second."""
    half = len(mid) // 2
    try:
        model = fit(np.diff(np.log(mid[:half])))
    except ValueError as error:
        print(f"{name}, GARCH fitted to the first half: {error}")
        return
    given = profiles.DEFAULT.risk
    own = given.model_copy(update={"garch_alpha": model.alpha, "garch_beta": model.beta})
    difference = np.subtract(*(fissler_ziegel(*forecasts(mid[half:], s), TAIL) for s in (own, given)))
    print(f"{name}, GARCH fitted to the first half: alpha {model.alpha:.3f}, beta {model.beta:.3f}; on the second FZ0 "
          f"{difference.mean():+.4f} against the default's {given.garch_alpha:g} and {given.garch_beta:g} "
          f"(DM {better(difference):+.1f})")


if __name__ == "__main__":
    for name, file in RECORDINGS.items():
        if (DATA / file).exists():
            report(name, mids(DATA / file))
            fitted(name, mids(DATA / file))
        else:
            print(f"{name}: {file} is not beside the project")
