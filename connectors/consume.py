"""Reads topics and decodes their values by the schema id in front of them, whichever version wrote them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import fastavro
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors import broker
from connectors.registry import Registry, RegistryError
from schemas import wire
from schemas.units import plain_row, scaled
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings, load

STAGE = "consume"
BATCH = 5_000
PIECE = 500
"""The same for one partition of many that are read side by side."""
POLL_S = 0.1
"""How long the client collects messages for a batch: it waits for a full one, even at the end of a topic."""
SILENCE_S = 60.0
"""How long `read_all` waits for the next message of a topic that has more."""
SINGLE = {"fetch.wait.max.ms": 5, "fetch.message.max.bytes": 16_384, "queued.min.messages": 1}
"""For single messages: a request ahead of what was asked for would hold up the next one by half a second."""


@dataclass(frozen=True)
class Undecodable:
    """A value that is no message of a registered schema."""

    reason: str
    raw: bytes | None


class Record(NamedTuple):
    """One decoded message. `value` is Undecodable only where the caller asked to keep such messages."""

    key: bytes | None
    value: Any
    partition: int
    offset: int


class Decoder:
    """Bytes in the Confluent wire format to dictionaries, amounts in whole units as plain numbers."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._parsed: dict[int, tuple[Any, frozenset[str]]] = {}

    def decode(self, raw: bytes | None) -> dict[str, Any]:
        """The message. Raises ValueError that says why it cannot be read."""
        number, body = wire.split(raw)
        if number not in self._parsed:
            self._parsed[number] = self._parse(number)
        parsed, whole = self._parsed[number]
        value = wire.fields(body, number, parsed)
        return plain_row(value, whole) if whole else value

    def _parse(self, schema_id: int) -> tuple[Any, frozenset[str]]:
        try:
            schema = self._registry.schema(schema_id)
            return fastavro.parse_schema(schema), scaled(schema)
        except RegistryError:
            raise ValueError(f"unknown schema id {schema_id}") from None


def read_all(
    topic: str,
    settings: Settings | None = None,
    read_committed: bool = False,
    keep_undecodable: bool = False,
) -> Iterator[Record]:
    """Every message of a topic up to its end at the time of the call, in order within each partition.

    Raises UserError for an unreachable broker, a missing topic, a broker that falls silent for 60 s, or (unless they
    are kept as `Undecodable`) a value that cannot be read.
    """
    settings = settings or load()
    decoder = Decoder(Registry(settings.registry.url))
    for message in messages(topic, settings, read_committed):
        yield _record(topic, decoder, message, keep_undecodable)


def messages(topic: str, settings: Settings, read_committed: bool = False) -> Iterator[Message]:
    """The same, not decoded."""
    consumer = _consumer(settings, read_committed)
    try:
        ends = _assign(consumer, topic, settings, OFFSET_BEGINNING)
        heard = time.monotonic()
        while ends:
            batch = consumer.consume(BATCH, POLL_S)
            if batch:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_S:
                silent = f"no message of {topic} for {SILENCE_S:.0f} s"
                raise broker.unreachable(STAGE, settings.kafka.bootstrap, silent)
            for message in batch:
                partition = message.partition()
                if _at_end(message, settings):
                    ends.pop(partition, None)
                elif partition in ends:
                    yield message
                    if message.offset() + 1 >= ends[partition]:
                        del ends[partition]
    finally:
        consumer.close()


def partition(topic: str, number: int, start: int, end: int, settings: Settings,
              read_committed: bool = False) -> Iterator[Message]:
    """Messages of one partition from `start` up to `end`, not decoded; a few MB are held at a time.

    Raises UserError for an unreachable broker, or one that falls silent for 60 s.
    """
    if start >= end:
        return
    consumer = _consumer(settings, read_committed, {"queued.max.messages.kbytes": 2_048})
    try:
        consumer.assign([TopicPartition(topic, number, start)])
        heard = time.monotonic()
        while time.monotonic() - heard < SILENCE_S:
            for message in consumer.consume(PIECE, POLL_S):
                heard = time.monotonic()
                if _at_end(message, settings) or message.offset() >= end:
                    return
                yield message
                if message.offset() + 1 >= end:
                    return
        silent = f"no message of {topic} for {SILENCE_S:.0f} s"
        raise broker.unreachable(STAGE, settings.kafka.bootstrap, silent)
    finally:
        consumer.close()


