"""The trading record out of Kafka: equity.v1, fills.v1 and decisions.v1 as frames, committed messages only.

Messages are decoded a chunk at a time into columns (`schemas/codec.py`), only the fields the report needs: a record of
two million marks is then read in seconds and held in a few hundred MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from confluent_kafka import Message

import schemas
from connectors.consume import messages
from connectors.registry import Registry
from schemas.codec import NULL_LONG, STRING, Decoder, column_kinds
from schemas.packed import Text
from schemas.units import plain_columns, scaled
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings

CHUNK = 20_000

EQUITY = ("account", "account_seq", "venue", "symbol", "ts_order", "mid", "symbol_pnl", "equity", "drawdown", "gross",
          "net", "account_cvar_975", "state", "orders", "fills")  # fmt: skip
FILLS = ("account", "account_seq", "venue", "symbol", "ts_event", "ts_order", "order_id", "side", "quantity", "price",
         "fee", "ts_order_sent", "decision_mid", "position", "realized_pnl", "top_alpha")  # fmt: skip
DECISIONS = ("account", "account_seq", "venue", "symbol", "ts_order", "intent_id", "order_id", "strategy",
             "config_digest", "failed_gate", "order_quantity", "target", "position", "mid", "spread",
             "top_alpha")  # fmt: skip
TRADES = ("venue", "symbol", "ts_event", "last_price", "last_size", "last_side")


@dataclass(frozen=True)
class Frames:
    """The record, rows in Kafka order; fills carry `kafka_ms`, their records' timestamps."""

    equity: pd.DataFrame
    fills: pd.DataFrame
    decisions: pd.DataFrame
    trades: pd.DataFrame
    """Ticks with the last trade that each shows; empty for a run whose ticks are on other topics than its own."""


def read(settings: Settings, account: str = "paper", namespace: str = "") -> Frames:
    """Read the whole record of one account. `namespace` is that of a run kept apart on topics of its own.

    Raises UserError where the broker or the registry does not answer, or a topic does not exist.
    """

    def frame(topic: str, columns: tuple[str, ...]) -> pd.DataFrame:
        rows = read_topic(settings, topic, columns, namespace)
        return rows[rows["account"] == account].reset_index(drop=True)

    own = frame("equity.v1", EQUITY), frame("fills.v1", FILLS), frame("decisions.v1", DECISIONS)
    return Frames(*own, _trades(settings, namespace))


def _trades(settings: Settings, namespace: str) -> pd.DataFrame:
    try:
        return read_topic(settings, "market.ticks.v1", TRADES, namespace)
    except UserError:
        return pd.DataFrame(columns=list(TRADES))


def read_topic(settings: Settings, topic: str, columns: tuple[str, ...], namespace: str = "") -> pd.DataFrame:
    """Return the named fields of every committed message of a topic, and `kafka_ms`, as a frame."""
    schema = schemas.load(schemas.topics()[topic].schema)
    reader = schema | {"fields": [field for field in schema["fields"] if field["name"] in columns]}
    name = schemas.in_run(topic, namespace)
    decoder = Decoder(reader, Registry(settings.registry.url).versions(schemas.topics()[topic].subject))
    parts = [_chunk(decoder, reader, chunk) for chunk in _chunks(messages(name, settings, read_committed=True))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*column_kinds(reader), "kafka_ms"])


def _chunk(decoder: Decoder, reader: Mapping[str, Any], chunk: list[Message]) -> pd.DataFrame:
    stamps = np.fromiter((message.timestamp()[1] for message in chunk), np.int64, len(chunk))
    return decoded(decoder, reader, [message.value() for message in chunk], stamps)


def decoded(decoder: Decoder, reader: Mapping[str, Any], values: Sequence[bytes | None],
            kafka_ms: Any = None) -> pd.DataFrame:
    """Return messages as a frame of the reader's fields, and `kafka_ms` where it is given; unreadable ones left out."""
    batch = decoder.decode(values)
    columns = plain_columns(batch.columns, scaled(reader))
    data = {name: _column(columns[name], name, reader) for name in column_kinds(reader)}
    stamps = {} if kafka_ms is None else {"kafka_ms": kafka_ms}
    return pd.DataFrame(data | stamps)[batch.verdict == 0]


def _column(values: Any, name: str, reader: Mapping[str, Any]) -> Any:
    """Return a decoded column as what a frame holds: strings, enum names, nullable numbers."""
    kind = next(field["type"] for field in reader["fields"] if field["name"] == name)
    if column_kinds(reader)[name] == STRING:
        return _strings(values)
    if isinstance(kind, dict):
        return np.array(kind["symbols"], dtype=object)[values]
    if isinstance(kind, list) and values.dtype == np.int64:
        return pd.arrays.IntegerArray(values.copy(), values == NULL_LONG)
    return values


def _strings(column: Text) -> Any:
    """Return a text column as objects; each different text is made once.

    >>> _strings(Text.table([b"a", b"", b"bc"]).take(np.array([2, 0, 2, 1]))).tolist()
    ['bc', 'a', 'bc', '']
    """
    width = int(column.length.max(initial=0))
    places = column.start[:, None] + np.arange(width)
    letters = np.zeros((len(column.start), width + 1), np.uint8)  # never empty, and a text ends where its zeros begin
    inside = np.arange(width) < column.length[:, None]
    letters[:, :width][inside] = column.pool[places[inside]]
    if len(letters) and (letters == letters[0]).all():  # as often: no sorting then
        return np.full(len(letters), column.at(0).decode(), dtype=object)
    _, first, of = np.unique(letters.view(f"S{width + 1}").ravel(), return_index=True, return_inverse=True)
    texts = np.array([column.at(row).decode() for row in first.tolist()], dtype=object)
    return texts[of]


def _chunks(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield the messages in lists of CHUNK."""
    rest = iter(messages)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
