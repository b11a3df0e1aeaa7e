"""The strategy on Quix Streams: Kafka in, fault-tolerant state in RocksDB with a changelog topic, Kafka out.

    python quix_state.py --bootstrap HOST:PORT --ticks TOPIC --fills TOPIC --count N --state DIR [--rows TOPIC]
        [--plain]
"""
from __future__ import annotations

import itertools

import numpy as np
import plain
from quixstreams import Application
from strategy import STATE, Clock, arguments, one, warm_up

EMPTY = np.zeros(1, STATE).tobytes()
CLOCK = Clock()
LAST: dict = {}
"""Each symbol's state as it was kept last."""


def packed(value, key, timestamp, headers, state):
    """Decode, step, keep the state as one value of bytes; the tick's row, and the fill where there is one."""
    CLOCK.start()
    held = np.frombuffer(bytearray(state.get_bytes("strategy", EMPTY)), STATE)
    ts, s, cvar, position, pnl, trade, quantity, mid = one(held, 0, np.frombuffer(value, np.uint8))
    LAST[key] = held.tobytes()
    state.set_bytes("strategy", LAST[key])
    fill = {"symbol": key, "quantity": quantity, "price": mid} if trade else None
    return {"symbol": key, "ts": ts, "s": s, "cvar": cvar, "pos": position, "pnl": pnl}, fill


def by_hand(value, key, timestamp, headers, state):
    """The same in plain Python, the state a dict, which the framework writes as JSON."""
    CLOCK.start()
    LAST[key] = held = state.get("strategy") or plain.state()
    at = plain.place(value)
    quantity = plain.step(held, *plain.quote(value, at))
    state.set("strategy", held)
    fill = None if quantity is None else {"symbol": key, "quantity": quantity, "price": held["mid"]}
    return plain.row(key, plain.when(value, at), held), fill


def main() -> None:
    a = arguments("quix-state")
    warm_up()
    left = itertools.count(a.count - 1, -1)

    def processed(topic, partition, offset):
        """Stop at the last tick: the framework's own limit counts what leaves a filter."""
        if next(left) == 0:
            app.stop()

    app = Application(a.bootstrap, consumer_group=f"{a.fills}.quix", auto_offset_reset="earliest", state_dir=a.state,
                      commit_interval=1.0, loglevel="ERROR", producer_extra_config={"compression.type": "lz4"},
                      consumer_extra_config={"fetch.queue.backoff.ms": 5}, on_message_processed=processed)
    ticks = app.topic(a.ticks, key_deserializer="str", value_deserializer="bytes")
    fills = app.topic(a.fills, key_serializer="str", value_serializer="json")
    frame = app.dataframe(ticks).apply(by_hand if a.plain else packed, stateful=True, metadata=True)
    if a.rows:
        frame.apply(lambda made: made[0]).to_topic(app.topic(a.rows, key_serializer="str", value_serializer="json"))
    frame.filter(lambda made: made[1] is not None).apply(lambda made: made[1]).to_topic(fills)
    app.run()
    CLOCK.stop()
    states = list(LAST.values()) if a.plain else np.frombuffer(b"".join(LAST.values()), STATE)
    CLOCK.report(states, ["quixstreams", "confluent-kafka", "numba"],
                 "state in RocksDB with a changelog topic, committed each second; output at least once")


if __name__ == "__main__":
    main()
