"""Tear sheet of the trading record: one self-contained HTML file from equity.v1, fills.v1 and decisions.v1.

`build` is a pure function from frames to the page; `run` reads the frames from Kafka and writes the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from sigmaflow import report_costs as costs
from sigmaflow import report_stats as stats
from sigmaflow import report_svg as svg
from sigmaflow.record import Frames, read
from sigmaflow.report_page import page
from sigmaflow.settings import load

#: Trades shown in the table; the count above it is of all.
TRADES = 40


@dataclass(frozen=True)
class Record:
    """The newest run of the record with what many figures need."""

    equity: pd.DataFrame
    fills: pd.DataFrame
    decisions: pd.DataFrame
    trades: pd.DataFrame
    source: str
    runs: int
    latency_ns: int | None = None
    """Event time from decision to arrival; None: that of the profile which the decisions name."""

    @property
    def start(self) -> float:
        """Equity before the first trade. Unit: quote currency."""
        return stats.start_equity(self.equity)

    @property
    def profit(self) -> float:
        """Equity at the end less equity at the start. Unit: quote currency."""
        return float(self.equity["equity"].iloc[-1]) - self.start

    @property
    def bar_ns(self) -> int:
        """Length of the bars of per-bar statistics. Unit: ns."""
        order = self.equity["ts_order"]
        return stats.bar_length(int(order.max() - order.min()))

    @property
    def changes(self) -> stats.Floats:
        """Change of equity over each bar. Unit: quote currency."""
        return stats.bar_changes(self.equity["ts_order"].to_numpy(), self.equity["equity"].to_numpy(), self.bar_ns)


@dataclass(frozen=True)
class Stat:
    """One figure of the summary: its name, its value as text and how it is counted."""

    name: str
    value: str
    how: str


def build(equity: pd.DataFrame, fills: pd.DataFrame, decisions: pd.DataFrame, source: str = "",
          trades: pd.DataFrame | None = None, latency_ns: int | None = None) -> str:
    """Return the page for the newest run in the frames; a page that says so where there is no row yet.

    The frames hold the Avro fields as columns, rows in Kafka order; fills may carry `kafka_ms`, the record's
    timestamp, for latency against the broker's clock. `source` says in words where the rows come from, `trades` are
    ticks with the last trade that they show, where there are any; `latency_ns` is that of the profile, where it is none
    that has a name.
    """
    if equity.empty:
        return page("Sigmaflow tear sheet", _empty(source))
    newest, runs = stats.last_run(equity)
    own_fills = stats.same_span(stats.last_run(fills)[0], newest)
    own_decisions = stats.same_span(stats.last_run(decisions)[0], newest)
    ticks = pd.DataFrame() if trades is None else trades
    record = Record(newest, own_fills, own_decisions, ticks, source, runs, latency_ns)
    parts = (_header, _tiles, _equity, _exposure, _profits, _cost_analysis, _decided, _summary, _trades, _footer)
    return page("Sigmaflow tear sheet", "".join(part(record) for part in parts))


def _empty(source: str) -> str:
    return (
        "<header><div><h1>Sigmaflow tear sheet</h1></div></header><section><h2>No data yet</h2>"
        f"<p>equity.v1 holds no record{f' ({escape(source)})' if source else ''}. Start a market with "
        "<code>make start</code>, then run <code>make report</code> again.</p></section>"
    )


def _values(frame: pd.DataFrame, column: str, none: str = "none") -> str:
    names = [str(v) for v in pd.unique(frame[column])] if len(frame) else []
    return ", ".join(names) or none


def _header(record: Record) -> str:
    order = record.equity["ts_order"]
    span = pd.Timedelta(int(order.max() - order.min()), unit="ns").round("s")
    when = f"{svg.clock(int(order.min()))} to {svg.clock(int(order.max()), '%Y-%m-%d %H:%M:%S')} UTC ({_span(span)})"
    strategy = _values(record.decisions, "strategy", "strategy unknown")
    digest = _values(record.decisions, "config_digest", "unknown")
    source = f"<p>{escape(record.source)}</p>" if record.source else ""
    return (
        f"<header><div><h1>Sigmaflow tear sheet</h1><p>Account {escape(_values(record.equity, 'account'))}, profile "
        f"{escape(strategy)}, {escape(_values(record.equity, 'venue'))}</p></div><div><p>{when}</p>"
        f"<p>Config <code>{escape(digest)}</code></p>{source}</div></header>"
    )


def _span(span: pd.Timedelta) -> str:
    days, clock = span.days, str(span).split()[-1]
    return f"{days} d {clock}" if days else clock


def _tiles(record: Record) -> str:
    return f'<div class="tiles">{"".join(_tile(*tile) for tile in _headline(record))}</div>'


def _tile(name: str, value: str, tone: str = "") -> str:
    return f'<div class="tile"><span>{name}</span><b class="{tone}">{value}</b></div>'


def _headline(record: Record) -> list[tuple[str, str] | tuple[str, str, str]]:
    tone = "gain" if record.profit >= 0 else "loss"
    last = record.equity.iloc[-1]
    return [
        ("Equity", svg.money(float(last["equity"]))),
        ("Profit", svg.money(record.profit), tone),
        ("Return", svg.percent(_share(record.profit, record.start)), tone),
        ("Max drawdown", svg.percent(_drawdown(record))),
        ("Sharpe per bar", _number(stats.sharpe(record.changes))),
        ("Fills / orders", f"{int(last['fills']):,} / {int(last['orders']):,}"),
        ("Hit rate", svg.percent(stats.hit_rate(record.fills))),
        ("Trading state", escape(str(last["state"]).capitalize()), "" if last["state"] == "ACTIVE" else "loss"),
    ]


def _share(value: float, whole: float) -> float:
    """Return value over whole; NaN where the whole is not positive (an account that starts from 0)."""
    return value / whole if whole > 0 else math.nan


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "n/a"


def _drawdown(record: Record) -> float:
    return stats.max_drawdown(record.equity)


def _column(record: Record, name: str) -> stats.Floats:
    return record.equity[name].to_numpy(dtype=np.float64)


def _equity(record: Record) -> str:
    times = record.equity["ts_order"].to_numpy()
    curve = svg.Line("Equity", "equity", _column(record, "equity"))
    falls = svg.Line("Drawdown", "down", -_column(record, "drawdown"))
    return (
        '<section class="wide"><h2>Equity, quote currency</h2>'
        f"{svg.line_chart(times, [curve], svg.money, 270, area=True)}</section>"
        "<section class=\"wide\"><h2>Drawdown from the account's peak</h2>"
        f"{svg.line_chart(times, [falls], svg.percent, 140, area=True, zero=True)}</section>"
    )


def _exposure(record: Record) -> str:
    lines = [
        svg.Line("Gross", "gross", _column(record, "gross")),
        svg.Line("Net", "net", _column(record, "net")),
    ]
    times = record.equity["ts_order"].to_numpy()
    tail = svg.Line("Account CVaR", "cvar", _column(record, "account_cvar_975"))
    return (
        f'<section class="wide"><h2>Exposure, quote currency</h2>{svg.legend(lines)}'
        f"{svg.line_chart(times, lines, svg.money, 200, zero=True)}</section>"
        '<section class="wide"><h2>Account CVaR 97.5 % as the chain saw it, quote currency</h2>'
        f"{svg.line_chart(times, [tail], svg.money, 140, area=True, zero=True)}</section>"
    )


def _profits(record: Record) -> str:
    alphas = stats.pnl_by_alpha(record.fills, record.equity)
    symbols = stats.pnl_by_symbol(record.equity)
    by_alpha = svg.bar_rows(alphas) if len(alphas) else "<p>No fill yet.</p>"
    return (
        f'<div class="pair"><section><h2>Profit by alpha, after fees</h2>{by_alpha}'
        f'<p class="note">Each holding is credited to the alpha that led the order which opened it, until the next '
        f"fill of the symbol. Sum {svg.money(float(alphas.sum()))}.</p></section>"
        f"<section><h2>Profit by symbol, after fees</h2>{svg.bar_rows(symbols)}"
        f'<p class="note">Cash flow plus position at the last mark. Sum {svg.money(float(symbols.sum()))}.</p>'
        "</section></div>"
    )


def _cost_analysis(record: Record) -> str:
    profit = stats.pnl_by_alpha(record.fills, record.equity)
    return costs.sections(record.decisions, record.fills, record.trades, profit, record.latency_ns)


def _decided(record: Record) -> str:
    verdicts = stats.verdicts(record.decisions)
    gates = svg.bar_rows(verdicts, lambda v: f"{v:,.0f}") if len(verdicts) else "<p>No decision yet.</p>"
    return (
        f'<div class="pair"><section class="plain"><h2>What became of {len(record.decisions):,} decisions</h2>{gates}'
        f'<p class="note">A decision that sent no order is counted under the first gate that stopped it.</p></section>'
        f"<section><h2>Latency, order to fill</h2>{_latency(record)}</section></div>"
    )


def _latency(record: Record) -> str:
    event = stats.fill_latency(record.fills)
    if len(event) == 0:
        return "<p>No fill yet.</p>"
    note = f"Event time from decision to fill: {_quantiles(event)}. {_live(record)}"
    return f'{svg.histogram(event)}<p class="note">{note}</p>'


def _live(record: Record) -> str:
    live = stats.live_latency(record.fills)
    if len(live) < max(1, len(record.fills) // 2):
        return "Against the broker's clock: not shown, the ticks were replayed."
    return f"Broker time of the fill less event time of its tick: {_quantiles(live)}."


def _quantiles(values: stats.Floats) -> str:
    names = zip(("median", "p95", "p99"), np.quantile(values, [0.5, 0.95, 0.99]), strict=True)
    return ", ".join(f"{name} {svg.seconds(float(value))}" for name, value in names)


def _trades(record: Record) -> str:
    fills = record.fills
    if fills.empty:
        return "<section><h2>Trades</h2><p>No fill yet.</p></section>"
    bought = int((fills["side"] == "BUY").sum())
    head = "".join(
        f"<th{' class=num' if numeric else ''}>{name}</th>"
        for name, numeric in (
            ("Time (UTC)", False), ("Symbol", False), ("Side", False), ("Quantity", True), ("Price", True),
            ("Fee", True), ("Slippage", True), ("Position after", True), ("Realised", True), ("Led by", False),
        )
    )  # fmt: skip
    rows = "".join(_trade(row) for row in fills.tail(TRADES).iloc[::-1].to_dict("records"))
    return (
        f"<section><h2>Trades: {len(fills):,} fills, {bought:,} buys, {len(fills) - bought:,} sells; last "
        f'{min(TRADES, len(fills))}</h2><div class="scroll"><table><tr>{head}</tr>{rows}</table></div></section>'
    )


def _trade(fill: dict[str, object]) -> str:
    def number(name: str) -> float:
        return float(fill[name])  # type: ignore[arg-type]

    sign = 1.0 if fill["side"] == "BUY" else -1.0
    slip_bps = 1e4 * sign * (number("price") / number("decision_mid") - 1)
    realised = number("realized_pnl")
    tone = "gain" if realised >= 0.005 else "loss" if realised <= -0.005 else ""
    cells = (
        f"<td>{svg.clock(int(number('ts_event')), '%m-%d %H:%M:%S.%f')[:-3]}</td><td>{escape(str(fill['symbol']))}</td>"
        f'<td class="side {"buy" if sign > 0 else "sell"}">{str(fill["side"]).capitalize()}</td>'
    )
    for text in (f"{number('quantity'):,.6g}", f"{number('price'):,.8g}", svg.money(number("fee"))):
        cells += f'<td class="num">{text}</td>'
    cells += f'<td class="num">{slip_bps:+.2f} bp</td><td class="num">{number("position"):,.6g}</td>'
    return f'<tr>{cells}<td class="num {tone}">{svg.money(realised)}</td><td>{escape(str(fill["top_alpha"]))}</td></tr>'


def statistics(record: Record) -> list[Stat]:
    """Return the figures of the summary table, each with its definition."""
    return _performance(record) + _costs(record)


def _performance(record: Record) -> list[Stat]:
    changes = record.changes
    bar = f"{record.bar_ns // stats.SECOND:,} s"
    worst = stats.cvar(changes)
    own_cvar = _column(record, "account_cvar_975")
    return [
        Stat("Start equity", svg.money(record.start), "Equity at the first mark, less the profit it already shows"),
        Stat("Return", svg.percent(_share(record.profit, record.start)), "Profit over start equity, fees paid"),
        Stat("Max drawdown", svg.percent(_drawdown(record)), "Largest at the marks, from the highest equity before"),
        Stat("Sharpe per bar", _number(stats.sharpe(changes)),
             f"Mean over standard deviation of {len(changes):,} changes of equity; bar {bar}, not annualised"),
        Stat("CVaR 97.5 % per bar", svg.money(worst),
             f"Mean of the worst 2.5 % of those, loss positive; {svg.percent(_share(worst, record.start))} of start"),
        Stat("CVaR seen by the chain", svg.money(float(own_cvar[-1])),
             f"The fills job's own figure at the last mark; highest {svg.money(float(own_cvar.max()))}"),
    ]  # fmt: skip


def _costs(record: Record) -> list[Stat]:
    fills = record.fills
    traded, fees, slip = stats.notional(fills), float(fills["fee"].sum()) if len(fills) else 0.0, stats.slippage(fills)
    turnover = _share(traded, record.start)
    return [
        Stat("Turnover", f"{turnover:,.2f} x" if math.isfinite(turnover) else "n/a",
             f"Value traded over start equity; value traded {svg.money(traded)}"),
        Stat("Fees", svg.money(fees), f"{_bps(fees, traded)} of the value traded"),
        Stat("Slippage", svg.money(slip), f"Fill price against the decision mid: {_bps(slip, traded)} of the value"),
        Stat("Hit rate", svg.percent(stats.hit_rate(fills)), "Fills that closed with a realised profit, fees apart"),
        Stat("Orders, fills", f"{int(record.equity['orders'].iloc[-1]):,}, {int(record.equity['fills'].iloc[-1]):,}",
             "As the ledger counts them at the last mark"),
        Stat("Rows read", f"{len(record.equity):,}",
             f"Equity marks, of {len(fills):,} fills and {len(record.decisions):,} decisions; all enter the figures"),
    ]  # fmt: skip


def _bps(value: float, whole: float) -> str:
    return f"{1e4 * value / whole:.2f} bp" if whole else "n/a"


def _summary(record: Record) -> str:
    rows = "".join(
        f'<tr><td>{x.name}</td><td class="num">{x.value}</td><td class="how">{escape(x.how)}</td></tr>'
        for x in statistics(record)
    )
    return f'<section><h2>Summary</h2><div class="scroll"><table>{rows}</table></div></section>'


def _footer(record: Record) -> str:
    several = f" The record holds {record.runs} runs; this is the newest." if record.runs > 1 else ""
    return (
        "<footer>Paper trading: simulated fills on the quotes of the record. Times are event times of the venue. "
        f"Lines are drawn from each interval's extremes; figures use every row.{several}</footer>"
    )


def write(frames: Frames, source: str, out: Path, latency_ns: int | None = None) -> Path:
    """Write the page for frames to a file, its folder made where missing, and return the file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(build(frames.equity, frames.fills, frames.decisions, source, frames.trades, latency_ns),
                   encoding="utf-8")
    return out


def run(out: Path = Path("build/report.html"), account: str = "paper", namespace: str = "") -> Path:
    """Read the record from Kafka, write the tear sheet and return its path.

    `namespace` is that of a run kept apart on topics of its own, as the jobs' option of that name.

    Raises UserError where the broker or the registry does not answer or the topics do not exist.
    """
    settings = load()
    frames = read(settings, account, namespace)
    apart = f", run {namespace}" if namespace else ""
    source = f"Kafka {settings.kafka.bootstrap}: equity.v1, fills.v1, decisions.v1{apart}"
    file = write(frames, source, out)
    print(f"{file}: {len(frames.equity):,} marks, {len(frames.fills):,} fills, {len(frames.decisions):,} decisions")
    return file
