"""SQL on the cluster: functions over ticks give what NumPy gives, derived tables read what the chain writes."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors import topics
from connectors.market.columns import Ticks, concat
from connectors.market.simulator import Config, generate
from connectors.ticks import TickWriter
from sigmaflow import submit
from sigmaflow.settings import Settings
from tests.feeding import Feed
from tests.records import make_record

ROWS = 500


def read_json(settings: Settings, topic: str) -> list[dict[str, Any]]:
    """All messages of a topic of one partition."""
    client = Consumer({"bootstrap.servers": settings.kafka.bootstrap, "group.id": topic, "log_level": 0})
    _, end = client.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    client.assign([TopicPartition(topic, 0, 0)])
    rows: list[dict[str, Any]] = []
    while len(rows) < end:
        rows += [json.loads(message.value()) for message in client.consume(end - len(rows), timeout=10)]
    client.close()
    return rows


def expected(ticks: Ticks) -> dict[str, Any]:
    """The functions again, in NumPy."""
    mid, spread, depth = (ticks.bid + ticks.ask) / 2, ticks.ask - ticks.bid, ticks.bid_size + ticks.ask_size
    imbalance = (ticks.bid_size - ticks.ask_size) / depth
    micro_price = (ticks.bid * ticks.ask_size + ticks.ask * ticks.bid_size) / depth
    return {"mid": mid, "spread": spread, "imbalance": imbalance, "micro_price": micro_price,
            "book_pressure": np.tanh(imbalance)}


def test_functions_over_ticks_and_a_count_over_equity(stack: Settings) -> None:
    topics.setup(stack, quiet=True)
    namespace = f"sql{time.time_ns():x}"
    feed = Feed(stack, namespace)
    equity, _, _ = make_record(40)
    feed.write({"equity.v1": equity})
    feed.write({"equity.v1": equity}, commit=False)
    admin = AdminClient({"bootstrap.servers": stack.kafka.bootstrap})
    names = [f"{namespace}.{name}" for name in ("market.ticks.v1", "functions", "equity")]
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result()
    ticks = concat(generate(Config(count=ROWS, symbols=2)))
    writer = TickWriter(stack, names[0])
    writer.write(ticks)
    writer.flush()

    job = submit.submit("tests/pipeline/sql_job.py", [stack.kafka.bootstrap, stack.registry.url, namespace],
                        settings=stack)
    assert submit.wait_ended(job, 180, stack) == "FINISHED", submit.cause(job, stack)

    rows = read_json(stack, names[1])
    assert [row["seq"] for row in rows] == ticks.seq.tolist()
    assert [row["last_side"] for row in rows] == [("UNKNOWN", "BUY", "SELL")[side] for side in ticks.last_side]
    price = np.array([row["last_price"] for row in rows], float)
    np.testing.assert_array_equal(price, ticks.last_price)
    for name, values in expected(ticks).items():
        np.testing.assert_allclose([row[name] for row in rows], values, rtol=1e-12, atol=1e-12, err_msg=name)
    assert read_json(stack, names[2]) == [{
        "marks": 40, "last_equity": max(row["equity"] for row in equity), "state": "ACTIVE", "account": "paper"}]
