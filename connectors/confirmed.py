"""Messages that count once the broker has confirmed them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors import broker

ANY = -1
"""Partition: the one of the message's key."""
FULL_WAIT_S = 0.1


class ConfirmedWriter:
    """A producer that waits for its messages. `seconds`: the longest wait for one; `options` are the client's."""

    def __init__(self, bootstrap: str, seconds: int, options: dict[str, Any] | None = None) -> None:
        self._seconds = seconds
        self._producer = Producer(broker.client(bootstrap) | {
            "acks": "all", "enable.idempotence": True, "delivery.timeout.ms": 1_000 * seconds} | (options or {}))

    def partitions(self, bootstrap: str, topic: str, stage: str) -> int:
        """Number of partitions of a topic. Raises UserError where it does not exist."""
        return broker.partitions(self._producer, bootstrap, topic, stage)

    def write(self, topic: str, messages: Iterable[tuple[bytes | None, bytes | None]],
              partition: int = ANY) -> list[Message]:
        """Append messages, key and value; gives them as they were placed, in the order in which they were handed over.

        Raises KafkaException where the broker does not confirm every one: what became of them is then unknown.
        """
        placed: list[Message] = []
        failed: list[KafkaError] = []
        for number, (key, value) in enumerate(messages):
            placed.append(None)
            self._hand_over(topic, key, value, partition, partial(_note, placed, failed, number))
        if self._producer.flush(self._seconds + 1) or failed:
            raise KafkaException(failed[0] if failed else KafkaError(KafkaError._TIMED_OUT))
        return placed

    def _hand_over(self, topic: str, key: bytes | None, value: bytes | None, partition: int, note: Any) -> None:
        while True:
            try:
                return self._producer.produce(topic, value, key, partition, on_delivery=note)
            except BufferError:  # more than the client holds
                self._producer.poll(FULL_WAIT_S)


def _note(placed: list[Message], failed: list[KafkaError], number: int, error: KafkaError | None,
          message: Message) -> None:
    if error is None:
        placed[number] = message
    else:
        failed.append(error)
