"""The Kafka broker as a user sees it: there or not, and which topics it has."""

from __future__ import annotations

import socket
from typing import Any

from confluent_kafka import KafkaException

from sigmaflow.errors import NotRunning, UserError

TIMEOUT_S = 8.0
CONNECT_S = 2.0


def client(bootstrap: str) -> dict[str, Any]:
    """Configuration of every client: errors reach the user through us, not through the client's own log."""
    return {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": _silent}


def _silent(_: object) -> None:
    """Nothing: what matters comes back from the calls themselves."""


def check(bootstrap: str, stage: str) -> None:
    """Raise UserError unless something listens at one of the addresses: a refusal is known at once."""
    reason: object = "no address"
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
            return
        except (OSError, ValueError) as error:
            reason = error
    raise unreachable(stage, bootstrap, reason)


def unreachable(stage: str, bootstrap: str, reason: object) -> NotRunning:
    """The error for a broker that does not answer."""
    return NotRunning(stage, f"Kafka must answer at {bootstrap}", f"it does not ({reason})",
                      "start the stack with `make start`")


def metadata(client: Any, bootstrap: str, stage: str) -> dict[str, int]:
    """Partitions of every topic, by name. `client` is a producer, consumer or admin client.

    Raises UserError when the broker does not answer within 8 s.
    """
    check(bootstrap, stage)
    try:
        listed = client.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise unreachable(stage, bootstrap, error.args[0].str()) from None
    return {name: len(topic.partitions) for name, topic in listed.items()}


def partitions(client: Any, bootstrap: str, topic: str, stage: str) -> int:
    """Number of partitions of a topic. Raises UserError where it does not exist."""
    found = metadata(client, bootstrap, stage)
    if topic not in found:
        raise UserError(stage, f"topic {topic} must exist on {bootstrap}", "it does not", "run `make setup-topics`")
    return found[topic]
