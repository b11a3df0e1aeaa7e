"""What the market and the signals do right now, for Prometheus: rates, spreads, gaps, delays, and when ticks arrived.

A watch, not a record: it begins at the end of the topics, keeps no offsets, and where it falls behind it skips to the
end and says how much it left out. What must be counted exactly is counted by the chain and its topics.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_END, Consumer, KafkaException, Message, TopicPartition
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import schemas
from connectors import broker
from connectors.metrics import Arrivals, Histogram, counter, gauge, histogram
from connectors.registry import Registry, RegistryError, later
from schemas.codec import Columns, Decoder
from schemas.packed import Text
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings

log = logging.getLogger("market")

STAGE = "market watch"
TICKS, OPPORTUNITIES = "market.ticks.v1", "opportunities.v1"
FIELDS = {TICKS: ("venue", "symbol", "seq", "ts_event", "ts_recv", "bid", "ask"),
          OPPORTUNITIES: ("partition", "offset")}
READ_MESSAGES = 5_000
#: Records behind the end of a partition from which the watch skips to it: some seconds of a busy market.
MAX_LAG = 20_000
RETRY_S = 2.0
#: Instruments shown at most: what is not admitted yet may name any number of them, and each is several time series.
MAX_INSTRUMENTS = 1_000
LABELS = ("venue", "symbol")


@dataclass
class Quote:
    """The newest of one instrument."""

    ticks: int = 0
    gaps: int = 0
    seq: int = -1
    mid: float = 0.0
    spread: float = 0.0
    """Ask less bid over mid."""
    kafka_ms: int = 0


@dataclass
class Market:
    """What the watch has seen since it began."""

    arrivals: Arrivals = field(default_factory=Arrivals)
    quotes: defaultdict[tuple[str, str], Quote] = field(default_factory=lambda: defaultdict(Quote))
    venue_delay: defaultdict[tuple[str, ...], Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    ingest_delay: defaultdict[tuple[str, ...], Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    tick_to_opportunity: Histogram = field(default_factory=Histogram)
    skipped: int = 0

    def ticks(self, columns: Columns, places: Sequence[tuple[int, int, int]]) -> None:
        """Take ticks; `places` has partition, offset and Kafka timestamp (ms since 1970) of each."""
        venues, symbols = _names(columns["venue"]), _names(columns["symbol"])
        numbers = zip(*(columns[name].tolist() for name in ("seq", "bid", "ask")), strict=True)
        for place, venue, symbol, (seq, bid, ask) in zip(places, venues, symbols, numbers, strict=True):
            self.arrivals.note(*place)
            if len(self.quotes) < MAX_INSTRUMENTS or (venue, symbol) in self.quotes:
                self._quote(self.quotes[venue, symbol], seq, bid, ask, place[2])
        stamps, received = np.array([ms for *_, ms in places]), columns["ts_recv"]
        self._delays(self.venue_delay, venues, (received - columns["ts_event"]) / 1e9)
        self._delays(self.ingest_delay, venues, stamps / 1e3 - received / 1e9)

    def _delays(self, histograms: defaultdict[tuple[str, ...], Histogram], venues: list[str], seconds: Any) -> None:
        held = np.array(venues)
        for venue in sorted(set(venues))[:MAX_INSTRUMENTS]:
            histograms[venue,].observe_all(seconds[held == venue])

    def opportunities(self, columns: Columns, stamps: Sequence[int]) -> None:
        """Take opportunities; `stamps` has the Kafka timestamp of each. Those of unknown ticks are no measurement."""
        for partition, offset, kafka_ms in zip(
                columns["partition"].tolist(), columns["offset"].tolist(), stamps, strict=True):
            arrived = self.arrivals.at(partition, offset)
            if arrived is not None:
                self.tick_to_opportunity.observe_live((kafka_ms - arrived) / 1e3)

    def skip(self, records: int) -> None:
        """Note that records were left out; what follows is no gap."""
        self.skipped += records
        for quote in self.quotes.values():
            quote.seq = -1

    def _quote(self, quote: Quote, seq: int, bid: float, ask: float, kafka_ms: int) -> None:
        quote.ticks += 1
        quote.gaps += 0 <= quote.seq < seq - 1
        quote.seq, quote.kafka_ms = max(seq, quote.seq), kafka_ms
        if 0 < bid <= ask:
            quote.mid = 0.5 * (bid + ask)
            quote.spread = (ask - bid) / quote.mid


def _names(text: Text) -> list[str]:
    """A column of strings, each different one decoded once."""
    pool = text.pool.tobytes()
    known: dict[bytes, str] = {}
    out = []
    for start, length in zip(text.start.tolist(), text.length.tolist(), strict=True):
        raw = pool[start:start + length]
        if raw not in known:
            known[raw] = raw.decode(errors="replace")
        out.append(known[raw])
    return out


class MarketExporter(Collector):
    """Turns what the watch has seen into metric families whenever Prometheus asks."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        quotes = dict(self._market.quotes)
        yield counter("sigmaflow_market_ticks", "Ticks seen in Kafka.", LABELS, {k: q.ticks for k, q in quotes.items()})
        yield counter("sigmaflow_market_gaps", "Places where sequence numbers are missing.", LABELS,
                      {k: q.gaps for k, q in quotes.items()})
        yield gauge("sigmaflow_market_mid_quote", "Mid of the last tick, in quote currency.", LABELS,
                    {k: q.mid for k, q in quotes.items()})
        yield gauge("sigmaflow_market_spread_ratio", "Spread of the last tick over its mid.", LABELS,
                    {k: q.spread for k, q in quotes.items()})
        yield gauge("sigmaflow_market_last_tick_timestamp_seconds", "When the last tick came into Kafka.", LABELS,
                    {k: q.kafka_ms / 1e3 for k, q in quotes.items()})
        yield from self._delays()
        yield counter("sigmaflow_watch_skipped_records", "Records that the watch left out to keep up.", (),
                      {(): self._market.skipped})

    def _delays(self) -> Iterator[Metric]:
        m = self._market
        yield histogram("sigmaflow_venue_delay_seconds", "Event time at the venue to receipt by the source.",
                        ("venue",), dict(m.venue_delay))
        yield histogram("sigmaflow_ingest_delay_seconds", "Receipt by the source to the tick's Kafka timestamp.",
                        ("venue",), dict(m.ingest_delay))
        yield histogram("sigmaflow_tick_to_opportunity_seconds",
                        "Kafka timestamp of a tick to that of its opportunity, where opportunities.v1 is written.",
                        (), {(): m.tick_to_opportunity})


