"""The market dashboard: what arrives, how wide, how late, and what is refused."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builder

from sigmaflow.monitoring.panels import (
    HALF,
    THIRD,
    Section,
    board,
    filled,
    flow,
    number,
    prom,
    quantiles,
    section,
    series,
)

TICKS = 'sigmaflow_topic_records_total{topic="market.ticks.v1"}'
DEAD = 'sigmaflow_topic_records_total{topic="market.ticks.v1.dlq"}'
SILENCE = "time() - max by (venue) (sigmaflow_market_last_tick_timestamp_seconds)"
INSTRUMENT = "{{venue}}:{{symbol}}"
ANY = (("green", None), ("orange", 1.0))
"""Colours of a count that had better be 0."""
INCIDENTS = ("gaps", "reconnects", "resyncs", "limited")


def dashboard() -> builder.Dashboard:
    """The whole dashboard."""
    made = board("sigmaflow-market", "Sigmaflow: market data", "What comes in, before and after admission.")
    return filled(made, _now(), _flow(), _delays(), _refused(), _venues(), _slow())


def _now() -> Section:
    return section(
        "",
        number("Messages a second", "ops", "Ticks that came into Kafka.", prom(f"rate({TICKS}[$__rate_interval])"),
               span=4),
        number("Instruments", "short", "Instruments that have ticked.", prom("count(sigmaflow_market_ticks_total)"),
               span=4),
        number("Oldest feed", "s", "Longest time that a venue has sent nothing.", prom(f"max({SILENCE})"),
               ("green", None), ("red", 30.0), span=4),
        number("Gaps", "short", "Places where sequence numbers are missing, since the watch began.",
               prom("sum(sigmaflow_market_gaps_total)"), *ANY, span=4),
        number("Dead letters", "short", "Refused ticks so far.", prom(DEAD), *ANY, span=4),
        number("Left out by the watch", "short", "Records that this dashboard did not see, to keep up.",
               prom("sigmaflow_watch_skipped_records_total"), *ANY, span=4),
    )


def _flow() -> Section:
    return section(
        "Flow",
        series("Messages by venue", "ops", "Ticks each second.", flow("rate", "sigmaflow_market_ticks_total", "venue"),
               span=THIRD, stacked=True),
        series("Messages by symbol", "ops", "The twenty busiest.",
               prom("topk(20, sum by (venue, symbol) (rate(sigmaflow_market_ticks_total[$__rate_interval])))",
                    INSTRUMENT), span=THIRD),
        series("Records by topic", "ops", "What the chain writes; on transactional topics markers count too.",
               prom("rate(sigmaflow_topic_records_total[$__rate_interval])", "{{topic}}"), span=THIRD),
        series("Spread", "none", "Basis points of the mid, last tick.",
               prom("1e4 * sigmaflow_market_spread_ratio", INSTRUMENT), span=THIRD),
        series("Mid", "short", "Mid of the last tick, quote currency.", prom("sigmaflow_market_mid_quote", INSTRUMENT),
               span=THIRD),
        series("Gaps", "short", "Places where sequence numbers are missing, in each interval.",
               flow("increase", "sigmaflow_market_gaps_total", "venue", "symbol", legend=INSTRUMENT), span=THIRD),
    )


def _delays() -> Section:
    return section(
        "Delays",
        series("Venue delay", "s", "Event time at the venue to receipt here. A clock ahead of ours gives none.",
               *quantiles("sigmaflow_venue_delay_seconds_bucket", "venue"), span=THIRD),
        series("Ingest delay", "s", "Receipt here to the tick's Kafka timestamp.",
               *quantiles("sigmaflow_ingest_delay_seconds_bucket", "venue"), span=THIRD),
        series("Age of the last tick", "s", "By venue.", prom(SILENCE, "{{venue}}"), span=THIRD, warn=30.0),
    )


def _refused() -> Section:
    return section(
        "Refused",
        series("Rejects by reason", "ops", "Dead letters each second, duplicates included.",
               flow("rate", "sigmaflow_rejected_ticks_total", "reason"), span=HALF, stacked=True),
        series("Share refused", "percentunit", "Dead letters over ticks.",
               prom(f"rate({DEAD}[$__rate_interval]) / scalar(rate({TICKS}[$__rate_interval]))", "refused"),
               span=HALF, warn=0.01),
    )


def _venues() -> Section:
    return section(
        "Live venues",
        series("Venue messages", "ops",
               "By kind, used or ignored, and those that could not be read; each second.",
               flow("rate", "sigmaflow_venue_messages_total", "venue", "kind", "fate"),
               flow("rate", "sigmaflow_venue_rejected_messages_total", "venue", "reason",
                    legend="{{venue}} rejected {{reason}}")),
        series("Venue latency", "s", "Sent by the venue to received, where the clocks agree.",
               *quantiles("sigmaflow_venue_latency_seconds_bucket", "venue")),
        series("Venue incidents", "short",
               "Lost messages, new connections, books started anew, orders to wait; in each interval.",
               *(prom(f"increase(sigmaflow_venue_{name}_total[$__rate_interval])", f"{{{{venue}}}} {name}")
                 for name in INCIDENTS)),
        series("Venue clock ahead", "s",
               "How much a message was last sent after its receipt: one of the clocks is wrong.",
               prom("sigmaflow_venue_clock_ahead_seconds", "{{venue}}")),
    )


def _slow() -> Section:
    return section(
        "Slow data",
        series("Age of the last answer", "s",
               "Of each series, feed, forum or topic: time since the last look that succeeded.",
               prom("max by (source, part) (sigmaflow_slow_last_success_age_seconds)", "{{source}} {{part}}"),
               span=HALF),
        series("Slow records", "short", "Records written and confirmed in each interval.",
               prom("increase(sigmaflow_slow_items_total[$__rate_interval])", "{{source}}")),
        series("Slow incidents", "short",
               "Looks that failed, requests sent again, answers that said to wait; in each interval.",
               prom("increase(sigmaflow_slow_errors_total[$__rate_interval])", "{{source}} {{kind}}"),
               prom("increase(sigmaflow_slow_requests_retries_total[$__rate_interval])", "{{source}} sent again"),
               prom("increase(sigmaflow_slow_requests_limited_total[$__rate_interval])", "{{source}} told to wait")),
    )
