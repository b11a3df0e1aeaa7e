"""Prometheus metrics of the results: what the account is worth, what it did, how late and how far behind we are.

Amounts and counts of the account come out of the messages, which carry them whole (`orders`, `fills`, `intent_seq`):
reading a message twice after a crash therefore changes nothing. What can only be counted while reading (decisions by
verdict, rejected ticks by reason, latencies) counts from the start of the process, as Prometheus counters do.

Names end in their unit: `_quote` quote currency, `_base` base units, `_ratio` fraction, `_seconds`, `_records`,
`_bytes`. What the market does is in `market_watch.py`, what the machine does in `host_metrics.py`; the operators of
Flink count for themselves (`jobs/chain/meters.py`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sigmaflow.errors import UserError

Row = Mapping[str, Any]
STATES = ("ACTIVE", "REDUCING", "HALTED")
#: Upper bounds of latency. The design's target is 20 ms, so there are several below and above it. Unit: s.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: A message later than this after its tick comes from a replay, not from a slow chain. Unit: s.
LIVE_LIMIT_S = 60.0
#: Gates of a decision that hold no amount against a cap: all others do, and how much of it is used is a metric.
NO_CAPS = ("warm", "entry", "direction", "cost", "selection", "halt", "reducing", "range", "quantity", "unknown")
CVAR_GATE = "account_cvar"
#: Gauges of the account that are fields of its last equity message: metric, field, help.
ACCOUNT_GAUGES = (
    ("sigmaflow_equity_quote", "equity", "Cash plus all positions at their marks, in quote currency."),
    ("sigmaflow_peak_equity_quote", "peak_equity", "Highest equity so far, in quote currency."),
    ("sigmaflow_cash_quote", "cash", "Account cash, in quote currency."),
    ("sigmaflow_drawdown_ratio", "drawdown", "1 - equity / peak equity, as a fraction."),
    ("sigmaflow_gross_exposure_quote", "gross", "Sum of absolute position values, in quote currency."),
    ("sigmaflow_net_exposure_quote", "net", "Sum of signed position values, in quote currency."),
    ("sigmaflow_account_cvar_975_quote", "account_cvar_975", "Historical CVaR at 97.5 % over one bar, loss positive."),
)


@dataclass
class Histogram:
    """Counts of durations by bucket, in the form Prometheus wants them.

    >>> h = Histogram(); h.observe(0.015); h.observe(99.0); h.sum
    99.015
    >>> h.buckets()[4], h.buckets()[-1]
    (('0.02', 1.0), ('+Inf', 2.0))
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum += seconds

    def observe_live(self, seconds: float) -> None:
        """Count a latency, unless it is none: one clock may run ahead of another, and a replay's past is long ago."""
        if 0 <= seconds <= LIVE_LIMIT_S:
            self.observe(seconds)

    def observe_all(self, seconds: Any) -> None:
        """Count an array of latencies, those left out that are none."""
        live = seconds[(seconds >= 0) & (seconds <= LIVE_LIMIT_S)]
        where = np.searchsorted(BUCKETS_S, live, side="left")
        for bucket, count in zip(*np.unique(where, return_counts=True), strict=True):
            self.counts[bucket] += int(count)
        self.sum += float(live.sum())

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many at most that)."""
        total, out = 0, []
        for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], self.counts, strict=True):
            total += count
            out.append((bound, float(total)))
        return out


class Arrivals:
    """When the newest ticks came into Kafka, by place: a ring for each partition, so memory is bounded.

    >>> arrivals = Arrivals(size=2)
    >>> for offset in range(3):
    ...     arrivals.note(0, offset, 1_000 + offset)
    >>> arrivals.at(0, 2), arrivals.at(0, 0), arrivals.at(9, 2)
    (1002, None, None)
    """

    def __init__(self, size: int = 65_536) -> None:
        self._size = size
        self._rings: dict[int, list[tuple[int, int]]] = {}

    def note(self, partition: int, offset: int, kafka_ms: int) -> None:
        """Remember a tick's Kafka timestamp. Unit: ms since 1970."""
        if partition not in self._rings:
            self._rings[partition] = [(-1, 0)] * self._size
        self._rings[partition][offset % self._size] = offset, kafka_ms

    def at(self, partition: int, offset: int) -> int | None:
        """The timestamp of a tick, None where it is not (or no longer) known."""
        held = self._rings.get(partition, [(-1, 0)])
        found, kafka_ms = held[offset % len(held)]
        return kafka_ms if found == offset else None


