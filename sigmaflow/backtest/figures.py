"""The figures of one run, as a sweep compares them and as the end of a backtest prints them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from sigmaflow import report_stats as stats
from sigmaflow.backtest import sharpe
from sigmaflow.backtest.engine import Ran
from sigmaflow.record import Frames
from sigmaflow.report_stats import Floats
from udfs.profiles import Profile


@dataclass(frozen=True)
class Figures:
    """Of one run. Amounts in quote currency, shares as fractions, bars of `bar_s` seconds; NaN where there is none.

    `beyond_cvar` is the share of the ledger's bars that lost more than its CVaR (97.5 %) said as they began: at most
    0.025 where that is right.
    """

    equity: float
    profit: float
    returned: float
    sharpe: float
    sharpe_error: float
    bars: int
    bar_s: float
    max_drawdown: float
    cvar: float
    beyond_cvar: float
    orders: int
    fills: int
    turnover: float
    fees: float
    slippage: float
    hit_rate: float
    state: str

    def record(self) -> dict[str, Any]:
        """As plain values, the return under its own name; None where there is none."""
        held = {"return" if name == "returned" else name: value for name, value in asdict(self).items()}
        return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in held.items()}


def changes(equity: pd.DataFrame, bar_ns: int) -> Floats:
    """Change of equity over each bar; none where nothing was marked."""
    return stats.bar_changes(equity["ts_order"].to_numpy(), equity["equity"].to_numpy(), bar_ns)


def beyond_cvar(equity: pd.DataFrame, bar_ns: int) -> float:
    """Share of bars with a CVaR that lost more than it; NaN where no bar has one.

    >>> beyond_cvar(pd.DataFrame({"ts_order": [0, 1, 2, 3], "equity": [9.0, 8.0, 8.0, 5.0],
    ...                           "account_cvar_975": [0.0, 2.0, 2.0, 2.0]}), 1)
    0.3333333333333333
    """
    if equity.empty:
        return math.nan
    bars = equity.groupby(equity["ts_order"] // bar_ns).agg({"equity": "last", "account_cvar_975": "first"})
    lost, said = -bars["equity"].diff(), bars["account_cvar_975"]
    judged = (said > 0) & lost.notna()
    return float((lost[judged] > said[judged]).mean()) if judged.any() else math.nan


def of(ran: Ran, held: Frames, profile: Profile) -> Figures:
    """Figures of a run and its frames; an account that never had a tick ends as it began."""
    equity, fills, bar_ns = held.equity, held.fills, stats.bar_length(ran.results.span_ns)
    start = stats.start_equity(equity) if len(equity) else profile.fills.initial_cash
    end = float(equity["equity"].iloc[-1]) if len(equity) else start
    made = changes(equity, bar_ns)
    traded = stats.notional(fills)

    def share(value: float) -> float:
        return value / start if start > 0 else math.nan

    return Figures(
        equity=end, profit=end - start, returned=share(end - start), sharpe=stats.sharpe(made),
        sharpe_error=sharpe.error_of(made), bars=len(made), bar_s=bar_ns / stats.SECOND,
        max_drawdown=stats.max_drawdown(equity) if len(equity) else 0.0, cvar=stats.cvar(made),
        beyond_cvar=beyond_cvar(equity, profile.fills.bar_ns), orders=_last(equity, "orders"),
        fills=_last(equity, "fills"), turnover=share(traded), fees=float(fills["fee"].sum()) if len(fills) else 0.0,
        slippage=stats.slippage(fills), hit_rate=stats.hit_rate(fills),
        state=str(equity["state"].iloc[-1]) if len(equity) else "ACTIVE")


def _last(equity: pd.DataFrame, name: str) -> int:
    return int(equity[name].iloc[-1]) if len(equity) else 0


def frames(ran: Ran, trades: pd.DataFrame) -> Frames:
    """What a run wrote."""
    whole = {topic.removesuffix(".v1"): frame.whole() for topic, frame in ran.results.frames.items()}
    return Frames(whole["equity"], whole["fills"], whole["decisions"], trades)
