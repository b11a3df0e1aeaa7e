"""Reads whole topics as columns: many times faster than a dictionary a message, for checksums over millions of them."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import schemas
from connectors.consume import messages
from connectors.registry import Registry
from schemas.codec import OK, Columns, Decoder
from schemas.units import names, plain_columns
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings

CHUNK = 50_000


def read_columns(topic: str, settings: Settings, namespace: str = "",
                 read_committed: bool = False) -> Iterator[Columns]:
    """The topic up to its present end in chunks of columns, partition by partition as they come; amounts are plain.

    Raises UserError for an unreachable broker, a missing topic, or a message that does not fit its schema.
    """
    row = schemas.topics()[topic]
    whole = names(row.schema)
    decoder = Decoder(schemas.load(row.schema), Registry(settings.registry.url).versions(row.subject))
    stream = messages(schemas.in_run(topic, namespace), settings, read_committed)
    while held := list(islice(stream, CHUNK)):
        batch = decoder.decode([message.value() for message in held])
        if (batch.verdict != OK).any():
            bad = held[int((batch.verdict != OK).argmax())]
            raise UserError("read", f"every message of {topic} must fit its schema",
                            f"partition {bad.partition()} offset {bad.offset()} does not",
                            "look at it with `make monitor-topics`")
        yield plain_columns(batch.columns, whole)
