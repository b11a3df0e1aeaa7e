"""What each alpha was worth on the recorded sessions: `python -m tests.bench.alphas_worth [../shared/data]`.

Forecasts are those of the chain itself, made tick by tick before their outcome was known; the first ticks, which only
teach, do not count. A trade follows the sign of mu at every horizon-th tick, from mid to mid of the tick a horizon
later, so trades do not overlap. Costs are half the spread at entry and at exit and two fees of the profile.
"""
from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from connectors.market.columns import concat
from connectors.market.recordings import open_recording
from tests.kit import run
from udfs import profiles
from udfs.regimes import NAMES
from udfs.stage import Columns
from udfs.stages import alphas, features

SESSIONS = {
    "Binance spot, 8 August 2024": ("binance_spot/btcusdt_20240808.gz", "binance_spot/ethusdt_20240808.gz"),
    "Binance futures (tardis), 22 February 2020": ("tardis/tardis_quotes.csv", "tardis/tardis_trades.csv"),
    "Coinbase Advanced Trade, 9 August 2026": ("coinbase/COINBASE.jsonl.zst",),
    "Coinbase Exchange, 2021": ("coinbase/COINBASE.ws.28.0",),
}
PROFILE = profiles.DEFAULT
HORIZON = PROFILE.alphas.horizon
WARM, LEAST = 500, 1_000
"""Ticks of a symbol that only teach; ticks that must be left for a table."""

BPS = 1e4
HEAD = ("| alpha | ticks | IC | hit | trades | gross | s.e. | late | net | net, surest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")


@dataclass(frozen=True)
class Outcomes:
    """What came true after each tick of one symbol: returns from mid to mid, costs, as log returns."""

    realised: NDArray[np.float64]
    late: NDArray[np.float64]
    cost: NDArray[np.float64]


def session(folder: Path, files: tuple[str, ...]) -> tuple[list[str], Columns]:
    """The symbols and ticks of one recording, as the features stage takes them: all in one partition."""
    ticks = concat(open_recording([folder / file for file in files]).ticks())
    names = ("bid", "ask", "bid_size", "ask_size", "last_price", "last_size", "last_side")
    columns: Columns = {name: getattr(ticks, name) for name in names}
    columns |= {"slot": ticks.instrument, "ts_order": np.maximum.accumulate(ticks.ts_event)}
    return [":".join(instrument) for instrument in ticks.instruments], columns


def outcomes(f: Columns) -> Outcomes:
    """Outcomes of all ticks that have one; `late` enters at the first tick after the profile's latency."""
    mid, rows = f["mid"], len(f["mid"]) - HORIZON
    later = np.searchsorted(f["ts_order"], f["ts_order"][:rows] + PROFILE.fills.latency_ns)
    entry, end = np.minimum(later, np.arange(rows) + HORIZON), np.arange(rows) + HORIZON
    half = f["spread"] / mid / 2
    return Outcomes(np.log(mid[HORIZON:] / mid[:rows]), np.log(mid[end] / mid[entry]),
                    half[:rows] + half[HORIZON:] + 2 * PROFILE.fills.fee_bps / BPS)


def row(name: str, mu: NDArray[np.float64], made: Outcomes) -> str:
    """One alpha's line of the table; bps a trade."""
    rows = np.arange(WARM, len(made.realised))
    said = rows[mu[rows] != 0]
    if len(said) < 2:
        return f"| {name} | {len(said):,} | silent | | | | | | | |"
    moved = said[made.realised[said] != 0]
    rank = spearmanr(mu[said], made.realised[said])[0]
    hit = (np.sign(mu[moved]) == np.sign(made.realised[moved])).mean()
    trades = rows[::HORIZON][mu[rows[::HORIZON]] != 0]
    way = np.sign(mu[trades])
    gross, late = way * made.realised[trades] * BPS, way * made.late[trades] * BPS
    net = gross - made.cost[trades] * BPS
    surest = np.abs(mu[trades]) >= np.quantile(np.abs(mu[trades]), 0.9)
    error = gross.std(ddof=1) / len(gross) ** 0.5
    return (f"| {name} | {len(said):,} | {rank:+.3f} | {hit:.1%} | {len(trades):,} | {gross.mean():+.3f} | {error:.3f} "
            f"| {late.mean():+.3f} | {net.mean():+.3f} | {net[surest].mean():+.3f} |")


def table(name: str, f: Columns, mu: NDArray[np.float64]) -> list[str]:
    """A symbol's table with what one must know to read it."""
    seconds = (f["ts_order"][HORIZON:] - f["ts_order"][:-HORIZON]) / 1e9
    made, share = outcomes(f), np.bincount(f["regime"], minlength=len(NAMES)) / len(f["regime"])
    moves = (made.realised[WARM:] != 0).mean()
    spread = (f["spread"] / f["mid"]).mean() * BPS
    lines = [f"**{name}**: {len(f['mid']):,} ticks. {HORIZON} ticks took {np.median(seconds):.3f} s at the median and",
             f"moved the mid in {moves:.0%} of all cases. Mean spread {spread:.3f} bps. Share of the regimes:",
             ", ".join(f"{n} {s:.0%}" for n, s in zip(NAMES, share, strict=True)) + ".", "", *HEAD]
    lines += [row(alpha, mu[:, k], made) for k, alpha in enumerate(PROFILE.alphas.names)]
    return [*lines, row("mean of all", mu.mean(axis=1), made), ""]


def report(title: str, names: list[str], columns: Columns) -> list[str]:
    """All tables of one recording."""
    f = run(features.stage(PROFILE), columns)
    found = run(alphas.stage(PROFILE), f)["signals.mu"]
    lines = [f"## {title}", ""]
    short: list[int] = []
    for slot, name in enumerate(names):
        at = np.flatnonzero(f["slot"] == slot)
        if len(at) < WARM + LEAST + HORIZON:
            short.append(len(at))
        else:
            lines += table(name, {k: v[at] for k, v in f.items() if np.ndim(v)}, found[at])
    few = f"Too few ticks to say anything: {len(short)} symbols of at most {max(short, default=0)} ticks."
    return [*lines, few, ""] if short else lines


def main(arguments: list[Any]) -> int:
    """Print the report; 1 where the recordings are not there."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        print(f"no recordings at {folder}; give their folder", file=sys.stderr)
        return 1
    for title, files in SESSIONS.items():
        print("\n".join(report(title, *session(folder, files))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
