"""A run's log in lists, made by the whole chain in one process: for tests of what reads it back."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.chain.contracts import Contracts
from jobs.chain.inprocess import Chain, Log, contracts
from jobs.chain.plans import TAPS
from jobs.chain.shard import TICKS
from sigmaflow.history import History, Kept
from tests import reference_strategy
from tests.unit.jobs.test_chain import log
from udfs import profiles
from udfs.profiles import UNLIMITED, Profile

SHARDS, MS = 3, 1_000_000
SPOILT = b"\0\0\0\0\1spoilt"
FEW = ("book_pressure", "momentum_3_6", "mean_reversion_50", "order_flow", "micro_price_gap")
"""Alphas of the made-up runs: of quotes at random twelve know nothing, and their blend hardly trades."""


class ListHistory(History):
    """History from the topics that `Chain.run` gives. `headers` are those of some ticks, by partition and offset."""

    def __init__(self, topics: dict[str, Log], known: Contracts | None = None) -> None:
        super().__init__(known or contracts())
        self.topics = topics
        self.headers: dict[tuple[int, int], list[tuple[str, bytes]]] = {}

    def name(self, topic: str) -> str:
        return topic

    def stream(self, topic: str) -> Iterator[Kept]:
        for partition in range(len(self.topics.get(topic, []))):
            for offset in range(self.bounds(topic, partition)[1]):
                yield self._kept(topic, partition, offset)

    def at(self, topic: str, partition: int, offset: int) -> Kept | None:
        return self._kept(topic, partition, offset) if offset < self.bounds(topic, partition)[1] else None

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        parts = self.topics.get(topic, [])
        return (0, len(parts[partition])) if partition < len(parts) else (0, 0)

    def _kept(self, topic: str, partition: int, offset: int) -> Kept:
        made = Kept(self.topics[topic][partition][offset], partition, offset, 1_700_000_000_000 + offset)
        return made._replace(headers=self.headers.get((partition, offset), [])) if topic == TICKS else made


def eager(latency_ns: int = 3 * MS) -> Profile:
    """The default profile, but it trades on anything, risks more, marks every 5 ms, and a small loss restrains it."""
    sizing = profiles.DEFAULT.sizing.model_copy(update={"cost_ratio": 0.0, "entry": 0.02, "cvar_budget": 2.5e-4,
                                                        "cvar_horizon_s": 0.0, "cvar_band": UNLIMITED, "select": 0})
    fills = profiles.DEFAULT.fills.model_copy(update={"latency_ns": latency_ns, "mark_every_ns": 5 * MS,
                                                      "reduce_drawdown": 1.5e-5, "halt_drawdown": 5e-3})
    some = profiles.DEFAULT.alphas.model_copy(update={"names": FEW})
    return profiles.DEFAULT.model_copy(update={"alphas": some, "sizing": sizing, "fills": fills})


def history(rows: int = 8_000, profile: Profile | None = None, ticks: dict[str, Any] | None = None) -> ListHistory:
    """A run in which every 50th tick of a partition is followed by a repeat, and every 70th by bytes that are no tick.
    """
    quotes = reference_strategy.ticks(rows) if ticks is None else ticks
    messages = [[m for n, message in enumerate(part) for m in (message, *_faults(n, message))]
                for part in log(quotes, SHARDS)]
    chain = Chain(profile or eager(), SHARDS, 300, seed=1, taps=TAPS)
    return ListHistory(chain.run(["pipeline"], messages))


def _faults(n: int, message: bytes) -> list[bytes]:
    return [message] * (n % 50 == 49) + [SPOILT] * (n % 70 == 69)
