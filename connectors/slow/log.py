"""A topic of slow data as the memory of the process that writes it: read whole at a start, written record by record.

One process writes a topic's records of a kind. What it writes is confirmed before it counts, so a process that is
killed finds all that it must not say again, and nothing that it only meant to say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from confluent_kafka import KafkaException

from connectors import broker
from connectors.confirmed import ConfirmedWriter
from connectors.consume import Record as Message
from connectors.consume import Undecodable, read_all
from connectors.registry import value_schema_id
from connectors.slow.items import Record
from connectors.slow.source import STAGE
from jobs.chain.messages import RecordWriter
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings

log = logging.getLogger("slow")

CONFIRM_S = 60
LARGEST = 500
"""Records handed over before they are confirmed."""


def readable(topic: str, messages: Iterable[Message], say: Callable[[str], object]) -> Iterator[tuple[int, Record]]:
    """Records with their offsets. A message that cannot be read is left out, with a word: nobody's mistake may keep a
    process from its work.
    """
    for message in messages:
        if isinstance(message.value, Undecodable):
            say(f"{topic} offset {message.offset}: {message.value.reason}")
        else:
            yield message.offset, message.value


class Log(Protocol):
    """Where records are kept."""

    def read(self) -> Iterator[tuple[int, Record]]:
        """All records so far with their offsets, oldest first."""

    def write(self, records: Sequence[Record]) -> None:
        """Append records in their order, or raise."""


class TopicLog:
    """A topic of one partition. `topic` is the contract's; `name` where it is another, as in a run apart."""

    def __init__(self, settings: Settings, topic: str, name: str = "", key: Sequence[str] = ("id",)) -> None:
        self._settings, self.name, self._key = settings, name or topic, tuple(key)
        broker.check(settings.kafka.bootstrap, STAGE)
        self._writer = RecordWriter(topic, value_schema_id(topic, settings))
        self._out = ConfirmedWriter(settings.kafka.bootstrap, CONFIRM_S, {"compression.type": "lz4"})
        self._out.partitions(settings.kafka.bootstrap, self.name, STAGE)

    def read(self) -> Iterator[tuple[int, Record]]:
        """All records so far with their offsets, oldest first. Raises UserError as `read_all` does."""
        return readable(self.name, read_all(self.name, self._settings, keep_undecodable=True), log.warning)

    def write(self, records: Sequence[Record]) -> None:
        """Append records and wait until the broker has confirmed them. Raises UserError where it does not."""
        for at in range(0, len(records), LARGEST):
            self._confirmed(records[at:at + LARGEST])

    def _confirmed(self, records: Sequence[Record]) -> None:
        try:
            self._out.write(self.name, [(self._key_of(record), self._writer.write(record)) for record in records], 0)
        except KafkaException as error:
            raise UserError(STAGE, f"the broker must take records of {self.name}", error.args[0].str(),
                            "look at `make status` and start this again: it goes on where the topic ends") from None

    def _key_of(self, record: Record) -> bytes:
        return ":".join(str(record[name]) for name in self._key).encode()
