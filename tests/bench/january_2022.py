"""The January 2022 fall of Bitcoin, minute by minute, through the whole chain with the CVaR budget and without.

    python -m tests.bench.january_2022

Three runs of one strategy: with budget and limits; without either; and without, but at the mean exposure of the first,
so that what is left between them is when exposure was held and not how much. Prints exposure before and on the day
that fell most, the largest drawdown, and the path of CVaR; exits 1 unless the budget has cut exposure in the six hours
before that day and drawdown stays inside the limit.

Settings, none of them fitted to the outcome:
- Alpha: mean_reversion_50 alone. The bars have a made-up book of constant sizes, so only it and momentum_3_6 of the
  registered alphas say anything on them, and momentum over 3 and 6 minutes trades five times as often.
- Blend: logistic, weight 3, so that the largest score is 0.9 and exposure does not wait for evidence; entry as in the
  reference profile, 0.35. No gate asks for the cost: on bars there is always a position.
- Fixed notional: half the account at full score. Spread of 2 basis points crossed, no fee.
- Budget: 1 % of equity at 97.5 % over a day, brought to the minute by the square root of time (1,440 minutes).
- Risk, drawdown limits: the default profile's (reducing from 10 %, halted from 15 %).
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import schemas
from connectors.market.columns import Ticks, concat
from connectors.market.recordings import open_recording
from connectors.ticks import TickEncoder
from jobs.chain.inprocess import Chain, contracts
from jobs.chain.shard import TICKS
from schemas.codec import Decoder
from schemas.units import plain_columns, scaled
from udfs import profiles
from udfs.profiles import NS, Alphas, Ensemble, Fills, Profile, Sizing

BARS = Path(__file__).parents[3] / "shared" / "data" / "bars" / "btc-perp-20211231-20220201_1m.csv"
MINUTE, HOUR, DAY = 60 * NS, 3_600 * NS, 86_400 * NS
EQUITY, NOTIONAL = 1_000_000.0, 500_000.0
BUDGET = 0.01
"""CVaR of one position over a day, as a fraction of equity: what the default profile allows."""

LIMITS = profiles.DEFAULT.fills
BEFORE = 6 * HOUR


def strategy(notional: float, guarded: bool) -> Profile:
    """The default profile for one-minute bars, with CVaR budget and drawdown limits or without."""
    limits = {"reduce_drawdown": LIMITS.reduce_drawdown, "halt_drawdown": LIMITS.halt_drawdown} if guarded else {}
    return profiles.DEFAULT.model_copy(update={
        "alphas": Alphas(names=("mean_reversion_50",)),
        "ensemble": Ensemble(blend="logistic", weights=(3.0,)),
        "sizing": Sizing(reference_equity=EQUITY, fixed_notional=notional,
                         cvar_budget=BUDGET if guarded else 1.0, cvar_horizon_s=DAY / NS, cvar_band=1.25),
        "fills": Fills(initial_cash=EQUITY, lot=LIMITS.lot, mark_every_ns=MINUTE, bar_ns=MINUTE, **limits)})


class Run:
    """What one profile made of the bars: columns of equity.v1 and risk.v1."""

    def __init__(self, name: str, values: list[bytes], profile: Profile) -> None:
        topics = Chain(profile, shards=1, largest=5_000, taps=("risk.v1",)).run(["pipeline"], [values])
        self.name, self.equity, self.risk = name, _columns(topics, "equity.v1"), _columns(topics, "risk.v1")
        self.fills = len(topics["fills.v1"][0])

    def gross(self, start: int, end: int) -> float:
        """Mean absolute exposure over a stretch of event time, quote currency."""
        at = (self.equity["ts_order"] >= start) & (self.equity["ts_order"] < end)
        return float(self.equity["gross"][at].mean())

    def warm(self) -> int:
        """Event time of the first exposure."""
        return int(self.equity["ts_order"][np.argmax(self.equity["gross"] > 0)])

    def drawdown(self) -> float:
        """Largest fall from a peak of equity, fraction."""
        return float(self.equity["drawdown"].max())

    def loss(self, start: int) -> float:
        """Equity lost over one day, quote currency."""
        at = (self.equity["ts_order"] >= start) & (self.equity["ts_order"] < start + DAY)
        return float(self.equity["equity"][at][0] - self.equity["equity"][at][-1])


def _columns(topics: dict[str, Any], topic: str) -> dict[str, Any]:
    schema = schemas.load(schemas.topics()[topic].schema)
    columns = Decoder(schema, {contracts().id(topic): schema}).decode(topics[topic][0]).columns
    return plain_columns(columns, scaled(schema))


def worst_day(ticks: Ticks) -> tuple[int, float]:
    """Start of the UTC day over which the price fell most from close to close, and the fall, fraction."""
    mid, day = (ticks.bid + ticks.ask) / 2, ticks.ts_event // DAY
    closes = mid[np.flatnonzero(np.diff(day, append=-1))]
    changes = closes[1:] / closes[:-1] - 1
    at = int(np.argmin(changes))
    return int(np.unique(day)[1:][at]) * DAY, float(changes[at])


def _date(start: int) -> str:
    return str(np.datetime64(start, "ns").astype("datetime64[D]"))


def summary(run: Run, worst: int) -> str:
    """Exposure, drawdown and result of one run."""
    calm = run.gross(run.warm(), worst - BEFORE)
    before, on = run.gross(worst - BEFORE, worst), run.gross(worst, worst + DAY)
    return (f"{run.name}: mean exposure until then {calm:,.0f}, in the 6 hours before {before:,.0f} "
            f"({before / calm:.0%}), on the day {on:,.0f} ({on / calm:.0%}); loss on the day {run.loss(worst):,.0f}; "
            f"max drawdown {run.drawdown():.2%}; {run.fills} fills, final equity {run.equity['equity'][-1]:,.0f}")


def path(runs: list[Run], worst: int) -> None:
    """Print each day's CVaR: of one unit, and of what each account held."""
    risk = runs[0].risk
    for start in range(worst - 7 * DAY, worst + 5 * DAY, DAY):
        at = (risk["ts_order"] >= start) & (risk["ts_order"] < start + DAY)
        unit = risk["cvar_975"][at]
        held = ", ".join(f"{run.name} {run.gross(start, start + DAY):,.0f} at {_account(run, start):,.0f}"
                         for run in runs)
        print(f"{_date(start)}: CVaR 97.5 % of one minute {unit.mean():.3%}, most {unit.max():.3%}; "
              f"exposure at the account's own CVaR of one minute: {held}")


