"""Writes ticks to market.ticks.v1: Avro in the Confluent wire format, keyed VENUE:SYMBOL.

Kafka's record timestamp is left at the time of writing: with event time there, retention would delete old recordings.
"""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, Message, Producer

import schemas
from connectors import broker
from connectors.market.columns import COLUMNS, Instrument, Ticks
from connectors.registry import value_schema_id
from schemas.codec import Encoder
from schemas.packed import Text
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings

TOPIC = "market.ticks.v1"
STAGE = "ticks"
FLUSH_TIMEOUT_S = 190
PRODUCER = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",      # the Java clients' choice, so that a key has one partition for all
    "linger.ms": 0.5,                     # what a source writes at once leaves as one batch, long bulk in full ones
    "batch.size": 262_144,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 262_144,
    "delivery.timeout.ms": 180_000,  # a source outlives an outage of the broker of three minutes
    "delivery.report.only.error": True,
}


class TickEncoder:
    """Ticks to messages. Strings are laid out once an instrument, not once a tick."""

    def __init__(self, schema_id: int) -> None:
        self._encoder = Encoder(schemas.load("tick"), schema_id)
        self._instruments: tuple[Instrument, ...] = ()
        self._venue = self._symbol = Text.table([])
        self._keys: list[bytes] = []

    def encode(self, ticks: Ticks) -> tuple[list[bytes], list[bytes]]:
        """Keys and values, one each a tick."""
        if ticks.instruments != self._instruments:
            self._learn(ticks.instruments)
        columns: dict[str, Any] = {name: getattr(ticks, name) for name in COLUMNS[1:]}
        columns["venue"] = self._venue.take(ticks.instrument)
        columns["symbol"] = self._symbol.take(ticks.instrument)
        keys = [self._keys[i] for i in ticks.instrument.tolist()]
        return keys, self._encoder.encode(columns, len(ticks)).values()

    def _learn(self, instruments: tuple[Instrument, ...]) -> None:
        self._instruments = instruments
        self._venue = Text.table([venue.encode() for venue, _ in instruments])
        self._symbol = Text.table([symbol.encode() for _, symbol in instruments])
        self._keys = [f"{venue}:{symbol}".encode() for venue, symbol in instruments]


class TickWriter:
    """A producer of market.ticks.v1. Writes may raise UserError; `flush` tells whether all was delivered."""

    def __init__(self, settings: Settings, topic: str = TOPIC) -> None:
        self._bootstrap = settings.kafka.bootstrap
        self._topic = topic
        self._failed: KafkaError | None = None
        self.written = 0
        """Messages handed to the producer so far."""
        broker.check(self._bootstrap, STAGE)
        self._encoder = TickEncoder(value_schema_id(TOPIC, settings))
        self._producer = Producer(broker.client(self._bootstrap) | PRODUCER | {"on_delivery": self._report})
        broker.partitions(self._producer, self._bootstrap, topic, STAGE)

    def write(self, ticks: Ticks) -> None:
        """Queue a chunk in its order; waits while the queue is full and never drops."""
        keys, values = self._encoder.encode(ticks)
        for key, value in zip(keys, values, strict=True):
            try:
                self._producer.produce(self._topic, value, key)
            except BufferError:
                self._wait(key, value)
        self.written += len(values)
        self._producer.poll(0)
        self._raise_failed()

    def write_raw(self, key: bytes | None, value: bytes | None, headers: dict[str, str]) -> None:
        """Queue one message as it is; without a key it goes to any partition."""
        try:
            self._producer.produce(self._topic, value, key, headers=headers)
        except BufferError:
            self._wait(key, value, headers)
        self.written += 1
        self._producer.poll(0)
        self._raise_failed()

    def flush(self) -> None:
        """Wait until the broker has confirmed everything.

        Raises UserError when it does not within three minutes or refused a message.
        """
        left = self._producer.flush(FLUSH_TIMEOUT_S)
        self._raise_failed()
        if left:
            raise broker.unreachable(STAGE, self._bootstrap, f"{left} ticks not confirmed")

    def _wait(self, key: bytes | None, value: bytes | None, headers: dict[str, str] | None = None) -> None:
        while True:
            self._producer.poll(0.05)
            self._raise_failed()
            try:
                self._producer.produce(self._topic, value, key, headers=headers)
                return
            except BufferError:
                continue

    def _report(self, error: KafkaError | None, _: Message) -> None:
        self._failed = self._failed or error

    def _raise_failed(self) -> None:
        if self._failed is None:
            return
        if self._failed.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            raise broker.unreachable(STAGE, self._bootstrap, self._failed.str())
        raise UserError(STAGE, f"the broker must accept ticks on {self._topic}", self._failed.str(),
                        "look at the broker's log with `make logs`")
