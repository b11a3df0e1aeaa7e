"""Milliseconds from a tick to what it leads to, at a steady rate, checkpoints on.

A tick's time is its ts_recv, the moment at which it was due to be sent: what the sender is late by, 3 ms at the most on
a free machine, counts against the chain. `opportunity` and `decision` are there when the broker has appended the
record, by its timestamp. `fill` and `*_committed` are the clock of a reader that has the record in hand. Fills are few,
and decisions go the same way in the same transactions, one a tick: both are reported.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from connectors.consume import messages
from connectors.market.simulator import Config
from jobs.chain.messages import DECISIONS, FILLS
from jobs.chain.options import LIVE_MS
from jobs.chain.shard import TICKS
from sigmaflow.bench import cpu, throughput
from sigmaflow.bench.figures import percentiles
from sigmaflow.bench.load import Stream, appended, decoded, joined, place, reading, send, stamp_by_broker
from sigmaflow.runs import Run
from sigmaflow.settings import Settings

OPPORTUNITIES = "opportunities.v1"
APPENDED = {"opportunity": OPPORTUNITIES, "decision": DECISIONS}
READ = {"fill": Stream(FILLS, False), "fill_committed": Stream(FILLS, True),
        "decision_committed": Stream(DECISIONS, True)}
MS = 1_000_000


def measure(settings: Settings, jobs: str, rate: float, seconds: float, warm_s: float, profile: str = "default",
            read: Mapping[str, Stream] = READ) -> dict[str, Any]:
    """Latencies by kind, of ticks that were due after `warm_s`.

    Of what is `read` they are those of a reader, which takes processor time from the chain.
    """
    config = Config(seed=11, rate=rate, count=int(rate * (warm_s + seconds)))
    with Run("bench", profile, jobs, taps=OPPORTUNITIES if jobs == "one" else "", settings=settings, servers=False,
             batch_ms=LIVE_MS) as run:
        stamp_by_broker(settings, list(APPENDED.values()), run.namespace)
        with reading(list(read.values()), run.namespace) as reader:
            with cpu.Sampler(cpu.stack_processes(settings)) as sampler:
                sender = send(config, run.topic(TICKS))
                sender.wait()
                run.settle()
            arrived = dict(zip(read, reader.read(), strict=True))
        arrived |= {kind: appended(settings, name, run.namespace) for kind, name in APPENDED.items()}
        at, due = due_times(settings, run.topic(TICKS))
    first_ns = int(due.min()) + int(warm_s * 1e9)
    found: dict[str, Any] = {"ticks": len(due), "sender_behind_ms": round(sender.behind_s * 1e3, 1), "profile": profile}
    for kind, rows in arrived.items():
        found[kind] = percentiles(latencies(rows.tick, rows.at_ns, at, due, first_ns))
    used = sampler.between(first_ns / 1e9, int(due.max()) / 1e9)
    return found | throughput.cost(used, int(np.count_nonzero(due >= first_ns)))


def due_times(settings: Settings, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place of every tick of a topic, in rising order, and when each was due, ns."""
    found = [(_places(piece), columns["ts_recv"])
             for columns, piece in decoded(settings, TICKS, messages(name, settings))]
    at, due = joined(places for places, _ in found), joined(due for _, due in found)
    order = np.argsort(at)
    return at[order], due[order]


def _places(piece: Sequence[Message]) -> NDArray[np.int64]:
    return place(np.array([message.partition() for message in piece], np.int64),
                 np.array([message.offset() for message in piece], np.int64))


def latencies(ticks: NDArray[np.int64], moment_ns: NDArray[np.int64], at: NDArray[np.int64], due_ns: NDArray[np.int64],
              first_ns: int) -> NDArray[np.float64]:
    """Milliseconds from when each message's tick was due; ticks due before `first_ns` are left out.

    >>> a = np.array
    >>> latencies(a([2, 1, 2]), a([9_000_000, 5_000_000, 9_500_000]), a([1, 2]), a([1_000_000, 4_000_000]), 2_000_000)
    array([5. , 5.5])
    """
    due = due_ns[np.searchsorted(at, ticks)]
    return (moment_ns - due)[due >= first_ns] / MS