def _account(run: Run, start: int) -> float:
    """Mean over a day of the account's historical CVaR, quote currency."""
    at = (run.equity["ts_order"] >= start) & (run.equity["ts_order"] < start + DAY)
    return float(run.equity["account_cvar_975"][at].mean())


def main() -> int:
    """Run, print, and judge."""
    if not BARS.exists():
        print(f"{BARS.name} is not beside the project: nothing measured")
        return 0
    ticks = concat(open_recording([BARS]).ticks())
    _, values = TickEncoder(contracts().id(TICKS)).encode(ticks)
    worst, fall = worst_day(ticks)
    print(f"{len(ticks):,} one-minute bars, worst day {_date(worst)}: {fall:.1%}; budget {BUDGET:.0%} a day, "
          f"drawdown limit {LIMITS.reduce_drawdown:.0%} reducing, {LIMITS.halt_drawdown:.0%} halted")
    guarded, free = Run("with", values, strategy(NOTIONAL, True)), Run("without", values, strategy(NOTIONAL, False))
    ends = guarded.warm(), int(ticks.ts_event[-1])
    share = guarded.gross(*ends) / free.gross(*ends)
    alike = Run("without, same mean exposure", values, strategy(share * NOTIONAL, False))
    for run in (guarded, free, alike):
        print(summary(run, worst))
    path([guarded, free, alike], worst)
    cut = guarded.gross(worst - BEFORE, worst) / guarded.gross(guarded.warm(), worst - BEFORE)
    met = cut < 1 and guarded.drawdown() <= LIMITS.halt_drawdown
    print(f"budget cut exposure before the worst day to {cut:.0%} and drawdown {guarded.drawdown():.2%} is inside "
          f"{LIMITS.halt_drawdown:.0%}: {'met' if met else 'NOT met'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
