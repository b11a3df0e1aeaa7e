"""The worker of one account: ticks of all shards in the total order, or sizing's proposals; then sizing and fills.

No Flink here: the operator calls `process`, and `idle` at every beat of its timer.
"""
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.chain.contracts import Contracts
from jobs.chain.ledger import Ledger
from jobs.chain.messages import ROWS, Emission, MicroBatch, RecordReader
from jobs.chain.meters import Seen
from jobs.chain.proposals import Proposals
from jobs.chain.shard import DEAD, TICKS
from jobs.chain.total_order import Edges, TotalOrder
from udfs.order import Frontier
from udfs.profiles import Profile
from udfs.stage import Columns, KeyedState, Stage, Store


@dataclass(frozen=True)
class AccountPlan:
    """What an account worker does: its stages, the topics it writes, and whether it orders shards or reads proposals.

    `refused`: where rows of shards do not tell which ticks were refused, their dead letters do.
    """

    profile: Profile
    contracts: Contracts
    stages: tuple[Stage, ...]
    shards: int
    writes: tuple[str, ...]
    ordered: bool = True
    refused: bool = False


class AccountWorker:
    """Runs a plan for one account; `edges` where it orders shards.

    State: the order, every stage's records, the hash chain.
    """

    def __init__(self, plan: AccountPlan, store: Store, edges: Edges | None) -> None:
        contracts = plan.contracts
        self._state = KeyedState(plan.stages)
        self._state.open(store)
        self._ledger = Ledger(plan.profile, contracts, plan.writes, self._state, store)
        self._order = TotalOrder(plan.shards, store, self._state, edges, plan.profile) if edges else None
        self._proposals = None if edges else Proposals(plan.profile, contracts, store, self._state)
        self._dead = RecordReader(contracts.writers(DEAD)) if plan.refused else None
        self._shards = range(plan.shards)
        self.seen = Seen()

    def process(self, batches: Sequence[MicroBatch]) -> list[Emission]:
        """Take micro-batches and give what they let go."""
        if self._proposals:
            return self._run(self._proposals.read(batches))
        assert self._order is not None
        for batch in batches:
            if batch.source == ROWS:
                for payload in batch.messages:
                    self._order.add(payload or b"")
            else:
                for letter in self._letters(batch):
                    self._order.skip(letter["partition"], letter["offset"])
        return self._run(self._order.release())

    def idle(self) -> list[Emission]:
        """One beat of the timer: give what no longer waits for a silent shard."""
        if self._order is None:
            self.seen = Seen()
            return []
        self._order.beat()
        return self._run(self._order.release())

    def quiet(self, frontier: Frontier) -> None:
        """Take a frontier of the run that is computed again."""
        assert self._order is not None
        self._order.quiet(frontier)

    def held_by(self, shards: Collection[int]) -> int:
        """Of these shards the one that is furthest behind: the next to be read where there is a choice."""
        assert self._order is not None
        return self._order.held_by(shards)

    def _letters(self, batch: MicroBatch) -> list[dict[str, Any]]:
        assert self._dead is not None
        letters = (self._dead.own(message, DEAD, batch.shard, offset)
                   for message, offset in zip(batch.messages, batch.offsets, strict=True))
        return [letter for letter in letters
                if letter and letter["topic"] == TICKS and letter["partition"] in self._shards]

    def _run(self, columns: Columns | None) -> list[Emission]:
        self.seen = Seen() if columns is None else Seen(len(columns["slot"]))
        if columns is None:
            return []
        columns = self._state.run(self._ledger.ids(columns) | {"slots": len(self._state.names)})
        self._state.save(columns["slot"])
        return self._ledger.messages(columns)
