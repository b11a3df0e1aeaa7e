"""Topics and contracts on a real broker and a real registry."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

import schemas
from connectors import broker
from connectors.registry import Registry, RegistryError, value_schema_id
from connectors.topics import COMPATIBILITY, config, setup
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings
from tests.changes import ALLOWED, ORDER, REFUSED
from tests.waiting import wait_for


@pytest.fixture
def topic() -> schemas.Topic:
    """A topic that nobody else uses, with the schema of ticks."""
    return replace(schemas.topics()["market.ticks.v1"], name=f"test.{uuid.uuid4().hex}", partitions=3)


def admin(stack: Settings) -> AdminClient:
    return AdminClient(broker.client(stack.kafka.bootstrap))


def settings_of(stack: Settings, name: str) -> dict[str, str]:
    client = admin(stack)
    future, = client.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()
    return {key: entry.value for key, entry in future.result().items()}


def test_every_topic_of_the_contract_is_there_and_registered(stack: Settings) -> None:
    ids = setup(stack, quiet=True)
    present = broker.metadata(admin(stack), stack.kafka.bootstrap, "test")
    registry = Registry(stack.registry.url)
    assert list(ids) == list(schemas.topics())
    for name, row in schemas.topics().items():
        assert present[name] == row.partitions
        assert registry.schema(ids[name])["name"] == schemas.load(row.schema)["name"]
        assert value_schema_id(name, stack) == ids[name]
        assert settings_of(stack, name).items() >= config(row).items()


def test_setting_up_again_changes_nothing(stack: Settings) -> None:
    assert setup(stack, quiet=True) == setup(stack, quiet=True)


def test_another_retention_is_taken_over(stack: Settings, topic: schemas.Topic) -> None:
    setup(stack, [topic], quiet=True)
    setup(stack, [replace(topic, retention_hours=5)], quiet=True)
    # The broker takes settings over a moment after it has accepted them.
    wait_for("another retention", lambda: settings_of(stack, topic.name)["retention.ms"] == str(5 * 3_600_000))


def test_another_number_of_partitions_is_refused_before_anything_is_done(stack: Settings, topic: schemas.Topic) -> None:
    setup(stack, [topic], quiet=True)
    other = replace(topic, name=f"test.{uuid.uuid4().hex}")
    with pytest.raises(UserError, match=r"must have 4 partitions .* but it exists with 3"):
        setup(stack, [other, replace(topic, partitions=4)], quiet=True)
    assert other.name not in broker.metadata(admin(stack), stack.kafka.bootstrap, "test")


def test_an_incompatible_schema_is_refused_with_field_and_rule(stack: Settings, topic: schemas.Topic) -> None:
    setup(stack, [topic], quiet=True)
    rule = r"schema id \d+: the record: its type renamed from Tick to Fill"
    with pytest.raises(UserError, match=rf"FULL_TRANSITIVE .*{topic.subject}, but it is not:\n  {rule}"):
        setup(stack, [replace(topic, schema="fill")], quiet=True)


@pytest.mark.parametrize("change", [*ALLOWED, *REFUSED])
def test_the_registry_goes_by_the_rules_of_the_check(stack: Settings, change: str) -> None:
    registry, subject = Registry(stack.registry.url), f"test.{uuid.uuid4().hex}-value"
    registry.set_compatibility(COMPATIBILITY)
    first = registry.register(subject, json.dumps(ORDER))
    if change in ALLOWED:
        second = registry.register(subject, json.dumps(ALLOWED[change]))
        # A change of documentation alone is no new version to the registry: it gives the first one's id.
        held = {first: ORDER} if change == "another text" else {first: ORDER, second: ALLOWED[change]}
        assert (registry.versions(subject), second == first) == (held, change == "another text")
    else:
        with pytest.raises(RegistryError, match="409"):
            registry.register(subject, json.dumps(REFUSED[change][0]))


def test_a_schema_that_is_not_registered_is_told(stack: Settings, topic: schemas.Topic) -> None:
    with pytest.raises(RegistryError, match="404"):
        Registry(stack.registry.url).find(topic.subject, schemas.text("tick"))
    with pytest.raises(UserError, match=r"must be one of schemas/topics.yaml"):
        value_schema_id(topic.name, stack)
