"""Creates the topics of schemas/topics.yaml and registers their schemas: `python -m connectors.topics`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from rich.console import Console
from rich.progress import track

import schemas
from connectors import broker
from connectors.registry import Registry, RegistryError
from schemas.compatibility import against, listed
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings, load

COMPATIBILITY = "FULL_TRANSITIVE"
HOUR_MS = 3_600_000
TIMEOUT_S = 30.0
STAGE = "setup-topics"


def setup(settings: Settings, topics: Iterable[schemas.Topic] | None = None, quiet: bool = False) -> dict[str, int]:
    """Create missing topics, align retention, register schemas; safe to run again. Gives {topic: schema id}.

    `topics` is those of schemas/topics.yaml unless given.
    Raises UserError for an unreachable broker or registry, a topic with another number of partitions, an
    incompatible schema.
    """
    wanted = list(schemas.topics().values() if topics is None else topics)
    admin = AdminClient(broker.client(settings.kafka.bootstrap))
    present = broker.metadata(admin, settings.kafka.bootstrap, STAGE)
    _check_partitions(wanted, present)
    registry = Registry(settings.registry.url)
    registry.set_compatibility(COMPATIBILITY)
    console = Console(stderr=True, quiet=quiet)
    create(admin, [topic for topic in wanted if topic.name not in present])
    _wait_until_seen(admin, wanted, settings.kafka.bootstrap)
    configure(admin, {topic.name: config(topic) for topic in wanted if topic.name in present})
    return {topic.name: _register(registry, topic)
            for topic in track(wanted, "topics and schemas", console=console, transient=True)}


def config(topic: schemas.Topic) -> dict[str, str]:
    """Broker configuration of one topic.

    >>> config(schemas.topics()["fills.v1"])["retention.ms"]
    '-1'
    """
    retention_ms = -1 if topic.retention_hours < 0 else topic.retention_hours * HOUR_MS
    return {"cleanup.policy": topic.cleanup_policy, "compression.type": topic.compression,
            "retention.ms": str(retention_ms), "max.message.bytes": str(topic.max_message_bytes)}


def _check_partitions(wanted: list[schemas.Topic], present: dict[str, int]) -> None:
    for topic in wanted:
        found = present.get(topic.name, topic.partitions)
        if found != topic.partitions:
            raise UserError(
                STAGE, f"topic {topic.name} must have {topic.partitions} partitions (schemas/topics.yaml)",
                f"it exists with {found}", "change topics.yaml, or delete the topic and run `make setup-topics` again")


def create(admin: AdminClient, missing: list[schemas.Topic]) -> None:
    """Create topics that are not there yet."""
    new = [NewTopic(t.name, t.partitions, t.replication_factor, config=config(t)) for t in missing]
    if new:
        _wait(admin.create_topics(new, request_timeout=TIMEOUT_S))


def _wait_until_seen(admin: AdminClient, wanted: list[schemas.Topic], bootstrap: str) -> None:
    """Clients learn of a new topic a moment after it was created: wait for it, so that whoever comes next finds it."""
    deadline = time.monotonic() + TIMEOUT_S
    while not {topic.name for topic in wanted} <= broker.metadata(admin, bootstrap, STAGE).keys():
        if time.monotonic() > deadline:
            raise broker.unreachable(STAGE, bootstrap, "new topics did not appear")
        time.sleep(0.05)


def configure(admin: AdminClient, wanted: Mapping[str, Mapping[str, str]]) -> None:
    """Give topics that are there, by name, this configuration; what is not named stays."""
    resources = [
        ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()])
        for name, settings in wanted.items()
    ]
    if resources:
        _wait(admin.incremental_alter_configs(resources, request_timeout=TIMEOUT_S))


def _wait(futures: dict[Any, Any]) -> None:
    """Wait for every answer of the broker; a topic that someone else has just created is fine."""
    for key, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                name = getattr(key, "name", key)
                raise UserError(STAGE, f"the broker must accept topic {name}", error.args[0].str(),
                                "correct its row in schemas/topics.yaml") from None


def _register(registry: Registry, topic: schemas.Topic) -> int:
    try:
        return registry.register(topic.subject, schemas.text(topic.schema))
    except RegistryError as error:
        raise refusal(topic, schemas.load(topic.schema), error, registry.present(topic.subject)) from None


def refusal(topic: schemas.Topic, new: Any, error: RegistryError, registered: Mapping[int, Any]) -> UserError:
    """The error for a contract that the registry refuses: field and rule by our own comparison with what is there.

    The registry's message stands alone where the comparison finds nothing.
    """
    found = against(new, registered, "schema id")
    return UserError(
        STAGE, f"schemas/{topic.schema}.avsc must be {COMPATIBILITY} with what is registered as {topic.subject}",
        listed(found) if found else f"the registry says {error}",
        "do as it says, undo the change, or give the message a new topic ending in .v2")


def main() -> None:
    """Set everything up and print one line a topic."""
    ids = setup(load())
    for name, schema_id in ids.items():
        topic = schemas.topics()[name]
        print(f"{name:<22} {topic.partitions} partitions  schema {topic.schema} id {schema_id}")


if __name__ == "__main__":
    from connectors.command import run

    run(main)