class Watch:
    """Reads the ends of the topics in a thread of its own until `stop` is set; every failure is tried again."""

    def __init__(self, settings: Settings, arrivals: Arrivals, stop: threading.Event) -> None:
        self.market = Market(arrivals)
        self._settings, self._stop = settings, stop
        self._thread = threading.Thread(target=self._run, name="market", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except (UserError, RegistryError, KafkaException) as error:
                log.warning("%s; next attempt in %.0f s", error, RETRY_S)
                self._stop.wait(RETRY_S)

    def _watch(self) -> None:
        decoders = {topic: self._decoder(topic) for topic in FIELDS}
        consumer = Consumer(broker.client(self._settings.kafka.bootstrap) | {
            "group.id": "sigmaflow-watch",  # required by the client; nothing is ever committed
            "enable.auto.commit": False, "fetch.queue.backoff.ms": 5, "queued.max.messages.kbytes": 16_384})
        try:
            bootstrap = self._settings.kafka.bootstrap
            consumer.assign([TopicPartition(topic, n, OFFSET_END) for topic in FIELDS
                             for n in range(broker.partitions(consumer, bootstrap, topic, STAGE))])
            while not self._stop.is_set():
                messages = [m for m in consumer.consume(READ_MESSAGES, timeout=0.1) if m.error() is None]
                for topic in FIELDS:  # ticks first: an opportunity looks for its tick
                    self._take(topic, decoders[topic], [m for m in messages if m.topic() == topic])
                self._keep_up(consumer, messages)
        finally:
            consumer.close()

    def _decoder(self, topic: str) -> Decoder:
        row, url = schemas.topics()[topic], self._settings.registry.url
        schema = schemas.load(row.schema)
        wanted = schema | {"fields": [f for f in schema["fields"] if f["name"] in FIELDS[topic]]}
        return Decoder(wanted, Registry(url).versions(row.subject), later(url, row.subject))

    def _take(self, topic: str, decoder: Decoder, messages: list[Message]) -> None:
        batch = decoder.decode([m.value() for m in messages])
        if batch.verdict.any():  # admission says what is wrong with them
            messages = [m for m, verdict in zip(messages, batch.verdict.tolist(), strict=True) if not verdict]
            batch = decoder.decode([m.value() for m in messages])
        stamps = [m.timestamp()[1] for m in messages]
        if topic == TICKS:
            places = [(m.partition(), m.offset(), ms) for m, ms in zip(messages, stamps, strict=True)]
            self.market.ticks(batch.columns, places)
        else:
            self.market.opportunities(batch.columns, stamps)

    def _keep_up(self, consumer: Consumer, messages: Iterable[Message]) -> None:
        """Go to the end of every partition that has run away."""
        newest = {(m.topic(), m.partition()): m.offset() + 1 for m in messages}
        for (topic, partition), position in newest.items():
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            if high - position > MAX_LAG:
                consumer.seek(TopicPartition(topic, partition, high))
                self.market.skip(high - position)
