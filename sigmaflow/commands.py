"""`sigmaflow halt`, `reduce`, `resume`: what a person tells a running chain, and where it came into force."""
from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

import schemas
from connectors import broker
from connectors.confirmed import ConfirmedWriter
from connectors.registry import value_schema_id
from jobs.chain.contracts import lookup
from jobs.chain.messages import COMMANDS, RULINGS, RecordReader, RecordWriter
from jobs.chain.shard import TICKS
from sigmaflow.errors import NotRunning
from sigmaflow.output import Record, console
from sigmaflow.settings import Settings, load
from udfs import profiles
from udfs.models import Models

PATIENCE_S = 5.0
"""Longest wait for a chain to say from where on a command holds."""
CONFIRM_S = 10
"""Longest wait for the broker to take a command."""
SAYS = {"halt": "No order passes", "reduce": "Only orders that reduce a position pass", "resume": "Orders pass again"}


@dataclass(frozen=True)
class InForce:
    """A ruling on a command, and the seconds between command and ruling."""

    ruling: dict[str, Any]
    seconds: float


def run(kind: str, reason: str, namespace: str, account: str) -> dict[str, Any]:
    """Give a command to the account; gives from where on it holds.

    Raises NotRunning where no chain takes it within five seconds: it then holds from the next start on.
    """
    return {"command": kind, "account": account,
            "in_force": [{"from_account_seq": found.ruling["first"], "after_ms": round(found.seconds * 1_000, 1)}
                         for found in give(load(), kind, reason, namespace, account)]}


def draw(answer: Record) -> None:
    """Print from where on a command holds."""
    for scope in answer["in_force"]:
        console().print(f"{SAYS[answer['command']]} from account_seq {scope['from_account_seq']:,} on "
                        f"(in force after {scope['after_ms']:.0f} ms).")


def use_model(digest: str, namespace: str, account: str, profile: str) -> dict[str, Any]:
    """Change the ensemble's model; gives from which tick of each partition on it holds.

    Raises UserError where the profile's jobs could not use the model, NotRunning where no chain takes it within five
    seconds.
    """
    settings, wanted = load(), "" if digest == "none" else digest
    Models(profiles.get(profile), settings.model_dir).number(wanted)
    return {"model": digest, "in_force": [
        {"partition": found.ruling["partition"], "from_offset": found.ruling["first"],
         "after_ms": round(found.seconds * 1_000, 1)}
        for found in give(settings, "model", "", namespace, account, wanted, schemas.shards())]}


def draw_model(answer: Record) -> None:
    """Print from which tick of each partition on a model holds."""
    for scope in answer["in_force"]:
        console().print(f"{answer['model']} holds from {TICKS}:{scope['partition']}:{scope['from_offset']} on")
    console().print("A partition without ticks follows with its next one.")


def give(settings: Settings, kind: str, reason: str = "", namespace: str = "", account: str = "paper", model: str = "",
         scopes: int = 1) -> Iterator[InForce]:
    """Write a command and give the rulings on it as they come, until there is one for each of `scopes`.

    Raises NotRunning where none comes within five seconds.
    """
    reader = RecordReader(lookup(settings.registry.url, [RULINGS]).writers(RULINGS))
    rulings = _from_the_end(settings, schemas.in_run(RULINGS, namespace))
    try:
        began = time.monotonic()
        offset = _write(settings, schemas.in_run(COMMANDS, namespace), account, {
            "account": account, "kind": kind, "model_digest": model, "reason": reason, "ts_sent": time.time_ns()})
        found = 0
        while found < scopes:
            message = rulings.poll(max(0.0, began + PATIENCE_S - time.monotonic()))
            if message is None and found:
                return
            if message is None:
                raise NotRunning("command", f"a running chain must take {kind!r} within {PATIENCE_S:.0f} s",
                                 f"no ruling on command {offset} came",
                                 "it holds as soon as the chain runs: look at `make status`")
            record = reader.own(message.value(), RULINGS, 0, message.offset()) if message.error() is None else None
            if record and record.get("command") == offset and record.get("account") == account:
                found += 1
                yield InForce(record, time.monotonic() - began)
    finally:
        rulings.close()


def _from_the_end(settings: Settings, topic: str) -> Consumer:
    consumer = Consumer(broker.client(settings.kafka.bootstrap) | {
        "group.id": "sigmaflow-commands", "enable.auto.commit": False, "fetch.wait.max.ms": 10})
    broker.partitions(consumer, settings.kafka.bootstrap, topic, "command")
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=broker.TIMEOUT_S)
    consumer.assign([TopicPartition(topic, 0, end)])
    return consumer


def _write(settings: Settings, topic: str, account: str, record: dict[str, Any]) -> int:
    """Offset of the command. Raises UserError for a broker that does not take it."""
    value = RecordWriter(COMMANDS, value_schema_id(COMMANDS, settings)).write(record)
    try:
        writer = ConfirmedWriter(settings.kafka.bootstrap, CONFIRM_S, {"linger.ms": 0})
        (placed,) = writer.write(topic, [(account.encode(), value)], 0)
    except KafkaException as error:
        raise broker.unreachable("command", settings.kafka.bootstrap, error.args[0].str()) from None
    return int(placed.offset())
