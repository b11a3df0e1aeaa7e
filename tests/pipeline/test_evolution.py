"""Contracts that change under running jobs: writers of other versions are read without a restart, and by replays."""
from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

import schemas
from connectors import broker, consume
from connectors.market.simulator import Config, generate
from connectors.registry import Later, Registry, RegistryError
from connectors.ticks import TickEncoder
from jobs.chain.messages import RecordReader
from sigmaflow import dead_letters, trials
from sigmaflow.runs import Run
from sigmaflow.settings import Settings
from sigmaflow.tally import Tally
from tests import avro

TICKS = "market.ticks.v1"
EACH = 400
Schema = dict[str, Any]


def adds_a_field(schema: Schema) -> None:
    schema["fields"].append({"name": "condition", "type": "string", "default": "", "doc": "Sale condition."})


def drops_a_field(schema: Schema) -> None:
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "last_size"]


def adds_a_symbol(schema: Schema) -> None:
    side = next(field for field in schema["fields"] if field["name"] == "last_side")
    side["type"]["symbols"].append("AUCTION")


def widens_a_type(schema: Schema) -> None:
    next(field for field in schema["fields"] if field["name"] == "flags")["type"] = "long"


def changed(change: Callable[[Schema], None]) -> Schema:
    schema = copy.deepcopy(schemas.load("tick"))
    change(schema)
    return schema


def test_writers_of_other_versions_are_read_by_running_jobs_and_by_replays(stack: Settings) -> None:
    """Each version is registered while the job runs; half of the ticks are old, half new; none is refused."""
    registry, tally = Registry(stack.registry.url), Tally()
    with Run("evolution", "default", taps="features.v1", settings=stack) as run:
        own = registry.find(f"{TICKS}-value", schemas.text("tick"))
        reader = RecordReader({own: schemas.load("tick")})
        producer = Producer(broker.client(stack.kafka.bootstrap) | {"partitioner": "murmur2_random"})
        versions = [changed(change) for change in (adds_a_field, drops_a_field, adds_a_symbol)]
        for n, (schema, ticks) in enumerate(zip(versions, generate(Config(count=3 * EACH, chunk=EACH)), strict=True)):
            number = registry.register(f"{TICKS}-value", json.dumps(schema))
            assert number != own
            for at, (key, raw) in enumerate(zip(*TickEncoder(own).encode(ticks), strict=True)):
                tick = reader.read(raw) | {"condition": "late"} | ({"last_side": "AUCTION"} if n == 2 else {})
                message = raw if at % 2 else avro.write(schema, tick, number)
                producer.produce(run.topic(TICKS), message, key)
            producer.flush()
            run.settle()
        assert run.ends()[f"{TICKS}.dlq"] == 0
        accepted = [value for _, value, _, _ in consume.read_all(run.topic("features.v1"), stack)]
        assert len(accepted) == 3 * EACH
        trials.check(tally, "as it ran", run)
        with Run("evolution", "default", settings=stack, recorded=run.namespace) as again:
            again.settle()
            trials.check(tally, "from the log, every version known", again, run.namespace)
    assert tally.clean and tally.cases > 6 * EACH


def test_a_feed_refused_whole_is_accepted_after_the_fix(stack: Settings) -> None:
    """Ticks of a version that is not registered for their topic; then it is, and `dlq replay` sends them again."""
    registry = Registry(stack.registry.url)
    schema = changed(adds_a_field)
    schema["fields"][-1]["name"] = "not_registered_yet"
    number = registry.register("staging-value", json.dumps(schema))
    with Run("refused", "default", taps="features.v1", settings=stack) as run:
        own = registry.find(f"{TICKS}-value", schemas.text("tick"))
        reader = RecordReader({own: schemas.load("tick")})
        producer = Producer(broker.client(stack.kafka.bootstrap) | {"partitioner": "murmur2_random"})
        for ticks in generate(Config(count=EACH)):
            for key, raw in zip(*TickEncoder(own).encode(ticks), strict=True):
                tick = reader.read(raw) | {"not_registered_yet": ""}
                producer.produce(run.topic(TICKS), avro.write(schema, tick, number), key)
        producer.flush()
        run.settle()
        assert run.ends()[f"{TICKS}.dlq"] == EACH and run.ends()["features.v1"] == 0
        assert registry.register(f"{TICKS}-value", json.dumps(schema)) == number
        time.sleep(2 * Later.PAUSE_S)  # a job does not ask for each unknown id at once
        dead_letters.run_replay(run.namespace, "unknown_schema", "", again=False, dry_run=False)
        run.settle()
        assert run.ends()["features.v1"] == EACH
        trials.check(tally := Tally(), "sent again", run)
    assert tally.clean


def test_a_change_that_old_readers_cannot_take_is_refused_by_the_registry_itself(stack: Settings) -> None:
    with pytest.raises(RegistryError) as refused:
        Registry(stack.registry.url).register(f"{TICKS}-value", json.dumps(changed(widens_a_type)))
    assert refused.value.status == 409 and "reader type: INT" in str(refused.value)
