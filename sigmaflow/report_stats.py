"""Statistics of a trading record: pure functions on the rows of equity.v1, fills.v1 and decisions.v1.

Frames hold the Avro fields of `schemas/` as columns, rows in Kafka order, times in ns since 1970-01-01 UTC, money in
quote currency. Every function uses all rows; nothing here is downsampled.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SECOND = 1_000_000_000
#: Bar lengths a person can read, shortest first. Unit: ns.
BARS = [s * SECOND for s in (1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)]
#: Fewest bars a per-bar statistic is given where the span allows it: four times the 30 of the textbook's rule of thumb.
WANTED_BARS = 120


def last_run(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the rows of the newest run and how many runs the record holds.

    A run begins where `account_seq` falls back: a chain that starts afresh counts from 1 again.

    >>> rows, runs = last_run(pd.DataFrame({"account_seq": [1, 2, 3, 1, 2]}))
    >>> len(rows), runs
    (2, 2)
    """
    if frame.empty:
        return frame, 0
    starts = np.flatnonzero(np.diff(frame["account_seq"].to_numpy()) < 0) + 1
    first = int(starts[-1]) if len(starts) else 0
    return frame.iloc[first:].reset_index(drop=True), len(starts) + 1


def same_span(frame: pd.DataFrame, equity: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `frame` whose order time lies within that of `equity`: those of the same run."""
    if frame.empty or equity.empty:
        return frame
    order = equity["ts_order"].to_numpy()
    inside = (frame["ts_order"] >= order.min()) & (frame["ts_order"] <= order.max())
    return frame[inside].reset_index(drop=True)


def start_equity(equity: pd.DataFrame) -> float:
    """Return the account's equity before its first trade: the first mark less the profit it already shows.

    >>> start_equity(pd.DataFrame({"equity": [99.0, 101.0], "symbol_pnl": [-1.0, 1.0]}))
    100.0
    """
    if equity.empty:
        return math.nan
    return float(equity["equity"].iloc[0] - equity["symbol_pnl"].iloc[0])


def bar_length(span_ns: int) -> int:
    """Return the longest readable bar that gives at least WANTED_BARS bars, else one second. Unit: ns.

    >>> bar_length(600 * SECOND) // SECOND
    5
    """
    fitting = [bar for bar in BARS if span_ns >= WANTED_BARS * bar]
    return fitting[-1] if fitting else BARS[0]


def bar_changes(ts_ns: Ints, equity: Floats, bar_ns: int) -> Floats:
    """Return the change of equity over each bar, empty bars included as 0. Unit: quote currency.

    A bar's value is the last mark inside it; a bar without a mark keeps the one before.

    >>> bar_changes(np.array([0, 1, 2, 7]), np.array([10.0, 12.0, 11.0, 14.0]), 2).tolist()
    [-1.0, 0.0, 3.0]
    """
    if len(ts_ns) == 0:
        return np.empty(0)
    bars = (ts_ns - ts_ns.min()) // bar_ns
    edges = np.arange(int(bars.max()) + 1)
    last = np.searchsorted(bars, edges, side="right") - 1
    return np.diff(equity[last])


def sharpe(changes: Floats) -> float:
    """Return mean over standard deviation (n - 1) of the bar changes; NaN below 2 bars or where nothing moved.

    Not annualised: a factor for bars of seconds would be a claim about days nobody has seen.

    >>> round(sharpe(np.array([1.0, -1.0, 2.0, 0.0])), 4)
    0.3873
    """
    spread = float(np.std(changes, ddof=1)) if len(changes) > 1 else 0.0
    return float(np.mean(changes)) / spread if spread > 0 else math.nan


def cvar(changes: Floats, level: float = 0.975) -> float:
    """Return the historical CVaR of the bar changes: minus the mean of the worst ceil((1 - level) n). Loss positive.

    Source: Rockafellar and Uryasev (2000), equal weights, as bench/SEMANTICS.md counts the tail. NaN for no bars.

    >>> cvar(np.array([-5.0, -1.0, 0.0, 2.0]), 0.5)
    3.0
    """
    if len(changes) == 0:
        return math.nan
    tail = max(1, math.ceil(round((1 - level) * len(changes), 9)))
    return -float(np.mean(np.partition(changes, tail - 1)[:tail])) + 0.0


def max_drawdown(equity: pd.DataFrame) -> float:
    """Return the ledger's largest drawdown at the marks; NaN for an account that starts from 0.

    The ledger's peak is over all ticks, so this is at least what the marks alone would show.

    >>> max_drawdown(pd.DataFrame({"equity": [9.0, 8.0], "symbol_pnl": [0.0, -1.0], "drawdown": [0.0, 0.2]}))
    0.2
    """
    return float(equity["drawdown"].max()) if start_equity(equity) > 0 else math.nan


def notional(fills: pd.DataFrame) -> float:
    """Return the value traded: the sum of quantity times price. Unit: quote currency."""
    return float((fills["quantity"] * fills["price"]).sum()) if len(fills) else 0.0


def slippage(fills: pd.DataFrame) -> float:
    """Return what fills cost against the mid at the decision, loss positive, fees apart. Unit: quote currency."""
    if fills.empty:
        return 0.0
    sign = np.where(fills["side"] == "BUY", 1.0, -1.0)
    return float((sign * fills["quantity"] * (fills["price"] - fills["decision_mid"])).sum())


def hit_rate(fills: pd.DataFrame) -> float:
    """Return the share of position-closing fills that realised a profit, fees apart; NaN where none closed.

    >>> hit_rate(pd.DataFrame({"realized_pnl": [0.0, 2.0, -1.0, 1.0]}))
    0.6666666666666666
    """
    closed = fills["realized_pnl"][fills["realized_pnl"] != 0] if len(fills) else pd.Series(dtype=float)
    return float((closed > 0).mean()) if len(closed) else math.nan


def pnl_by_symbol(equity: pd.DataFrame) -> pd.Series:
    """Return each symbol's profit at its last mark, largest first. Unit: quote currency."""
    if equity.empty:
        return pd.Series(dtype=float)
    return equity.groupby("symbol", sort=False)["symbol_pnl"].last().sort_values(ascending=False)


def pnl_by_alpha(fills: pd.DataFrame, equity: pd.DataFrame) -> pd.Series:
    """Return the profit of each alpha, largest first. Unit: quote currency.

    Each holding belongs to the alpha that led the order which opened it: from a fill to the next fill of the symbol
    (or to the last mark) the position's gain is that alpha's, and so is the fee. These parts add up to cash flow plus
    position at the mark, so their sum is the profit of the account; realised profit booked on the closing fill would
    credit the alpha that happened to end the trade.

    >>> fills = pd.DataFrame({"symbol": ["A", "A"], "price": [10.0, 12.0], "position": [5.0, -5.0],
    ...                       "fee": [0.0, 1.0], "top_alpha": ["trend", "revert"]})
    >>> equity = pd.DataFrame({"symbol": ["A"], "mid": [11.0]})
    >>> pnl_by_alpha(fills, equity).to_dict()
    {'trend': 10.0, 'revert': 4.0}
    """
    if fills.empty:
        return pd.Series(dtype=float)
    marks = equity.groupby("symbol")["mid"].last() if len(equity) else pd.Series(dtype=float)
    until = fills.groupby("symbol")["price"].shift(-1)
    until = until.fillna(fills["symbol"].map(marks)).fillna(fills["price"])
    gain = fills["position"] * (until - fills["price"]) - fills["fee"]
    return gain.groupby(fills["top_alpha"]).sum().sort_values(ascending=False)


def verdicts(decisions: pd.DataFrame) -> pd.Series:
    """Return how many decisions sent an order and how many each gate stopped, most first. Unit: count."""
    if decisions.empty:
        return pd.Series(dtype=int)
    sent = decisions["order_id"].notna()
    stopped = decisions["failed_gate"].where(decisions["failed_gate"] != "", "no order needed")
    return stopped.where(~sent, "order sent").value_counts()


def fill_latency(fills: pd.DataFrame) -> Floats:
    """Return the event time from deciding each order to its fill. Unit: s."""
    if fills.empty:
        return np.empty(0)
    return (fills["ts_event"] - fills["ts_order_sent"]).to_numpy(dtype=np.float64) / SECOND


def live_latency(fills: pd.DataFrame, limit_s: float = 60.0) -> Floats:
    """Return broker time less the tick's event time of the fills that were made live. Unit: s.

    A replay's event time is far from the broker's clock, and a venue's clock may run ahead: what is negative or above
    `limit_s` says nothing about latency and is left out. `kafka_ms` is the record's timestamp.
    """
    if fills.empty or "kafka_ms" not in fills:
        return np.empty(0)
    delay = fills["kafka_ms"].to_numpy(dtype=np.float64) / 1e3 - fills["ts_event"].to_numpy(dtype=np.float64) / SECOND
    return delay[(delay >= 0) & (delay <= limit_s)]