@dataclass
class Totals:
    """What the results process has seen: the source of the metrics and of the snapshot in Redis."""

    accounts: dict[str, Row] = field(default_factory=dict)
    """Last equity message of each account."""
    positions: dict[tuple[str, str], Row] = field(default_factory=dict)
    """Last equity message of each account and symbol."""
    intents: dict[str, int] = field(default_factory=dict)
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Decisions by account and verdict: `sent`, or the gate that failed."""
    rejected: Counter[str] = field(default_factory=Counter)
    caps: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """Value and limit of each gate that is a cap, by account and gate, as the last judged order saw them."""
    arrivals: Arrivals = field(default_factory=Arrivals)
    tick_to_decision: Histogram = field(default_factory=Histogram)
    tick_to_fill: Histogram = field(default_factory=Histogram)
    order_to_fill: Histogram = field(default_factory=Histogram)
    read: dict[tuple[str, int], int] = field(default_factory=dict)
    """Offset behind the last record read, by topic and partition."""
    committed: dict[str, int] = field(default_factory=dict)
    """Records of each topic read that are there for who reads what is committed, all partitions, markers included."""
    end_offsets: dict[str, int] = field(default_factory=dict)
    """Records ever written to each topic of the chain, all partitions; on transactional ones markers included."""
    undecodable: Counter[str] = field(default_factory=Counter)
    rows_written: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Failed attempts by where: `questdb`, `redis`, `kafka`."""
    pending: int = 0
    """Rows read and not yet acknowledged by QuestDB."""

    @property
    def lag(self) -> dict[str, int]:
        """Records of each topic that this process has not read yet."""
        read: Counter[str] = Counter()
        for (topic, _), offset in self.read.items():
            read[topic] += offset
        return {topic: max(0, end - read[topic]) for topic, end in self.committed.items()}

    def equity(self, row: Row) -> None:
        """Take an equity message."""
        self.accounts[row["account"]] = row
        self.positions[row["account"], row["symbol"]] = row

    def fill(self, row: Row, kafka_ms: int) -> None:
        """Take a fill; `kafka_ms` is its record's timestamp, 0 where it has none."""
        self.order_to_fill.observe((row["ts_event"] - row["ts_order_sent"]) / 1e9)
        self._since_tick(self.tick_to_fill, row["partition"], row["offset"], kafka_ms)

    def decision(self, account: str, sent: bool, failed_gate: str) -> None:
        """Take a decision's verdict."""
        self.decisions[account, "sent" if sent else failed_gate or "none_needed"] += 1

    def decided(self, partition: int, offset: int, kafka_ms: int) -> None:
        """Take the place of a decision's tick and the timestamp of the decision's record."""
        self._since_tick(self.tick_to_decision, partition, offset, kafka_ms)

    def gate(self, account: str, name: str, value: float, limit: float) -> None:
        """Take what a gate saw. Caps that are infinite, and gates that are no caps, are left out."""
        if name not in NO_CAPS and 0 < limit < math.inf and math.isfinite(value):
            self.caps[account, name] = value, limit

    def _since_tick(self, histogram: Histogram, partition: int, offset: int, kafka_ms: int) -> None:
        arrived = self.arrivals.at(partition, offset)
        if arrived is not None and kafka_ms > 0:
            histogram.observe_live((kafka_ms - arrived) / 1e3)

    def intent(self, row: Row) -> None:
        """Take an intent: it carries how many there were."""
        self.intents[row["account"]] = max(row["intent_seq"], self.intents.get(row["account"], 0))

    def reject(self, row: Row) -> None:
        """Take a dead letter."""
        self.rejected[row["reason"]] += 1


