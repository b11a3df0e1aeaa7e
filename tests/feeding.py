"""Writes a made record to Kafka as the fills job does: Avro, keyed by account, in committed transactions."""

from __future__ import annotations

import io
import struct
from typing import Any

import fastavro
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import schemas
from connectors.registry import Registry
from connectors.results import Topics
from schemas.units import names, whole_row
from sigmaflow.settings import Settings

Row = dict[str, Any]


def topics(namespace: str) -> Topics:
    """Return the results process's topics in the namespace of one test."""
    return Topics(*(f"{namespace}.{name}" for name in Topics().names()))


class Feed:
    """Topics of one test and what writes to them."""

    def __init__(self, settings: Settings, namespace: str) -> None:
        self.namespace = namespace
        registry = Registry(settings.registry.url)
        admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap})
        for future in admin.create_topics([NewTopic(name, 1, 1) for name in topics(namespace).names()]).values():
            future.result()
        self._schemas = {}
        for name in Topics().names():
            schema = schemas.topics()[name].schema
            number = registry.register(schemas.topics()[name].subject, schemas.text(schema))
            self._schemas[name] = number, fastavro.parse_schema(schemas.load(schema))
        self._producer = Producer({"bootstrap.servers": settings.kafka.bootstrap, "transactional.id": namespace})
        self._producer.init_transactions()

    def write(self, rows: dict[str, list[Row]], commit: bool = True) -> None:
        """Write rows by topic (its name without the namespace) in one transaction, committed or aborted."""
        self._producer.begin_transaction()
        for name, messages in rows.items():
            for row in messages:
                key = row.get("account", "paper").encode()
                self._producer.produce(f"{self.namespace}.{name}", self.encode(name, row), key)
        self._producer.flush()
        (self._producer.commit_transaction if commit else self._producer.abort_transaction)()

    def raw(self, name: str, value: bytes) -> None:
        """Write bytes that are no message."""
        self._producer.begin_transaction()
        self._producer.produce(f"{self.namespace}.{name}", value)
        self._producer.commit_transaction()

    def encode(self, name: str, row: Row) -> bytes:
        """Return a message in the Confluent wire format."""
        number, schema = self._schemas[name]
        out = io.BytesIO()
        out.write(b"\0" + struct.pack(">I", number))
        fastavro.schemaless_writer(out, schema, whole_row(row, names(schemas.topics()[name].schema)))
        return out.getvalue()
