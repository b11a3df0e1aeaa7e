"""A tuned Kafka consumer loop in one Python process: librdkafka, one numba call a batch. It keeps no checkpoint.

    python kafka_loop.py --bootstrap HOST:PORT --ticks TOPIC --fills TOPIC --count N [--rows TOPIC] [--plain]
"""
from __future__ import annotations

from collections import defaultdict

import numba
import numpy as np
import orjson
import plain
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from strategy import BLANK, ROW, STATE, Clock, arguments, note, quote, step, symbol

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
def run(states, table, buf, offsets, times, rows, traded, quantities, mids):
    """All messages of a batch: time and row of each, and which traded. Returns how many did."""
    out = np.empty(4)
    found = 0
    for n in range(len(offsets) - 1):
        start, end = symbol(buf, offsets[n])
        slot = slot_of(buf, start, end, table)
        times[n] = quote(buf, end, out)
        trade, quantity = step(states[slot], out[0], out[1], out[2], out[3])
        note(states[slot], rows[n])
        if trade:
            traded[found], quantities[found], mids[found] = n, quantity, states[slot].mid
            found += 1
    return found


class Kernel:
    """All messages of a batch in one call of numba."""

    def __init__(self) -> None:
        self._states, self._table = np.zeros(ROOM, STATE), np.zeros((ROOM + 1, 2), np.int64)
        self._run(BLANK, np.zeros(1, np.int64))  # compiles it: no message

    def _run(self, pool, offsets):
        count = len(offsets) - 1
        times, traded = np.empty((2, count), np.int64)
        rows, quantities, mids = np.empty((count, len(ROW))), *np.empty((2, count))
        found = run(self._states, self._table, np.frombuffer(pool, np.uint8), offsets, times, rows, traded, quantities,
                    mids)
        return times, rows, zip(traded[:found].tolist(), quantities[:found].tolist(), mids[:found].tolist(),
                                strict=True)

    def take(self, messages, wanted):
        """Rows of the messages, if `wanted`, then place, quantity and price of each fill that they lead to."""
        held = [m.value() for m in messages]
        offsets = np.zeros(len(held) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, held), np.int64, len(held)), out=offsets[1:])
        times, rows, fills = self._run(b"".join(held), offsets)
        return zip(times.tolist(), rows.tolist(), strict=True) if wanted else (), fills

    def states(self):
        """Every symbol's state."""
        return self._states[:self._table[ROOM, 1]]


class Names(dict):
    """Symbols by key, each decoded once."""

    def __missing__(self, key):
        self[key] = key.decode()
        return self[key]


class Plain:
    """A message at a time in plain Python."""

    def __init__(self) -> None:
        self._states = defaultdict(plain.state)

    def take(self, messages, wanted):
        """Rows of the messages, if `wanted`, then place, quantity and price of each fill that they lead to."""
        states, step, place, quote, when = self._states, plain.step, plain.place, plain.quote, plain.when
        rows, fills = [], []
        for n, m in enumerate(messages):
            state, value = states[m.key()], m.value()
            at = place(value)
            quantity = step(state, *quote(value, at))
            if quantity is not None:
                fills.append((n, quantity, state["mid"]))
            if wanted:
                rows.append((when(value, at), (state["s"], state["cvar"], state["position"], state["pnl"])))
        return rows, fills

    def states(self):
        """Every symbol's state."""
        return list(self._states.values())


def main() -> None:
    a = arguments("kafka-loop")
    strategy = Plain() if a.plain else Kernel()
    consumer = Consumer({"bootstrap.servers": a.bootstrap, "group.id": "kafka-loop", "enable.auto.commit": False,
                         "fetch.queue.backoff.ms": 5, "queued.min.messages": 200_000, "check.crcs": False})
    producer = Producer({"bootstrap.servers": a.bootstrap, "linger.ms": 5, "compression.type": "lz4", "acks": "all",
                         "queue.buffering.max.messages": 2_000_000})
    partitions = consumer.list_topics(a.ticks).topics[a.ticks].partitions
    consumer.assign([TopicPartition(a.ticks, p, OFFSET_BEGINNING) for p in partitions])
    clock, done, names = Clock(), 0, Names()
    while done < a.count:
        messages = consumer.consume(10_000, 0.05)
        if messages:
            clock.start()
            rows, fills = strategy.take(messages, a.rows)
            for message, (ts, (s, cvar, position, pnl)) in zip(messages, rows, strict=False):
                key = message.key()
                producer.produce(a.rows, orjson.dumps({"symbol": names[key], "ts": ts, "s": s, "cvar": cvar,
                                                       "pos": position, "pnl": pnl}), key)
            for n, quantity, price in fills:
                key = messages[n].key()
                producer.produce(a.fills, orjson.dumps({"symbol": names[key], "quantity": quantity, "price": price}),
                                 key)
            producer.poll(0)
            done += len(messages)
    producer.flush()
    clock.stop()
    consumer.close()
    clock.report(strategy.states(), ["confluent-kafka", "numba"], "no checkpoint, no recovery")


if __name__ == "__main__":
    main()
