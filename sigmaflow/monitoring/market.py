"""The market dashboard: what arrives, how wide, how late, and what is refused."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builder

from sigmaflow.monitoring.panels import HALF, QUARTER, board, number, prom, quantiles, section, series

TICKS = 'sigmaflow_topic_records_total{topic="market.ticks.v1"}'
DEAD = 'sigmaflow_topic_records_total{topic="market.ticks.v1.dlq"}'


def dashboard() -> builder.Dashboard:
    """The whole dashboard."""
    made = board("sigmaflow-market", "Sigmaflow: market data", "What comes in, before and after admission.")
    for part in (_now, _flow, _delays, _refused, _venues, _slow):
        made = part(made)
    return made


def _now(made: builder.Dashboard) -> builder.Dashboard:
    for panel in (
        number(
            "Messages a second", "ops", "Ticks that came into Kafka.", prom(f"rate({TICKS}[$__rate_interval])"), span=4
        ),
        number(
            "Instruments", "short", "Instruments that have ticked.", prom("count(sigmaflow_market_ticks_total)"), span=4
        ),
        number(
            "Oldest feed",
            "s",
            "Longest time that a venue has sent nothing.",
            prom("max(time() - max by (venue) (sigmaflow_market_last_tick_timestamp_seconds))"),
            ("green", None),
            ("red", 30.0),
            span=4,
        ),
        number(
            "Gaps",
            "short",
            "Places where sequence numbers are missing, since the watch began.",
            prom("sum(sigmaflow_market_gaps_total)"),
            ("green", None),
            ("orange", 1.0),
            span=4,
        ),
        number("Dead letters", "short", "Refused ticks so far.", prom(DEAD), ("green", None), ("orange", 1.0), span=4),
        number(
            "Left out by the watch",
            "short",
            "Records that this dashboard did not see, to keep up.",
            prom("sigmaflow_watch_skipped_records_total"),
            ("green", None),
            ("orange", 1.0),
            span=4,
        ),
    ):
        made = made.with_panel(panel)
    return made


def _flow(made: builder.Dashboard) -> builder.Dashboard:
    return section(
        made,
        "Flow",
        series(
            "Messages by venue",
            "ops",
            "Ticks each second.",
            prom("sum by (venue) (rate(sigmaflow_market_ticks_total[$__rate_interval]))", "{{venue}}"),
            stacked=True,
        ),
        series(
            "Messages by symbol",
            "ops",
            "The twenty busiest.",
            prom(
                "topk(20, sum by (venue, symbol) (rate(sigmaflow_market_ticks_total[$__rate_interval])))",
                "{{venue}}:{{symbol}}",
            ),
        ),
        series(
            "Records by topic",
            "ops",
            "What the chain writes; on transactional topics markers count too.",
            prom("rate(sigmaflow_topic_records_total[$__rate_interval])", "{{topic}}"),
        ),
        series(
            "Spread",
            "none",
            "Basis points of the mid, last tick.",
            prom("1e4 * sigmaflow_market_spread_ratio", "{{venue}}:{{symbol}}"),
        ),
        series(
            "Mid",
            "short",
            "Mid of the last tick, quote currency.",
            prom("sigmaflow_market_mid_quote", "{{venue}}:{{symbol}}"),
        ),
        series(
            "Gaps",
            "short",
            "Places where sequence numbers are missing, in each interval.",
            prom(
                "sum by (venue, symbol) (increase(sigmaflow_market_gaps_total[$__rate_interval]))",
                "{{venue}}:{{symbol}}",
            ),
        ),
    )


def _delays(made: builder.Dashboard) -> builder.Dashboard:
    return section(
        made,
        "Delays",
        series(
            "Venue delay",
            "s",
            "Event time at the venue to receipt here. A clock ahead of ours gives none.",
            *quantiles("sigmaflow_venue_delay_seconds_bucket", "venue"),
        ),
        series(
            "Ingest delay",
            "s",
            "Receipt here to the tick's Kafka timestamp.",
            *quantiles("sigmaflow_ingest_delay_seconds_bucket", "venue"),
        ),
        series(
            "Age of the last tick",
            "s",
            "By venue.",
            prom("time() - max by (venue) (sigmaflow_market_last_tick_timestamp_seconds)", "{{venue}}"),
            warn=30.0,
        ),
    )


def _refused(made: builder.Dashboard) -> builder.Dashboard:
    return section(
        made,
        "Refused",
        series(
            "Rejects by reason",
            "ops",
            "Dead letters each second, duplicates included.",
            prom("sum by (reason) (rate(sigmaflow_rejected_ticks_total[$__rate_interval]))", "{{reason}}"),
            span=HALF,
            stacked=True,
        ),
        series(
            "Share refused",
            "percentunit",
            "Dead letters over ticks.",
            prom(f"rate({DEAD}[$__rate_interval]) / scalar(rate({TICKS}[$__rate_interval]))", "refused"),
            span=HALF,
            warn=0.01,
        ),
    )


def _venues(made: builder.Dashboard) -> builder.Dashboard:
    incidents = ("gaps", "reconnects", "resyncs", "limited")
    return section(
        made,
        "Live venues",
        series(
            "Venue messages",
            "ops",
            "By kind, used or ignored, and those that could not be read; each second.",
            prom(
                "sum by (venue, kind, fate) (rate(sigmaflow_venue_messages_total[$__rate_interval]))",
                "{{venue}} {{kind}} {{fate}}",
            ),
            prom(
                "sum by (venue, reason) (rate(sigmaflow_venue_rejected_messages_total[$__rate_interval]))",
                "{{venue}} rejected {{reason}}",
            ),
            span=QUARTER,
        ),
        series(
            "Venue latency",
            "s",
            "Sent by the venue to received, where the clocks agree.",
            *quantiles("sigmaflow_venue_latency_seconds_bucket", "venue"),
            span=QUARTER,
        ),
        series(
            "Venue incidents",
            "short",
            "Lost messages, new connections, books started anew, orders to wait; in each interval.",
            *(
                prom(f"increase(sigmaflow_venue_{name}_total[$__rate_interval])", f"{{{{venue}}}} {name}")
                for name in incidents
            ),
            span=QUARTER,
        ),
        series(
            "Venue clock ahead",
            "s",
            "How much a message was last sent after its receipt: one of the clocks is wrong.",
            prom("sigmaflow_venue_clock_ahead_seconds", "{{venue}}"),
            span=QUARTER,
        ),
    )


def _slow(made: builder.Dashboard) -> builder.Dashboard:
    return section(
        made,
        "Slow data",
        series(
            "Age of the last answer",
            "s",
            "Of each series, feed, forum or topic: time since the last look that succeeded.",
            prom("max by (source, part) (sigmaflow_slow_last_success_age_seconds)", "{{source}} {{part}}"),
            span=HALF,
        ),
        series(
            "Slow records",
            "short",
            "Records written and confirmed in each interval.",
            prom("increase(sigmaflow_slow_items_total[$__rate_interval])", "{{source}}"),
            span=QUARTER,
        ),
        series(
            "Slow incidents",
            "short",
            "Looks that failed, requests sent again, answers that said to wait; in each interval.",
            prom("increase(sigmaflow_slow_errors_total[$__rate_interval])", "{{source}} {{kind}}"),
            prom("increase(sigmaflow_slow_requests_retries_total[$__rate_interval])", "{{source}} sent again"),
            prom("increase(sigmaflow_slow_requests_limited_total[$__rate_interval])", "{{source}} told to wait"),
            span=QUARTER,
        ),
    )
