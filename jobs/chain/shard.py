"""The worker of one shard: decode, admit, run stages keyed by venue and symbol, encode what topics want.

A shard is one partition of the topics keyed by venue:symbol. No Flink here: the operator calls `process`.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.chain import commands
from jobs.chain.commands import Rulings
from jobs.chain.contracts import Contracts
from jobs.chain.known_schemas import KnownSchemas
from jobs.chain.messages import NEXT, Emission, MicroBatch, RecordWriter, emit
from jobs.chain.meters import Seen
from jobs.chain.slow import SlowValues
from jobs.chain.total_order import Edges
from schemas.codec import HEADER, Decoder, Encoder
from schemas.packed import Packed
from udfs import models, order
from udfs.models import Models
from udfs.profiles import Profile
from udfs.stage import Columns, KeyedState, Stage, Store
from udfs.stages import admission
from udfs.symbols import START, Slots, digests

TICKS, DEAD = "market.ticks.v1", "market.ticks.v1.dlq"
MODEL = "model_digest"
"""Field of messages that tells the model; rows carry its number, column `model`."""


@dataclass(frozen=True)
class ShardPlan:
    """What a shard worker does: its input topic, stages, topics to write, whether rows go on to the account."""

    profile: Profile
    contracts: Contracts
    source: str
    stages: tuple[Stage, ...]
    shards: int
    topics: tuple[str, ...] = ()
    dead_letters: bool = False
    forward: bool = False
    models: Models | None = None
    """Where the ensemble is among the stages: what it may use."""
    slow: tuple[str, ...] = ()
    """Where the alphas are among the stages: names of the slow values that they read."""

    @property
    def learns(self) -> bool:
        """Whether its workers need edges: they read ticks, use models, or read slow values."""
        return self.source == TICKS or self.models is not None or bool(self.slow)


class ShardWorker:
    """Runs a plan for one shard. State: admission's and every stage's record of each symbol."""

    def __init__(self, plan: ShardPlan, shard: int, store: Store, edges: Edges | None = None) -> None:
        """`edges` where the plan learns."""
        self._plan, self._shard = plan, shard
        self._known = KnownSchemas(edges, shard) if edges and plan.source == TICKS else None
        self._models = None
        if edges and plan.models:
            self._models = Rulings(edges, shard, commands.MODEL, lambda: edges.end(shard))
        self._slow = SlowValues(edges, shard, plan.slow) if edges and plan.slow else None
        self._first_model = plan.models.first if plan.models else ""
        self._state = KeyedState((admission.stage(plan.profile), *plan.stages), store)
        self._slots = Slots(self._state)
        self._admission = admission.Admission(plan.profile)
        contracts, source = plan.contracts, plan.source
        self._decoder = Decoder(contracts.schema(source), contracts.writers(source), contracts.later(source))
        alphas = {"signals.alpha_id": plan.profile.alphas.names}
        self._encoders = {topic: Encoder(plan.contracts.schema(topic), plan.contracts.id(topic), alphas)
                          for topic in plan.topics}
        self._dead = RecordWriter(DEAD, plan.contracts.id(DEAD)) if plan.dead_letters else None
        self.seen = Seen()

    def process(self, batch: MicroBatch) -> list[Emission]:
        """Messages and rows that one micro-batch leads to."""
        if self._models and self._first_model and self._models.begin("model", self._first_model, not self._state.names):
            self._first_model = ""
        messages = Packed.of(batch.messages)
        decoded = self._decoder.decode(messages)
        columns, verdict = decoded.columns, decoded.verdict
        if self._known:
            self._known.judge(messages, np.asarray(batch.offsets, np.int64), verdict)
        if MODEL in columns:
            columns["model"] = models.numbers(columns[MODEL])
        if self._plan.source == TICKS:
            columns = self._admit(columns | self._origin(batch, messages), verdict)
        else:
            columns = self._repeat(columns, verdict)
        self.seen = Seen(len(columns["slot"]), int(np.count_nonzero(columns["flags"] & admission.GAP)),
                         columns["ts_recv" if "ts_recv" in columns else "ts_event"])
        out = self._dead_letters(batch, verdict) if self._dead and verdict.any() else []
        if len(columns["slot"]):
            columns = self._state.run(self._slowed(self._modelled(columns)))
            out += self._messages(columns)
        if self._plan.forward:
            out.append(self._rows(columns, batch))
        return out

    def idle(self) -> list[Emission]:
        """Nothing waits in a shard."""
        return []

    def _admit(self, columns: Columns, verdict: np.ndarray) -> Columns:
        self._admission.rules(columns, verdict)
        rows = np.flatnonzero(verdict == admission.ACCEPTED)
        columns = self._locate(admission.take(columns, rows) if len(rows) < len(verdict) else columns)
        columns, second = self._admission.sequence(self._state.states[0], columns)
        if second.any():
            verdict[rows] = second
            columns = admission.take(columns, np.flatnonzero(second == admission.ACCEPTED))
        return columns

    def _modelled(self, columns: Columns) -> Columns:
        """With the number of the model that holds for each tick, where the ensemble is among the stages."""
        if self._models is None:
            return columns
        self._models.learn()
        return columns | {"model": self._models.models(columns["offset"], models.number, models.FALLBACK)}

    def _slowed(self, columns: Columns) -> Columns:
        """With the slow values that each tick reads, where an alpha of the profile reads any."""
        if self._slow is None:
            return columns
        self._slow.learn()
        return columns | self._slow.columns(columns, self._state.names)

    def _origin(self, batch: MicroBatch, messages: Packed) -> Columns:
        """Where each tick is in the log, and its lineage id: a hash of its bytes, so a changed tick has another."""
        count = len(messages)
        tick_id = np.full(count, START, np.uint64)
        digests(messages, HEADER, np.arange(count), tick_id)
        stamps = batch.stamps if len(batch.stamps) == count else np.full(count, admission.UNSTAMPED)
        return {"partition": np.full(count, self._shard), "offset": np.asarray(batch.offsets, np.int64),
                "stamp": np.asarray(stamps, np.int64),
                "tick_id": tick_id.view(np.int64)}

    def _repeat(self, columns: Columns, verdict: np.ndarray) -> Columns:
        columns = self._locate(admission.take(columns, np.flatnonzero(verdict == 0)) if verdict.any() else columns)
        keep = admission.fresh(self._state.states[0], columns)
        return columns if keep.all() else admission.take(columns, np.flatnonzero(keep))

    def _locate(self, columns: Columns) -> Columns:
        return columns | {"slot": self._slots.find(columns["venue"], columns["symbol"])}

    def _messages(self, columns: Columns) -> list[Emission]:
        self._state.save(np.unique(columns["slot"]).tolist())
        if not self._encoders:
            return []
        keys = Packed.table(self._state.names).take(columns["slot"])
        if "model" in columns:
            columns = columns | {MODEL: models.texts(columns["model"])}
        return [emit(topic, keys, encoder.encode(columns, len(keys))) for topic, encoder in self._encoders.items()]

    def _rows(self, columns: Columns, batch: MicroBatch) -> Emission:
        """Rows for the account, and the offset of the last tick that this shard has seen, accepted or not."""
        touched, local = np.unique(columns["slot"], return_inverse=True)
        names = [self._state.names[slot] for slot in touched.tolist()]
        ticks = self._plan.source == TICKS
        seen = int(batch.offsets[-1]) if ticks else int(columns["offset"][-1]) if len(local) else -1
        return Emission(NEXT, shard=self._shard, payload=order.pack(names, order.rows(columns | {"slot": local}), seen))

    def _dead_letters(self, batch: MicroBatch, verdict: np.ndarray) -> list[Emission]:
        assert self._dead is not None
        bad = np.flatnonzero(verdict).tolist()
        values = [self._dead.write(self._letter(batch, row, int(verdict[row]))) for row in bad]
        key = Packed.table([f"{batch.source}:{batch.shard}".encode()])
        return [emit(DEAD, key.take(np.zeros(len(bad), np.int64)), Packed.of(values))]

    def _letter(self, batch: MicroBatch, row: int, verdict: int) -> dict[str, Any]:
        reason, detail = admission.REASONS[verdict]
        return {"topic": batch.source, "partition": batch.shard, "offset": int(batch.offsets[row]), "reason": reason,
                "detail": detail, "stage": "admission", "payload": batch.messages[row] or b""}
