"""A run's topics as its questions read them: a few columns of a whole topic, and single messages whole.

Questions go over `History`, which Kafka answers here. A million decisions take a few seconds as columns; only the few
messages that are printed become dictionaries.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

import schemas
from connectors.consume import Seeker, messages
from connectors.registry import Registry, RegistryError
from jobs.chain.contracts import Contracts
from jobs.chain.messages import EXACTLY_ONCE, RecordReader
from schemas import units
from schemas.codec import OK, Columns, Decoder
from schemas.packed import Text
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings
from udfs.symbols import hashes

CHUNK = 50_000
"""Messages turned into columns at a time; their bytes are let go afterwards."""


class Kept(NamedTuple):
    """One message where it is kept. `time_ms` is the broker's or producer's record time, ms since 1970-01-01 UTC."""

    value: bytes | None
    partition: int
    offset: int
    time_ms: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


class History(ABC):
    """What a run left. Topics are named as in schemas/topics.yaml, without the run's namespace."""

    def __init__(self, contracts: Contracts) -> None:
        self.contracts = contracts
        self._readers: dict[str, RecordReader] = {}

    @abstractmethod
    def name(self, topic: str) -> str:
        """A topic's name in the run."""

    @abstractmethod
    def stream(self, topic: str) -> Iterator[Kept]:
        """The whole topic up to its present end, in order within each partition."""

    @abstractmethod
    def at(self, topic: str, partition: int, offset: int) -> Kept | None:
        """The first message at or after an offset; None where there is none."""

    @abstractmethod
    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset that is still kept, and the next one to be written; equal where there is no such partition."""

    def decode(self, topic: str, value: bytes) -> dict[str, Any]:
        """A message's fields, whichever registered schema wrote it; amounts are plain numbers.

        Raises UserError for what is no message of the topic.
        """
        if topic not in self._readers:
            self._readers[topic] = RecordReader(self.contracts.writers(topic))
        try:
            row = self._readers[topic].read(value)
        except ValueError as error:
            raise UserError("read", f"a message of {topic} must be one of its contract", str(error),
                            "find out who else writes to the topic; `sigmaflow audit` names the place") from None
        return units.plain_row(row, units.names(schemas.topics()[topic].schema))


class KafkaHistory(History):
    """History from the broker; `namespace` is empty for the live run."""

    def __init__(self, settings: Settings, namespace: str = "") -> None:
        super().__init__(Contracts({}, _versions(settings)))
        self._settings, self._namespace = settings, namespace
        self._seeker: Seeker | None = None

    def name(self, topic: str) -> str:
        """A topic's name in the run."""
        return schemas.in_run(topic, self._namespace)

    def stream(self, topic: str) -> Iterator[Kept]:
        """The whole topic up to its present end; only committed messages where it is exactly-once."""
        for message in messages(self.name(topic), self._settings, read_committed=topic in EXACTLY_ONCE):
            yield _kept(message)

    def at(self, topic: str, partition: int, offset: int) -> Kept | None:
        """The first message at or after an offset; None where there is none."""
        low, high = self.bounds(topic, partition)
        if offset >= high:
            return None
        found = self._seek().at(self.name(topic), partition, max(offset, low))
        return None if found is None else _kept(found)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset that is still kept, and the next one to be written."""
        if not 0 <= partition < schemas.topics()[topic].partitions:
            return 0, 0
        return self._seek().bounds(self.name(topic), partition)

    def _seek(self) -> Seeker:
        if self._seeker is None:
            self._seeker = Seeker(self._settings)
        return self._seeker


def _versions(settings: Settings) -> dict[str, dict[int, dict[str, Any]]]:
    """Every registered schema of every topic: those of the code that wrote a run, which need not be this code's."""
    registry = Registry(settings.registry.url)
    try:
        return {topic.name: registry.versions(topic.subject) for topic in schemas.topics().values()}
    except RegistryError as error:
        raise UserError("read", f"the schemas of all topics must be registered at {settings.registry.url}", str(error),
                        "run `make setup-topics`") from None


def _kept(message: Message) -> Kept:
    return Kept(message.value(), message.partition(), message.offset(), message.timestamp()[1], message.headers() or ())


