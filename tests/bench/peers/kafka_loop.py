"""A tuned Kafka consumer loop in one Python process: librdkafka, one numba call a batch. It keeps no checkpoint.

    python kafka_loop.py --bootstrap HOST:PORT --ticks TOPIC --fills TOPIC --count N [--plain]
"""
from __future__ import annotations

from collections import defaultdict

import numba
import numpy as np
import orjson
import plain
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from strategy import BLANK, STATE, Clock, arguments, quote, step, symbol

ROOM = 4_096
"""Places in the table of symbols, a power of two."""


@numba.njit(cache=True)
def slot_of(buf, start, end, table):
    """The symbol's number by its hash (FNV-1a); a new one where it was never seen. `table[ROOM, 1]` counts them."""
    h = np.uint64(14695981039346656037)
    for k in range(start, end):
        h = (h ^ np.uint64(buf[k])) * np.uint64(1099511628211)
    at = np.int64(h & np.uint64(ROOM - 1))
    key = np.int64(h >> np.uint64(1)) + 1
    while table[at, 0] != 0 and table[at, 0] != key:
        at = (at + 1) & (ROOM - 1)
    if table[at, 0] == 0:
        table[at, 0] = key
        table[at, 1] = table[ROOM, 1]
        table[ROOM, 1] += 1
    return table[at, 1]


@numba.njit(cache=True)
def run(states, table, buf, offsets, rows, quantities, mids):
    """All messages of a batch; the rows that traded. Returns how many did."""
    out = np.empty(4)
    found = 0
    for n in range(len(offsets) - 1):
        start, end = symbol(buf, offsets[n])
        slot = slot_of(buf, start, end, table)
        quote(buf, end, out)
        trade, quantity = step(states[slot], out[0], out[1], out[2], out[3])
        if trade:
            rows[found], quantities[found], mids[found] = n, quantity, states[slot].mid
            found += 1
    return found


class Kernel:
    """All messages of a batch in one call of numba."""

    def __init__(self) -> None:
        self._states, self._table = np.zeros(ROOM, STATE), np.zeros((ROOM + 1, 2), np.int64)
        run(self._states, self._table, np.frombuffer(BLANK, np.uint8), np.zeros(1, np.int64),
            np.zeros(1, np.int64), np.zeros(1), np.zeros(1))  # compiles it: no message

    def fills(self, messages):
        """Key, quantity and price of each fill that the messages lead to."""
        held = [m.value() for m in messages]
        offsets = np.zeros(len(held) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, held), np.int64, len(held)), out=offsets[1:])
        rows = np.empty(len(held), np.int64)
        quantities, mids = np.empty(len(held)), np.empty(len(held))
        found = run(self._states, self._table, np.frombuffer(b"".join(held), np.uint8), offsets, rows, quantities, mids)
        for n in range(found):
            yield messages[rows[n]].key(), quantities[n].item(), mids[n].item()

    def states(self):
        """Every symbol's state."""
        return self._states[:self._table[ROOM, 1]]


class Plain:
    """A message at a time in plain Python."""

    def __init__(self) -> None:
        self._states = defaultdict(plain.state)

    def fills(self, messages):
        """Key, quantity and price of each fill that the messages lead to."""
        states, step, quote = self._states, plain.step, plain.quote
        for m in messages:
            state = states[m.key()]
            quantity = step(state, *quote(m.value()))
            if quantity is not None:
                yield m.key(), quantity, state["mid"]

    def states(self):
        """Every symbol's state."""
        return list(self._states.values())


def main() -> None:
    a = arguments("kafka-loop")
    strategy = Plain() if a.plain else Kernel()
    consumer = Consumer({"bootstrap.servers": a.bootstrap, "group.id": "kafka-loop", "enable.auto.commit": False,
                         "fetch.queue.backoff.ms": 5, "queued.min.messages": 200_000, "check.crcs": False})
    producer = Producer({"bootstrap.servers": a.bootstrap, "linger.ms": 5, "compression.type": "lz4", "acks": "all"})
    partitions = consumer.list_topics(a.ticks).topics[a.ticks].partitions
    consumer.assign([TopicPartition(a.ticks, p, OFFSET_BEGINNING) for p in partitions])
    clock, done = Clock(), 0
    while done < a.count:
        messages = consumer.consume(10_000, 0.05)
        if messages:
            clock.start()
            for key, quantity, price in strategy.fills(messages):
                fill = orjson.dumps({"symbol": key.decode(), "quantity": quantity, "price": price})
                producer.produce(a.fills, fill, key)
            producer.poll(0)
            done += len(messages)
    producer.flush()
    clock.stop()
    consumer.close()
    clock.report(strategy.states(), ["confluent-kafka", "numba"], "no checkpoint, no recovery")


if __name__ == "__main__":
    main()