class Exporter(Collector):
    """Turns totals into metric families whenever Prometheus asks."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        yield from self._account()
        yield from self._symbols()
        yield from self._flow()
        yield from self._process()

    def _account(self) -> Iterator[Metric]:
        rows = dict(self._totals.accounts)
        for name, column, text in ACCOUNT_GAUGES:
            yield gauge(name, text, ("account",), {(a,): row[column] for a, row in rows.items()})
        states = {(a, s): float(row["state"] == s) for a, row in rows.items() for s in STATES}
        yield gauge("sigmaflow_trading_state", "1 for the state the account is in.", ("account", "state"), states)
        marked = {(a,): row["ts_order"] / 1e9 for a, row in rows.items()}
        yield gauge("sigmaflow_last_mark_timestamp_seconds", "Event time of the last mark.", ("account",), marked)
        for name, column in (("sigmaflow_orders", "orders"), ("sigmaflow_fills", "fills")):
            text = f"{column.capitalize()} of the account so far."
            yield counter(name, text, ("account",), {(a,): row[column] for a, row in rows.items()})
        yield from self._caps()

    def _caps(self) -> Iterator[Metric]:
        caps = dict(self._totals.caps)
        yield gauge("sigmaflow_limit_use_ratio", "What the last judged order would have used of a limit.",
                    ("account", "limit"), {key: value / limit for key, (value, limit) in caps.items()})
        yield gauge("sigmaflow_account_cvar_limit_quote", "Limit of the account's CVaR, in quote currency.",
                    ("account",), {(a,): limit for (a, name), (_, limit) in caps.items() if name == CVAR_GATE})

    def _symbols(self) -> Iterator[Metric]:
        rows = dict(self._totals.positions)
        labels = ("account", "symbol")
        yield gauge("sigmaflow_position_base", "Position, in base units.", labels,
                    {key: row["position"] for key, row in rows.items()})
        yield gauge("sigmaflow_position_quote", "Position at its mark, in quote currency.", labels,
                    {key: row["position"] * row["mid"] for key, row in rows.items()})
        yield gauge("sigmaflow_symbol_pnl_quote", "Profit of the symbol since the start, in quote currency.", labels,
                    {key: row["symbol_pnl"] for key, row in rows.items()})

    def _flow(self) -> Iterator[Metric]:
        t = self._totals
        yield counter("sigmaflow_intents", "Targets asked for.", ("account",), {(a,): n for a, n in t.intents.items()})
        yield counter("sigmaflow_decisions", "Decisions by verdict: sent, or the first gate that failed.",
                      ("account", "verdict"), dict(t.decisions))
        yield counter("sigmaflow_rejected_ticks", "Ticks refused at admission, by reason.", ("reason",),
                      {(reason,): n for reason, n in t.rejected.items()})
        yield counter("sigmaflow_topic_records", "Records ever written to a topic of the chain.", ("topic",),
                      {(topic,): n for topic, n in t.end_offsets.items()})
        yield histogram("sigmaflow_tick_to_decision_seconds", "Kafka timestamp of a tick to that of its decision.", (),
                        {(): t.tick_to_decision})
        yield histogram("sigmaflow_tick_to_fill_seconds", "Kafka timestamp of a tick to that of the fill it causes.",
                        (), {(): t.tick_to_fill})
        yield histogram("sigmaflow_order_to_fill_seconds", "Event time from decision to fill.", (),
                        {(): t.order_to_fill})

    def _process(self) -> Iterator[Metric]:
        t = self._totals
        yield gauge("sigmaflow_consumer_lag_records", "Records of a topic not read yet by the results process.",
                    ("topic",), {(topic,): n for topic, n in t.lag.items()})
        yield gauge("sigmaflow_results_pending_rows", "Rows read and not yet taken by QuestDB.", (), {(): t.pending})
        yield counter("sigmaflow_questdb_rows", "Rows QuestDB has taken.", (), {(): t.rows_written})
        yield counter("sigmaflow_results_errors", "Failed attempts, by where.", ("where",),
                      {(where,): n for where, n in t.errors.items()})
        yield counter("sigmaflow_undecodable_records", "Records of our own topics that could not be read.", ("topic",),
                      {(topic,): n for topic, n in t.undecodable.items()})


def serve(collectors: Iterable[Collector], host: str, port: int) -> Any:
    """Serve metrics over HTTP from a thread of its own; returns the server. Raises OSError for a taken port."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    ProcessCollector(registry=registry)
    server, _ = start_http_server(port, addr=host, registry=registry)
    return server


@contextmanager
def serving(stage: str, collectors: Iterable[Collector], host: str, port: int) -> Iterator[None]:
    """Serve metrics of a command while it runs; port 0 serves none. Raises UserError for a taken port."""
    try:
        server = serve(collectors, host, port) if port else None
    except OSError as error:
        raise UserError(stage, f"port {port} must be free for metrics", error.strerror or str(error),
                        "give --metrics-port") from None
    try:
        yield
    finally:
        if server is not None:
            server.shutdown()


Samples = Mapping[Any, float]
"""Label values, in the order of the labels' names, to the metric's value."""


def gauge(name: str, text: str, labels: Iterable[str], samples: Samples) -> Metric:
    """A family of values that rise and fall."""
    family = GaugeMetricFamily(name, text, labels=list(labels))
    for key, value in samples.items():
        family.add_metric(key, value)
    return family


def counter(name: str, text: str, labels: Iterable[str], samples: Samples) -> Metric:
    """A family of counts since the start; Prometheus adds `_total` to the name."""
    family = CounterMetricFamily(name, text, labels=list(labels))
    for key, value in samples.items():
        family.add_metric(key, value)
    return family


def histogram(name: str, text: str, labels: Iterable[str], samples: Mapping[Any, Histogram]) -> Metric:
    """A family of histograms."""
    family = HistogramMetricFamily(name, text, labels=list(labels))
    for key, held in samples.items():
        family.add_metric(list(key), held.buckets(), held.sum)
    return family
