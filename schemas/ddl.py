"""Flink SQL derived from the contracts: `python -m schemas.ddl [TOPIC]` prints a table a topic, and the functions.

Types are those Flink itself gives the registered schema; it refuses a table that differs. Reading such a table meets
`avro-confluent`, for which one poison record is fatal: it is for topics that the chain writes, and for clean ticks.
"""
from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import schemas
from schemas import Topic

TYPES = {"string": "STRING", "bytes": "BYTES", "long": "BIGINT", "int": "INT", "double": "DOUBLE", "boolean": "BOOLEAN",
         "enum": "STRING"}


def flink_type(kind: Any) -> str:
    """Flink's type of an Avro type.

    >>> flink_type(["null", "double"])
    'DOUBLE'
    >>> flink_type({"type": "array", "items": "double"})
    'ARRAY<DOUBLE NOT NULL> NOT NULL'
    """
    if isinstance(kind, list):
        return flink_type(kind[1]).removesuffix(" NOT NULL")
    if isinstance(kind, str):
        return f"{TYPES[kind]} NOT NULL"
    if kind["type"] == "array":
        return f"ARRAY<{flink_type(kind['items'])}> NOT NULL"
    if kind["type"] == "record":
        fields = ", ".join(f"`{field['name']}` {flink_type(field['type'])}" for field in kind["fields"])
        return f"ROW<{fields}> NOT NULL"
    return flink_type(kind["type"])


def create_table(topic: Topic, bootstrap: str, registry: str, name: str = "") -> str:
    """Statement for a table over a topic; `name` is the Kafka topic's where it differs, as in a run apart.

    `registry` is the address of its Confluent-compatible API. Account topics are read committed.
    """
    schema = schemas.load(topic.schema)
    columns = [f"`{f['name']}` {flink_type(f['type'])} COMMENT {literal(f['doc'])}" for f in schema["fields"]]
    columns += [f"`kafka_key` STRING COMMENT {literal(f'Message key: {topic.key}.')}",
                "`kafka_partition` INT METADATA FROM 'partition' VIRTUAL",
                "`kafka_offset` BIGINT METADATA FROM 'offset' VIRTUAL"]
    options = ",\n".join(f"  '{key}' = {literal(value)}"
                         for key, value in _options(topic, name or topic.name, bootstrap, registry).items())
    lines = ",\n".join(f"  {column}" for column in columns)
    return (f"CREATE TEMPORARY TABLE IF NOT EXISTS `{name or topic.name}` (\n{lines}\n) "
            f"COMMENT {literal(schema['doc'])} WITH (\n{options}\n)")


def _options(topic: Topic, name: str, bootstrap: str, registry: str) -> Mapping[str, str]:
    return {
        "connector": "kafka", "topic": name, "properties.bootstrap.servers": bootstrap,
        "properties.isolation.level": "read_committed", "scan.startup.mode": "earliest-offset",
        "key.format": "raw", "key.fields": "kafka_key", "value.format": "avro-confluent",
        "value.fields-include": "EXCEPT_KEY", "value.avro-confluent.url": registry,
        "value.avro-confluent.subject": topic.subject, "value.avro-confluent.schema": schemas.text(topic.schema)}


def literal(text: str) -> str:
    """A SQL string.

    >>> literal("the venue's")
    "'the venue''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def main() -> None:
    """Print the statements of one topic, or of all with the functions."""
    from sigmaflow.errors import UserError
    from sigmaflow.settings import load
    from udfs.functions import FUNCTIONS, create_statement

    topics, s = schemas.topics(), load()
    unknown = [name for name in sys.argv[1:] if name not in topics]
    if unknown:
        raise UserError("ddl", "the topic must be one of schemas/topics.yaml", repr(unknown[0]),
                        f"use one of {', '.join(topics)}")
    for name in sys.argv[1:] or topics:
        print(create_table(topics[name], s.kafka.bootstrap, s.registry.url) + ";\n")
    for name in () if sys.argv[1:] else FUNCTIONS:
        print(create_statement(name) + ";")


if __name__ == "__main__":
    from connectors.command import run

    run(main)
