"""Cost analysis of a trading record: from its frames to the arrays of udfs/costs.py, and the tear sheet's sections.

An order is a decision that sent one; a decision whose target a ledger's gate held back counts as an order of which
nothing was filled. It ends where the next target of its instrument is decided, or with the record. Mids are those of
decisions.v1, which has every tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from sigmaflow import report_stats as stats
from sigmaflow import report_svg as svg
from udfs import profiles
from udfs.costs import (
    HORIZONS_S,
    PARTS,
    Executions,
    Floats,
    Ints,
    Orders,
    as_of,
    interval_vwap,
    markout,
    shortfall,
    time_weighted,
)

KEY = ["venue", "symbol"]
"""What names an instrument."""

NEEDED = ("order_id", "intent_id", "order_quantity", "target", "position", "mid", "spread", "top_alpha")
"""Fields of decisions.v1 without which there is no analysis."""

NOTHING_TO_DO = ("", "quantity")
"""Failed gates of a decision that held no order back: none, and the one that finds the target reached."""


@dataclass(frozen=True)
class Analysis:
    """`orders` has a row for each: its parts, `total`, `value` (quantity at the decision's mid), `filled`, `average`
    price, `benchmark` over its life and whether that is of trades. `fills` has a column for each markout horizon, in
    seconds. `left_out` fills belong to no order of the record.
    """

    orders: pd.DataFrame
    fills: pd.DataFrame
    left_out: int

    @property
    def error(self) -> float:
        """Largest difference of an order between the sum of its parts and its shortfall. Unit: quote currency."""
        gap = (self.orders[list(PARTS)].sum(axis=1) - self.orders["total"]).abs()
        return float(gap.max()) if len(gap) else 0.0


def latency_ns(decisions: pd.DataFrame) -> int:
    """Return the event time from decision to arrival under the profile that decided; 0 where that is not known."""
    if decisions.empty or str(decisions["strategy"].iloc[-1]) not in profiles.names():
        return 0
    profile = profiles.get(str(decisions["strategy"].iloc[-1]))
    return profile.fills.latency_ns if profile.digest == decisions["config_digest"].iloc[-1] else 0


def analyse(decisions: pd.DataFrame, fills: pd.DataFrame, trades: pd.DataFrame, latency: int) -> Analysis:
    """Return the costs of one run. `trades` are ticks with their last trade, empty where there are none to read."""
    orders = _orders(decisions, latency)
    place = pd.Series(np.arange(len(orders)), orders["order_id"])[lambda held: held.index.notna()]
    of = fills["order_id"].map(place) if len(fills) else pd.Series(dtype=float)
    known = of.notna().to_numpy() & fills["account_seq"].isin(decisions["account_seq"]).to_numpy()
    own = fills[known].assign(order=of[known].to_numpy(np.int64)).reset_index(drop=True)
    own = _quoted(own, decisions).assign(**{name: orders[name].to_numpy()[own["order"]] for name in KEY})
    costs = shortfall(_as_orders(orders), _as_executions(own))
    orders = _filled(orders.assign(**costs), own)
    return Analysis(_benchmarked(orders, decisions, trades), _marked(own, decisions), len(fills) - len(own))


def _orders(decisions: pd.DataFrame, latency: int) -> pd.DataFrame:
    """Orders sent and held back, in the order of their decisions."""
    wanted = decisions["intent_id"].notna()
    sent = decisions["order_id"].notna()
    blocked = wanted & ~sent & ~decisions["failed_gate"].isin(NOTHING_TO_DO)
    signed = decisions["order_quantity"].where(sent, decisions["target"] - decisions["position"]).astype(float)
    made = decisions.assign(signed=signed, sent=sent, end_ts=np.int64(0), end=np.nan, arrival=np.nan)
    for rows in made.groupby(KEY, sort=False).indices.values():
        ts, mid = made["ts_order"].to_numpy()[rows], made["mid"].to_numpy()[rows]
        following = _next(wanted.to_numpy()[rows])
        made.loc[rows, "end_ts"], made.loc[rows, "end"] = ts[following], mid[following]
        made.loc[rows, "arrival"] = as_of(ts, mid, ts + latency)
    made = made[(sent | blocked) & np.isfinite(signed)].reset_index(drop=True)
    return made.assign(side=np.where(made["signed"] < 0, -1.0, 1.0), quantity=made["signed"].abs(),
                       value=made["signed"].abs() * made["mid"], arrival_ts=made["ts_order"] + latency)


def _next(wanted: np.ndarray) -> Ints:
    """Place of the first target behind each row, the last place where there is none.

    >>> _next(np.array([True, False, True, False])).tolist()
    [2, 2, 3, 3]
    """
    places = np.append(np.flatnonzero(wanted), len(wanted) - 1)
    return np.asarray(places[np.searchsorted(places[:-1], np.arange(len(wanted)), "right")])


def _quoted(fills: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Fills with the mid and half the spread of the tick that they were made at."""
    at = np.searchsorted(decisions["account_seq"].to_numpy(), fills["account_seq"].to_numpy())
    return fills.assign(mid=decisions["mid"].to_numpy(float)[at], half=decisions["spread"].to_numpy(float)[at] / 2,
                        side=np.where(fills["side"] == "BUY", 1.0, -1.0))


def _numbers(frame: pd.DataFrame, *names: str) -> list[Floats]:
    return [frame[name].to_numpy(np.float64) for name in names]


def _as_orders(orders: pd.DataFrame) -> Orders:
    return Orders(*_numbers(orders, "side", "quantity", "mid", "arrival", "end"))


def _as_executions(fills: pd.DataFrame) -> Executions:
    return Executions(fills["order"].to_numpy(np.int64), *_numbers(fills, "quantity", "price", "fee", "mid", "half"))


def _filled(orders: pd.DataFrame, fills: pd.DataFrame) -> pd.DataFrame:
    """Orders with the quantity filled, its mean price and the time of the last fill."""
    by = fills.assign(paid=fills["quantity"] * fills["price"]).groupby("order")
    filled = by["quantity"].sum().reindex(orders.index, fill_value=0.0)
    paid, last = by["paid"].sum().reindex(orders.index), by["ts_order"].max().reindex(orders.index)
    return orders.assign(filled=filled, average=paid / filled.where(filled > 0),
                         last_ts=last.fillna(orders["arrival_ts"]).astype(np.int64))


def _benchmarked(orders: pd.DataFrame, decisions: pd.DataFrame, trades: pd.DataFrame) -> pd.DataFrame:
    """Orders with the mean price from decision to last fill: of trades by size, or of mids by time where none was."""
    vwap, twap = np.full(len(orders), np.nan), np.full(len(orders), np.nan)
    quotes = dict(list(decisions.groupby(KEY, sort=False)))
    traded = dict(list(_trades(trades).groupby(KEY, sort=False))) if len(trades) else {}
    for name, rows in orders.groupby(KEY, sort=False).indices.items():
        start, end = (orders[column].to_numpy(np.int64)[rows] for column in ("ts_order", "last_ts"))
        twap[rows] = time_weighted(quotes[name]["ts_order"].to_numpy(), quotes[name]["mid"].to_numpy(float), start, end)
        if name in traded:
            price, size = _numbers(traded[name], "last_price", "last_size")
            vwap[rows] = interval_vwap(traded[name]["ts_event"].to_numpy(), price, size, start, end)
    return orders.assign(benchmark=np.where(np.isnan(vwap), twap, vwap), traded=~np.isnan(vwap))


def _trades(ticks: pd.DataFrame) -> pd.DataFrame:
    """Ticks at which another last trade shows than at the instrument's tick before, in order of event time.

    A tick repeats the last trade until there is another; two alike in a row count once, and of several between two
    ticks the last is seen.
    """
    held = ticks.sort_values("ts_event", kind="stable")
    shown = held[["last_price", "last_size", "last_side"]]
    before = held.groupby(KEY, sort=False)[list(shown)].shift()
    new = (shown["last_price"].notna() & ~(shown.eq(before).all(axis=1))).to_numpy()
    first = ~held.duplicated(KEY).to_numpy()
    return held[new & ~first]


def _marked(fills: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Fills with a column of markouts for each horizon in seconds."""
    out = np.full((len(HORIZONS_S), len(fills)), np.nan)
    quotes = dict(list(decisions.groupby(KEY, sort=False)))
    for name, rows in fills.groupby(KEY, sort=False).indices.items():
        ts, mid = quotes[name]["ts_order"].to_numpy(), quotes[name]["mid"].to_numpy(float)
        at, side, price = (fills[column].to_numpy()[rows] for column in ("ts_order", "side", "price"))
        for k, horizon in enumerate(HORIZONS_S):
            out[k, rows] = markout(ts, mid, at, side, price, horizon * stats.SECOND)
    return fills.assign(**{str(h): out[k] for k, h in enumerate(HORIZONS_S)})


# ------------------------------------------------------------------------------------------------------- the sections


def sections(decisions: pd.DataFrame, fills: pd.DataFrame, trades: pd.DataFrame, profit: pd.Series,
             latency: int | None = None) -> str:
    """Return the sections of costs and markouts; `profit` is that of each alpha. Empty where a field is not there.

    `latency` is from decision to arrival, ns; that of the profile which the decisions name where it is not given.
    """
    if fills.empty or decisions.empty or not set(NEEDED) <= set(decisions):
        return ""
    found = analyse(decisions, fills, trades, latency_ns(decisions) if latency is None else latency)
    return _cost_section(found) + _table_section(found, profit)


def _bps(cost: float, value: float) -> str:
    return f"{round(1e4 * cost / value, 2) + 0.0:,.2f} bp" if value > 0 else "n/a"


def _cost_section(found: Analysis) -> str:
    orders = found.orders
    total, value = float(orders["total"].sum()), float(orders["value"].sum())
    parts = -orders[list(PARTS)].sum()
    held = int((~orders["sent"]).sum())
    left = f" {found.left_out:,} fills belong to no order of the record and are left out." if found.left_out else ""
    return (
        f'<div class="pair"><section><h2>Implementation shortfall {svg.money(total)}, {_bps(total, value)}</h2>'
        f'{svg.bar_rows(parts)}<p class="note">What {len(orders):,} orders worth {svg.money(value)} took from profit '
        f"against trading all of them at the decision's mid for nothing ({held:,} of them were held back by a gate of "
        f"the ledger). The parts add up for every order within {found.error:.0e}.{left} {_benchmark(orders)}</p>"
        f"</section><section><h2>Markouts of fills</h2>{_markouts(found.fills)}</section></div>"
    )


def _benchmark(orders: pd.DataFrame) -> str:
    """Return how fills did against the mean price of their interval, in words."""
    done = orders[(orders["filled"] > 0) & orders["benchmark"].notna()]
    if done.empty:
        return ""
    slip = done["side"] * done["filled"] * (done["average"] - done["benchmark"])
    by_trades = int(done["traded"].sum())
    return (
        f"Against the interval's mean price fills cost {_bps(float(slip.sum()), float(done['value'].sum()))}: the "
        f"volume-weighted price of trades for {by_trades:,} orders, the time-weighted mid for "
        f"{len(done) - by_trades:,} without a trade in their interval."
    )


def _markouts(fills: pd.DataFrame) -> str:
    rows = ""
    for horizon in HORIZONS_S:
        held = fills[fills[str(horizon)].notna()]
        value = held["quantity"] * held["price"]
        mean = float((held[str(horizon)] * value).sum() / value.sum()) if float(value.sum()) > 0 else np.nan
        error = 1e4 * float(held[str(horizon)].std()) / len(held) ** 0.5 if len(held) > 1 else np.nan
        cells = (f"{horizon} s" if horizon < 60 else f"{horizon // 60} min", f"{1e4 * mean:+.2f} bp",
                 f"{error:.2f} bp", f"{len(held):,}")  # fmt: skip
        rows += _row(*(cell.replace("+nan bp", "n/a").replace("nan bp", "n/a") for cell in cells))
    return (
        f'<table>{_row("After", "Mid against price", "Standard error", "Fills", head=True)}{rows}</table>'
        '<p class="note">Mean by value, gains positive; a fill starts with what it paid of the spread. Fills whose '
        "horizon lies behind the record's end are not counted; the error takes fills as independent.</p>"
    )


def _table_section(found: Analysis, profit: pd.Series) -> str:
    """Return costs and profit by the alpha that led the order."""
    rows = ""
    for alpha, held in found.orders.groupby("top_alpha", sort=True):
        value = float(held["value"].sum())
        cells = [f"{len(held):,}", svg.money(value), *(_bps(float(held[part].sum()), value) for part in PARTS),
                 _bps(float(held["total"].sum()), value), svg.money(float(profit.get(alpha, 0.0)))]  # fmt: skip
        rows += _row(escape(str(alpha) or "none"), *cells)
    heads = ("Led by", "Orders", "Value", *(part.capitalize() for part in PARTS), "Shortfall", "Profit after fees")
    return (
        '<section><h2>Cost and profit by alpha</h2><div class="scroll"><table>'
        f"{_row(*heads, head=True)}{rows}</table></div></section>"
    )


def _row(first: str, *cells: str, head: bool = False) -> str:
    tag = "th" if head else "td"
    numbers = "".join(f'<{tag} class="num">{cell}</{tag}>' for cell in cells)
    return f"<tr><{tag}>{first}</{tag}>{numbers}</tr>"
