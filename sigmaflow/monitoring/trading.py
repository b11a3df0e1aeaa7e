"""The trading dashboard: what the account is worth, what made it so, what it risks, and what stopped it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builder

from sigmaflow.monitoring.panels import (
    HALF,
    THIRD,
    WIDTH,
    Section,
    Sql,
    board,
    filled,
    flow,
    number,
    prom,
    quantiles,
    rows,
    section,
    series,
    states,
)

ACCOUNT = '{account="$account"}'
SQL = "WHERE account = '$account' AND $__timeFilter(ts)"
CAPS = 'account="$account", verdict!~"sent|warm|entry|direction|cost|selection|quantity|none_needed"'
SLIPPAGE = "(CASE WHEN side = 'SELL' THEN decision_mid - price ELSE price - decision_mid END) * quantity"


def dashboard() -> builder.Dashboard:
    """The whole dashboard."""
    made = board("sigmaflow-trading", "Sigmaflow: trading",
                 "One account. Curves in event time come from QuestDB, live ones from Prometheus.")
    return filled(made, _now(), _equity(), _profit(), _risk(), _execution(), _halts())


def _sampled(columns: str, table: str) -> Sql:
    """Columns of a table of QuestDB over event time."""
    return Sql(f"SELECT ts AS time, {columns} FROM {table} {SQL} SAMPLE BY $__interval")


def _now() -> Section:
    return section(
        "",
        number("Equity", "short", "Cash plus positions at their marks, quote currency.",
               prom(f"sigmaflow_equity_quote{ACCOUNT}")),
        number("Drawdown", "percentunit", "One less equity over its peak.", prom(f"sigmaflow_drawdown_ratio{ACCOUNT}"),
               ("green", None), ("orange", 0.08), ("red", 0.10)),
        number("Gross exposure", "short", "Sum of absolute position values, quote currency.",
               prom(f"sigmaflow_gross_exposure_quote{ACCOUNT}")),
        number("CVaR of its limit", "percentunit", "Account CVaR at 97.5 % over one bar, as part of its limit.",
               prom('sigmaflow_limit_use_ratio{account="$account", limit="account_cvar"}'),
               ("green", None), ("orange", 0.8), ("red", 1.0)),
        number("Halted", "short", "1 while no order passes.",
               prom('sigmaflow_trading_state{account="$account", state="HALTED"}'), ("green", None), ("red", 1.0)),
        number("Orders", "short", "Orders sent so far.", prom(f"sigmaflow_orders_total{ACCOUNT}")),
        number("Fills", "short", "Fills so far.", prom(f"sigmaflow_fills_total{ACCOUNT}")),
        number("Event-time lag", "s", "Wall clock less the event time of the last mark; a replay's is large.",
               prom(f"time() - sigmaflow_last_mark_timestamp_seconds{ACCOUNT}"), ("green", None), ("orange", 5.0)),
    )


def _equity() -> Section:
    return section(
        "Equity",
        series("Equity curve", "short", "Equity and its peak in event time, quote currency.",
               _sampled("last(equity) AS equity, last(peak_equity) AS peak", "equity"), span=HALF),
        series("Drawdown", "percentunit", "Largest drawdown within each interval, event time.",
               _sampled("max(drawdown) AS drawdown", "equity")),
        series("Equity, live", "short", "The same as Prometheus saw it, in wall-clock time.",
               prom(f"sigmaflow_equity_quote{ACCOUNT}", "equity"), prom(f"sigmaflow_cash_quote{ACCOUNT}", "cash")),
    )


def _profit() -> Section:
    return section(
        "Profit and loss",
        series("P&L by symbol", "short",
               "Cash flow of the symbol plus its position at the mark, live, quote currency.",
               prom(f"sigmaflow_symbol_pnl_quote{ACCOUNT}", "{{symbol}}"), span=THIRD),
        series("P&L by symbol, event time", "short", "The same from QuestDB.",
               _sampled("symbol, last(symbol_pnl) AS pnl", "positions"), span=THIRD),
        rows("P&L by alpha",
             "Realised by fills, by the alpha that contributed most to the decision, quote currency.",
             Sql("SELECT top_alpha AS alpha, count() AS fills, sum(realized_pnl) AS realised, sum(fee) AS fees, "
                 f"sum(realized_pnl - fee) AS net FROM fills {SQL} ORDER BY net DESC", "table"), span=THIRD),
    )


def _risk() -> Section:
    return section(
        "Risk",
        series("Exposure", "short", "Sums of absolute and of signed position values, quote currency.",
               prom(f"sigmaflow_gross_exposure_quote{ACCOUNT}", "gross"),
               prom(f"sigmaflow_net_exposure_quote{ACCOUNT}", "net")),
        series("CVaR against its limit", "short",
               "Historical CVaR at 97.5 % of the account over one bar, quote currency.",
               prom(f"sigmaflow_account_cvar_975_quote{ACCOUNT}", "CVaR"),
               prom(f"sigmaflow_account_cvar_limit_quote{ACCOUNT}", "limit")),
        series("Use of limits", "percentunit", "What the last judged order would have used; above 1 it was refused.",
               prom(f"sigmaflow_limit_use_ratio{ACCOUNT}", "{{limit}}"), warn=1.0),
        series("Positions", "short", "Each position at its mark, quote currency.",
               prom(f"sigmaflow_position_quote{ACCOUNT}", "{{symbol}}")),
    )


def _execution() -> Section:
    return section(
        "Execution",
        series("Fills", "short", "Fills in each interval of event time.", _sampled("count() AS fills", "fills")),
        series("Costs", "short",
               "Fees, and price paid against the mid at the decision, in each interval, quote currency.",
               _sampled(f"sum(fee) AS fees, sum({SLIPPAGE}) AS slippage", "fills"), stacked=True),
        series("Tick to fill", "s", "Kafka timestamp of a tick to that of the fill it causes.",
               *quantiles("sigmaflow_tick_to_fill_seconds_bucket"), warn=0.1),
        series("Decisions by verdict", "ops", "Sent, or the first gate that failed; each second.",
               flow("rate", f"sigmaflow_decisions_total{ACCOUNT}", "verdict"), stacked=True),
        rows("Last fills", "Newest first.",
             Sql("SELECT ts, symbol, side, quantity, price, fee, realized_pnl, top_alpha FROM fills "
                 f"{SQL} ORDER BY ts DESC LIMIT 50", "table"), span=WIDTH),
    )


def _halts() -> Section:
    return section(
        "Halts and refusals",
        states("Trading state", "What the last gate allows: all orders, only reducing ones, none.",
               prom(f"sigmaflow_trading_state{ACCOUNT}", "{{state}}")),
        series("Orders refused by the ledger", "short", "By the limit or state that refused them, in each interval.",
               flow("increase", f"sigmaflow_decisions_total{{{CAPS}}}", "verdict")),
        series("Commands", "short",
               "Halt, reduce and resume as people gave them, and where they came into force.",
               prom('sigmaflow_topic_records_total{topic=~"commands.v1|rulings.v1"}', "{{topic}}")),
    )