def follow(
    topic: str,
    settings: Settings | None = None,
    from_beginning: bool = False,
    read_committed: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[list[Record]]:
    """Messages as they flow, in batches; an empty batch every 0.1 s while there is none. Undecodable ones are kept."""
    settings = settings or load()
    decoder = Decoder(Registry(settings.registry.url))
    consumer = _consumer(settings, read_committed)
    try:
        _assign(consumer, topic, settings, OFFSET_BEGINNING if from_beginning else OFFSET_END)
        while not stop():
            batch = consumer.consume(BATCH, POLL_S)
            yield [_record(topic, decoder, message, True) for message in batch if not _at_end(message, settings)]
    finally:
        consumer.close()


class Seeker:
    """Single messages by their place, whether committed or not."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._consumer = settings, _consumer(settings, False, SINGLE)
        self._topics: set[str] = set()

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises UserError for a missing topic or a silent broker."""
        return broker.partitions(self._consumer, self._settings.kafka.bootstrap, topic, STAGE)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset that is kept, and the next one. Raises UserError for a missing topic or a silent broker."""
        if topic not in self._topics:
            broker.partitions(self._consumer, self._settings.kafka.bootstrap, topic, STAGE)
            self._topics.add(topic)
        return _watermarks(self._consumer, TopicPartition(topic, partition), self._settings)

    def at(self, topic: str, partition: int, offset: int) -> Message | None:
        """The first message at or after an offset that is kept; None at the end. Raises UserError for a silent broker.
        """
        self._consumer.assign([TopicPartition(topic, partition, offset)])
        deadline = time.monotonic() + SILENCE_S
        while time.monotonic() < deadline:
            message = self._consumer.poll(broker.TIMEOUT_S)
            if message is not None:
                return None if _at_end(message, self._settings) else message
        silent = f"no message of {topic} for {SILENCE_S:.0f} s"
        raise broker.unreachable(STAGE, self._settings.kafka.bootstrap, silent)


def _consumer(settings: Settings, read_committed: bool, options: dict[str, int] | None = None) -> Consumer:
    return Consumer(broker.client(settings.kafka.bootstrap) | {
        "group.id": f"sigmaflow-read-{uuid.uuid4()}",  # required by the client; nothing is ever committed
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed" if read_committed else "read_uncommitted",
        "fetch.queue.backoff.ms": 5,                   # the default of 1000 halves the speed
    } | (options or {}))


def _assign(consumer: Consumer, topic: str, settings: Settings, offset: int) -> dict[int, int]:
    """Take every partition from an offset on; give the ends of those that hold anything."""
    count = broker.partitions(consumer, settings.kafka.bootstrap, topic, STAGE)
    ends = {}
    for partition in range(count):
        low, high = _watermarks(consumer, TopicPartition(topic, partition), settings)
        if high > low:
            ends[partition] = high
    consumer.assign([TopicPartition(topic, partition, offset) for partition in range(count)])
    return ends


def _watermarks(consumer: Consumer, partition: TopicPartition, settings: Settings) -> tuple[int, int]:
    """First and next offset of a partition; tried again for 8 s, since a new one has no leader for a moment."""
    deadline = time.monotonic() + broker.TIMEOUT_S
    while True:
        try:
            low, high = consumer.get_watermark_offsets(partition, timeout=broker.TIMEOUT_S)
            return low, high
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise broker.unreachable(STAGE, settings.kafka.bootstrap, error.args[0].str()) from None
            time.sleep(0.05)


def _at_end(message: Message, settings: Settings) -> bool:
    """Whether this is the notice that a partition has no more; raises UserError for an error.

    With committed reads it comes where markers of transactions, which are no messages, fill the end.
    """
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    raise broker.unreachable(STAGE, settings.kafka.bootstrap, error.str())


def _record(topic: str, decoder: Decoder, message: Message, keep: bool) -> Record:
    raw = message.value()
    try:
        value: Any = decoder.decode(raw)
    except ValueError as error:
        if not keep:
            raise UserError(STAGE, f"every message of {topic} must be readable",
                            f"partition {message.partition()} offset {message.offset()} is not: {error}",
                            "look at it with `make monitor-topics`") from None
        value = Undecodable(str(error), raw)
    return Record(message.key(), value, message.partition(), message.offset())
