"""Where the numbering of ticks goes on when a source starts again.

`seq` rises by one for each venue and symbol over restarts, so the log says what comes next: one more than the newest
tick of the instrument that it holds (dead letters sent again apart). It is looked for from the end of its partition
backwards, SEARCHED records at most. An instrument that is not found begins at the microseconds since 1970, as the
simulator does: that is above whatever an earlier run has reached, and the chain marks the jump as a gap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from confluent_kafka import Consumer, Message, TopicPartition

from connectors import broker
from connectors.consume import Decoder
from connectors.market.columns import Instrument
from connectors.registry import Registry
from connectors.simulate import epoch_seq
from connectors.ticks import TOPIC
from sigmaflow.settings import Settings

STAGE = "feed"
REPLAYED = "replayed-from"
"""Header of a dead letter that was sent again (sigmaflow/dead_letters.py)."""
FIRST_WINDOW = 4_096
"""Records looked at first; each further look back takes twice as many."""
SEARCHED = 1_000_000
"""Records of a partition looked at in all, a few seconds of reading: eight minutes of 2,000 ticks/s."""
SILENCE_S = 30.0

Window = Callable[[int, int], Iterable[tuple[bytes | None, bytes | None]]]
"""Keys and values of a partition from an offset up to another one."""


def newest(keys: set[bytes], low: int, high: int, window: Window) -> dict[bytes, bytes]:
    """The newest value of each key in a partition whose records are those from `low` up to `high`.

    >>> log = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4")]
    >>> newest({b"a", b"b", b"z"}, 0, 4, lambda first, end: log[first:end])
    {b'a': b'3', b'b': b'2'}
    """
    found: dict[bytes, bytes] = {}
    least, size, end = max(low, high - SEARCHED), FIRST_WINDOW, high
    while end > least and len(found) < len(keys):
        first = max(least, end - size)
        here = {key: value for key, value in window(first, end) if key in keys and value is not None}
        found = {key: value for key, value in here.items() if key is not None} | found
        end, size = first, 2 * size
    return found


def next_seqs(settings: Settings, instruments: Iterable[Instrument], topic: str = TOPIC) -> dict[Instrument, int]:
    """Number of the next tick of each instrument that is found in the log.

    Raises UserError for an unreachable broker, a missing topic or a broker that falls silent.
    """
    wanted = {f"{venue}:{symbol}".encode(): (venue, symbol) for venue, symbol in instruments}
    decoder, found = Decoder(Registry(settings.registry.url)), dict[bytes, bytes]()
    consumer = Consumer(broker.client(settings.kafka.bootstrap) | {
        "group.id": "sigmaflow-resume", "enable.auto.commit": False, "fetch.queue.backoff.ms": 5})
    try:
        for partition in range(broker.partitions(consumer, settings.kafka.bootstrap, topic, STAGE)):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=broker.TIMEOUT_S)
            keys = wanted.keys() - found.keys()
            found |= newest(set(keys), low, high, _window(consumer, topic, partition, settings.kafka.bootstrap))
    finally:
        consumer.close()
    return {wanted[key]: seq + 1 for key, value in found.items() if (seq := _seq(decoder, value)) is not None}


def numbering(found: Mapping[Instrument, int], now_ns: Callable[[], int] = time.time_ns) -> Callable[[Instrument], int]:
    """Number of an instrument's first tick: as found in the log, else the microseconds since 1970.

    >>> first = numbering({("COINBASE", "BTC-USD"): 8}, lambda: 1_704_205_800_000_000_000)
    >>> first(("COINBASE", "BTC-USD")), first(("COINBASE", "ETH-USD"))
    (8, 1704205800000000)
    """
    return lambda instrument: found.get(instrument) or epoch_seq(now_ns())


def _seq(decoder: Decoder, value: bytes) -> int | None:
    """Number of a tick, None for what is none."""
    try:
        return int(decoder.decode(value)["seq"])
    except ValueError:
        return None


def _window(consumer: Consumer, topic: str, partition: int, bootstrap: str) -> Window:
    def read(first: int, end: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        consumer.assign([TopicPartition(topic, partition, first)])
        deadline, offset = time.monotonic() + SILENCE_S, first
        while offset < end:
            for message in consumer.consume(min(5_000, end - offset), 0.1):
                if message.error() is not None:
                    raise broker.unreachable(STAGE, bootstrap, message.error().str())
                deadline, offset = time.monotonic() + SILENCE_S, message.offset() + 1
                if offset <= end and not _sent_again(message):
                    yield message.key(), message.value()
            if time.monotonic() > deadline:
                raise broker.unreachable(STAGE, bootstrap, f"no message of {topic} for {SILENCE_S:.0f} s")

    return read


def _sent_again(message: Message) -> bool:
    """Whether it is a dead letter's: its number is of the past."""
    return any(name == REPLAYED for name, _ in message.headers() or ())
