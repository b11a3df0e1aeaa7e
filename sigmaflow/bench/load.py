"""Processes beside the chain: one that sends a paced market, one that reads results and notes when each arrived.

Processes and not threads, so that neither waits for the other's interpreter.
"""
from __future__ import annotations

import gc
import multiprocessing
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from numpy.typing import NDArray

import schemas
from connectors import broker
from connectors.consume import messages
from connectors.market.simulator import Config
from connectors.registry import Registry
from connectors.topics import configure
from schemas.codec import Columns, Decoder
from sigmaflow.errors import Failed
from sigmaflow.settings import Settings, load

SPAWN = multiprocessing.get_context("spawn")
DRAIN = 10_000
PIECE = 100_000
"""Messages that are decoded together: all of a fast market's would take gigabytes as columns."""
READY_S = 60.0


class Stream(NamedTuple):
    """A topic to read, and whether only committed records."""

    topic: str
    committed: bool


class Arrived(NamedTuple):
    """What a topic gave, one row a message: the tick that caused it, and when the message was there."""

    tick: NDArray[np.int64]
    at_ns: NDArray[np.int64]


Kept = list[tuple[int, list[Message]]]
"""Messages that arrived together, with the clock when they did, ns."""


def place(partition: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for a tick's partition and offset.

    >>> place(np.array([1]), np.array([5])).tolist()
    [281474976710661]
    """
    return (partition.astype(np.int64) << 48) | offset.astype(np.int64)


@dataclass
class Sender:
    """A market that a process sends in its own time; `behind_s` is how late it was at the most, once it has ended."""

    process: Any
    answer: Connection
    behind_s: float = 0.0

    def wait(self) -> None:
        """Wait until the last tick is confirmed. Raises Failed where the process ended without a word."""
        try:
            self.behind_s = float(self.answer.recv())
        except EOFError:
            raise Failed("bench", "the market must be sent whole", "its process ended", "read its output") from None
        self.process.join()


def send(config: Config, topic: str) -> Sender:
    """Start sending a market to a topic, each tick when its receive time, counted from now, has come."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_send, args=(config, topic, there), daemon=True)
    process.start()
    there.close()
    return Sender(process, here)


def _send(config: Config, topic: str, answer: Connection) -> None:
    from connectors import simulate
    from connectors.ticks import TickWriter

    writer = TickWriter(load(), topic)
    sent = simulate.run(config, writer)
    writer.flush()
    answer.send(sent.behind_s)


class Reader:
    """The reading process's streams; `read` ends it and gives what arrived."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def read(self) -> list[Arrived]:
        """What each stream gave until now."""
        self._pipe.send(True)
        found: list[Arrived] = self._pipe.recv()
        return found


@contextmanager
def reading(streams: Sequence[Stream], namespace: str) -> Iterator[Reader]:
    """Read streams of a run in a process of its own, from their beginning on."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_read, args=(list(streams), namespace, there), daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(READY_S):
            raise Failed("bench", f"a reader must be ready within {READY_S:.0f} s", "it is not", "free the machine")
        here.recv()
        yield Reader(here)
    finally:
        process.terminate()
        process.join()


def _read(streams: list[Stream], namespace: str, pipe: Connection) -> None:
    gc.disable()  # it would go through all that has arrived, for some hundred milliseconds, again and again
    settings, ended = load(), threading.Event()
    held: dict[bool, Kept] = {committed: [] for _, committed in streams}
    threads = [threading.Thread(target=_follow, args=(
        settings, [stream.topic for stream in streams if stream.committed == committed], committed, namespace, ended,
        kept)) for committed, kept in held.items()]
    for thread in threads:
        thread.start()
    pipe.send(True)
    pipe.recv()
    ended.set()
    for thread in threads:
        thread.join()
    pipe.send([_received(settings, stream.topic, namespace, held[stream.committed]) for stream in streams])


def _follow(settings: Settings, topics: list[str], committed: bool, namespace: str, ended: threading.Event,
            kept: Kept) -> None:
    """Note the clock at the first message of what has arrived, and take all that came with it.

    One client for all topics that are read alike: each costs the broker a request for every message that comes.
    """
    consumer = Consumer(broker.client(settings.kafka.bootstrap) | {
        "group.id": "sigmaflow-bench", "enable.auto.commit": False, "fetch.queue.backoff.ms": 5,
        "isolation.level": "read_committed" if committed else "read_uncommitted"})
    consumer.assign([TopicPartition(schemas.in_run(topic, namespace), p, OFFSET_BEGINNING)
                     for topic in topics for p in range(schemas.topics()[topic].partitions)])
    while not ended.is_set():
        first = consumer.poll(0.1)
        if first is not None and first.error() is None:
            now = time.time_ns()
            kept.append((now, [first, *(m for m in consumer.consume(DRAIN, 0) if m.error() is None)]))
    consumer.close()


def _received(settings: Settings, name: str, namespace: str, kept: Kept) -> Arrived:
    read = schemas.in_run(name, namespace)
    every = [(now, message) for now, messages in kept for message in messages if message.topic() == read]
    ticks = joined(place(columns["partition"], columns["offset"])
                   for columns, _ in decoded(settings, name, (message for _, message in every)))
    return Arrived(ticks, np.array([now for now, _ in every], np.int64))


def stamp_by_broker(settings: Settings, names: Sequence[str], namespace: str) -> None:
    """Have the broker put its clock into these topics' messages when it appends them. `appended` reads that."""
    admin = AdminClient(broker.client(settings.kafka.bootstrap))
    configure(admin, {schemas.in_run(name, namespace): {"message.timestamp.type": "LogAppendTime"} for name in names})


def appended(settings: Settings, name: str, namespace: str) -> Arrived:
    """When the broker had appended each message of a topic: the end of the millisecond that its timestamp tells.

    Nobody needs to read along for it: a reader of every message would take a sixth of two cores from the chain.
    """
    found = [(place(columns["partition"], columns["offset"]),
              (np.array([message.timestamp()[1] for message in piece], np.int64) + 1) * 1_000_000)
             for columns, piece in decoded(settings, name, messages(schemas.in_run(name, namespace), settings))]
    return Arrived(joined(ticks for ticks, _ in found), joined(at_ns for _, at_ns in found))


def decoded(settings: Settings, name: str, every: Iterable[Message]) -> Iterator[tuple[Columns, list[Message]]]:
    """Messages of a topic piece by piece, with their columns."""
    topic, left = schemas.topics()[name], iter(every)
    decoder = Decoder(schemas.load(topic.schema), Registry(settings.registry.url).versions(topic.subject))
    while piece := list(islice(left, PIECE)):
        yield decoder.decode([message.value() for message in piece]).columns, piece


def joined(parts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """A column of whole numbers, its parts one behind the other.

    >>> joined([np.array([1]), np.array([2, 3])]), joined([])
    (array([1, 2, 3]), array([], dtype=int64))
    """
    return np.concatenate([np.empty(0, np.int64), *parts])
