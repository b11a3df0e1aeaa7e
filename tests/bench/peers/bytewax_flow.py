"""The strategy on Bytewax: Kafka in, keyed batches, Kafka out, recovery on (state to SQLite each second).

    python bytewax_flow.py --bootstrap HOST:PORT --ticks TOPIC --fills TOPIC --rows TOPIC --count N --state DIR
"""
from __future__ import annotations

from datetime import timedelta

import bytewax.operators as op
import numpy as np
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from strategy import ROW, STATE, Clock, arguments, many, warm_up

CLOCK = Clock()
ENDED: dict[str, np.ndarray] = {}
NAMES: dict[bytes, str] = {}


class Strategy(StatefulBatchLogic):
    """One symbol's state; a numba call for each batch of its messages."""

    def __init__(self, snapshot):
        self.state = np.zeros(1, STATE) if snapshot is None else np.frombuffer(snapshot, STATE).copy()

    def on_batch(self, values):
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
        times, rows, traded = np.empty(len(values), np.int64), np.empty((len(values), len(ROW))), np.empty(
            (len(values), 2))
        many(self.state, 0, np.frombuffer(b"".join(values), np.uint8), offsets[:-1], times, rows, traded)
        return list(zip(times.tolist(), rows.tolist(), traded.tolist(), strict=True)), StatefulBatchLogic.RETAIN

    def snapshot(self):
        return self.state.tobytes()

    def on_eof(self):
        ENDED[str(id(self))] = self.state
        return [], StatefulBatchLogic.RETAIN


def keyed(messages):
    """Key and value of each message."""
    CLOCK.start()
    return [(NAMES.get(m.key) or NAMES.setdefault(m.key, m.key.decode()), m.value) for m in messages]


def rows(made):
    """The row of each tick as a message."""
    return [KafkaSinkMessage(key.encode(), orjson.dumps({"symbol": key, "ts": ts, "s": s, "cvar": cvar, "pos": position,
                                                         "pnl": pnl}))
            for key, (ts, (s, cvar, position, pnl), _) in made]


def fills(made):
    """Each fill as a message."""
    return [KafkaSinkMessage(key.encode(), orjson.dumps({"symbol": key, "quantity": quantity, "price": price}))
            for key, (_, _, (quantity, price)) in made if quantity == quantity]


def main() -> None:
    a = arguments("bytewax")
    warm_up()
    init_db_dir(a.state, 1)
    flow = Dataflow("reference")
    fast = {"fetch.queue.backoff.ms": "5", "queued.min.messages": "200000"}
    ticks = op.input("ticks", flow, KafkaSource([a.bootstrap], [a.ticks], tail=False, batch_size=4_000,
                                                add_config=fast))
    made = op.stateful_batch("strategy", op.flat_map_batch("key", ticks, keyed), Strategy)
    for topic, messages in ((a.rows, rows), (a.fills, fills)):
        op.output(messages.__name__, op.flat_map_batch(f"messages of {messages.__name__}", made, messages),
                  KafkaSink([a.bootstrap], topic, {"compression.type": "lz4", "linger.ms": "0"}))
    cli_main(flow, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(a.state))
    CLOCK.stop()
    CLOCK.report(np.concatenate(list(ENDED.values())), ["bytewax", "confluent-kafka", "numba"],
                 "recovery on, snapshots each second; output at least once")


if __name__ == "__main__":
    main()
