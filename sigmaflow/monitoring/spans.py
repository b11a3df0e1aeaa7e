"""Traces of sampled decisions, from the lineage that every message carries; and a canonical line for each decision.

A trace is the path of one tick: a root span from its arrival in Kafka to the last message it caused, and under it one
span for each message, from the message before to its own Kafka timestamp. Ids are hashes of the lineage id, so a replay
gives the same trace. Kafka timestamps are milliseconds: shorter spans are empty.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.chain.messages import DECISIONS, FILLS, INTENTS
from jobs.chain.plans import KEYED_TOPICS

Row = dict[str, Any]
Span = dict[str, Any]

STAGES = {topic: stage for stage, topic in KEYED_TOPICS.items()} | {
    INTENTS: "sizing", DECISIONS: "decision", FILLS: "fill"}
"""Topics of a path in their order, and the name of each one's span."""
SHOWN = ("account", "account_seq", "intent_id", "order_id", "fill_id", "failed_gate", "score", "mu", "sigma", "regime",
         "binding_constraint", "top_alpha", "target_fraction", "order_quantity", "quantity", "price", "fee")
"""Fields that become attributes, where a message has them."""
LINE = ("account", "account_seq", "venue", "symbol", "ts_order", "decision_id", "intent_id", "order_id", "failed_gate",
        "binding_constraint", "top_alpha", "score", "mu", "sigma", "cvar_975", "target", "order_quantity", "mid",
        "position", "equity", "strategy", "config_digest", "code_digest", "model_digest")
"""Fields of a decision's canonical line."""
QUIET_MS = 2_000
"""A path without a message for so long has ended, unless an order waits for its fill."""
PATIENCE_MS = 30_000
INTERNAL = 1
"""SPAN_KIND_INTERNAL of OTLP."""


@dataclass(frozen=True)
class Record:
    """A message of the chain. `time_ms` is its Kafka timestamp."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    row: Row


@dataclass
class Path:
    """What one tick has caused so far."""

    tick_id: int
    arrived_ms: int
    records: list[Record] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether an order was sent and its fill has not come."""
        sent = any(r.row.get("order_id") is not None for r in self.records if r.topic == DECISIONS)
        return sent and not any(r.topic == FILLS for r in self.records)


def sampled(tick_ids: NDArray[np.int64], ratio: float) -> NDArray[np.bool_]:
    """Which lineage ids are traced: the same ones always and everywhere.

    >>> sampled(np.arange(100_000), 0.01).mean().round(3).item()
    0.01
    >>> sampled(np.arange(5), 1.0).all().item(), sampled(np.arange(5), 0.0).any().item()
    (True, False)
    """
    mixed = tick_ids.astype(np.int64).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53 < ratio


class Paths:
    """Paths under way. `arrived` gives a tick's Kafka timestamp by partition and offset, None where not known."""

    def __init__(self, arrived: Callable[[int, int], int | None]) -> None:
        self._arrived = arrived
        self._open: dict[int, Path] = {}
        self._orders: dict[int, int] = {}

    def add(self, record: Record) -> None:
        """Take a message: a fill belongs to the path of its order, all others to that of their tick."""
        row = record.row
        tick_id = self._orders.get(row["order_id"]) if record.topic == FILLS else row["tick_id"]
        if tick_id is None:
            return
        if tick_id not in self._open:
            if record.topic == FILLS:
                return
            arrived = self._arrived(row["partition"], row["offset"])
            self._open[tick_id] = Path(tick_id, record.time_ms if arrived is None else arrived)
        self._open[tick_id].records.append(record)
        if record.topic == DECISIONS and row["order_id"] is not None:
            self._orders[row["order_id"]] = tick_id

    def ended(self, now_ms: int) -> list[Path]:
        """Paths that nothing more is expected of; they are forgotten."""
        done = [path for path in self._open.values()
                if now_ms - max(r.time_ms for r in path.records) > (PATIENCE_MS if path.waits else QUIET_MS)]
        gone = {path.tick_id for path in done}
        self._open = {tick_id: path for tick_id, path in self._open.items() if tick_id not in gone}
        self._orders = {order: tick_id for order, tick_id in self._orders.items() if tick_id not in gone}
        return done


def spans(path: Path) -> list[Span]:
    """The path as spans of OTLP's JSON form, the root first."""
    order = list(STAGES)
    records = sorted(path.records, key=lambda r: (order.index(r.topic), r.time_ms, r.offset))
    trace, root = _digest(16, path.tick_id), _digest(8, path.tick_id, "tick")
    made, at = [], path.arrived_ms
    for record in records:
        end = max(at, record.time_ms)
        name = _digest(8, path.tick_id, record.topic, record.offset)
        made.append(_span(trace, name, root, STAGES[record.topic], at, end, {
            "messaging.system": "kafka", "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition), "messaging.kafka.offset": record.offset,
            **{f"sigmaflow.{key}": record.row[key] for key in SHOWN if record.row.get(key) not in (None, "")}}))
        at = end
    first = records[0].row
    tick = {"sigmaflow.tick_id": path.tick_id, "sigmaflow.venue": first["venue"], "sigmaflow.symbol": first["symbol"],
            "sigmaflow.tick.partition": first["partition"], "sigmaflow.tick.offset": first["offset"]}
    return [_span(trace, root, "", f"tick {first['venue']}:{first['symbol']}", path.arrived_ms, at, tick), *made]


def _digest(size: int, *parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=size).hexdigest()


def _span(trace: str, span: str, parent: str, name: str, start_ms: int, end_ms: int, attributes: Row) -> Span:
    return {"traceId": trace, "spanId": span, "parentSpanId": parent, "name": name, "kind": INTERNAL,
            "startTimeUnixNano": str(start_ms * 1_000_000), "endTimeUnixNano": str(end_ms * 1_000_000),
            "attributes": [attribute(key, value) for key, value in attributes.items()]}


def attribute(key: str, value: object) -> Row:
    """A key and its value in OTLP's JSON form: 64-bit integers are strings there.

    >>> attribute("n", 2**60)
    {'key': 'n', 'value': {'intValue': '1152921504606846976'}}
    """
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue"}
    kind = kinds.get(type(value), "stringValue")
    return {"key": key, "value": {kind: value if kind in ("boolValue", "doubleValue") else str(value)}}


def request(held: list[Span]) -> Row:
    """The body of a request to /v1/traces."""
    return {"resourceSpans": [{"resource": {"attributes": [attribute("service.name", "sigmaflow")]},
                               "scopeSpans": [{"scope": {"name": "sigmaflow.monitoring"}, "spans": held}]}]}


def line(record: Record) -> str:
    """A decision as one JSON object: what was decided, why, and the place and lineage id of its tick."""
    row = record.row
    gates = {gate["gate"]: [gate["value"], gate["limit"]] for gate in row["gates"] if not gate["passed"]}
    return json.dumps({"event": "decision", "tick_id": row["tick_id"],
                       "tick": f"market.ticks.v1:{row['partition']}:{row['offset']}", "time_ms": record.time_ms,
                       "verdict": row["failed_gate"] or "sent", **{name: row[name] for name in LINE},
                       "refused_by": gates})
