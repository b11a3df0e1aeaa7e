"""Frames out of the topics that `Chain.run` gives, as `sigmaflow.record` reads them from Kafka."""
from __future__ import annotations

import pandas as pd

import schemas
from jobs.chain.inprocess import Log, contracts
from schemas.codec import Decoder, column_kinds
from schemas.units import plain_columns, scaled
from sigmaflow import record


def frame(topics: dict[str, Log], topic: str, names: tuple[str, ...]) -> pd.DataFrame:
    """The named fields of a topic's messages, partition by partition."""
    schema = schemas.load(schemas.topics()[topic].schema)
    reader = schema | {"fields": [field for field in schema["fields"] if field["name"] in names]}
    decoder = Decoder(reader, {contracts().id(topic): schema})
    columns = plain_columns(decoder.decode([m for part in topics[topic] for m in part]).columns, scaled(reader))
    return pd.DataFrame({name: record._column(columns[name], name, reader) for name in column_kinds(reader)})