@dataclass(frozen=True)
class Table:
    """Some columns of a whole topic, in its order. `instrument` numbers `instruments`, by first appearance.

    Amounts in columns are whole units (udfs/money.py), so that sums are exact; those of a row are plain numbers.
    """

    history: History
    topic: str
    columns: Columns
    instruments: list[str]

    def __len__(self) -> int:
        return len(self.columns["at_offset"])

    def __getitem__(self, column: str) -> NDArray[Any]:
        found: NDArray[Any] = self.columns[column]
        return found

    def row(self, n: int) -> dict[str, Any]:
        """One message, all of its fields. Raises UserError where the topic has lost it since it was listed."""
        partition, offset = int(self["at_partition"][n]), int(self["at_offset"][n])
        kept = self.history.at(self.topic, partition, offset)
        if kept is None or kept.offset != offset:
            raise UserError("read", f"{self.history.name(self.topic)}:{partition}:{offset} must still be kept",
                            "it is not", "ask again")
        return self.history.decode(self.topic, kept.value or b"")

    def last(self, rows: NDArray[np.bool_]) -> int | None:
        """Number of the last row that is True; None where none is."""
        found = np.flatnonzero(rows)
        return int(found[-1]) if len(found) else None


def table(history: History, topic: str, names: Sequence[str]) -> Table:
    """Read columns `names` of a topic: numbers, and the instrument where `venue` and `symbol` are among them.

    `at_partition` and `at_offset` say where in the topic each row is. Raises UserError for a message that does not fit
    its schema.
    """
    schema = history.contracts.schema(topic)
    narrow = schema | {"fields": [field for field in schema["fields"] if field["name"] in names]}
    decoder = Decoder(narrow, history.contracts.writers(topic))
    stream, numbers, names_of = history.stream(topic), dict[int, int](), list[str]()
    chunks = [_columns(history, topic, decoder, [], numbers, names_of)]
    while held := list(islice(stream, CHUNK)):
        chunks.append(_columns(history, topic, decoder, held, numbers, names_of))
    columns = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return Table(history, topic, columns, names_of)


def _columns(history: History, topic: str, decoder: Decoder, held: list[Kept], numbers: dict[int, int],
             instruments: list[str]) -> Columns:
    batch = decoder.decode([kept.value for kept in held])
    if (batch.verdict != OK).any():
        bad = held[int((batch.verdict != OK).argmax())]
        raise UserError("read", f"every message of {history.name(topic)} must fit its schema",
                        f"partition {bad.partition} offset {bad.offset} does not",
                        "look at it with `make monitor-topics`")
    out = {name: column for name, column in batch.columns.items() if not isinstance(column, Text)}
    if "symbol" in batch.columns:
        out["instrument"] = _instruments(batch.columns["venue"], batch.columns["symbol"], numbers, instruments)
    return out | {"at_partition": np.array([kept.partition for kept in held], np.int64),
                  "at_offset": np.array([kept.offset for kept in held], np.int64)}


def _instruments(venue: Text, symbol: Text, numbers: dict[int, int], instruments: list[str]) -> NDArray[np.int64]:
    """Number of each row's instrument; new ones are appended in the order in which they come."""
    distinct, first, place = np.unique(hashes(venue, symbol), return_index=True, return_inverse=True)
    for n in np.argsort(first).tolist():
        if int(distinct[n]) not in numbers:
            numbers[int(distinct[n])] = len(instruments)
            row = int(first[n])
            instruments.append(f"{venue.at(row).decode()}:{symbol.at(row).decode()}")
    return np.array([numbers[int(key)] for key in distinct], np.int64)[place]


def find_input(history: History, topic: str, partition: int, offset: int) -> dict[str, Any] | None:
    """The message of a tap that tick `offset` of the partition caused; None where the tap does not hold it.

    A search by halves over the tap's partition. A restart may have written some messages again, so that ticks' offsets
    fall back now and then; but wherever they step from below the wanted one to it or above, they step to it.
    """
    below, high = history.bounds(topic, partition)
    below, found = below - 1, None
    while high - below > 1:
        middle = (below + high) // 2
        kept = history.at(topic, partition, middle)
        value = history.decode(topic, kept.value or b"") if kept is not None else None
        if value is None or value["offset"] >= offset:
            high, found = middle, value
        else:
            below = middle
    return found if found is not None and found["offset"] == offset else None
