"""The worker of shards: decode, admit, run stages keyed by venue and symbol, encode what topics want.

A shard is one partition of the topics keyed by venue:symbol. No Flink here: the operator calls `process`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.chain import commands
from jobs.chain.commands import Rulings
from jobs.chain.contracts import Contracts
from jobs.chain.known_schemas import KnownSchemas
from jobs.chain.messages import NEXT, Emission, MicroBatch, RecordWriter, emit
from jobs.chain.meters import Seen
from jobs.chain.slow import SlowValues
from jobs.chain.total_order import Edges
from schemas.codec import HEADER, UNKNOWN_SCHEMA, Decoder, Encoder
from schemas.packed import Packed
from udfs import models, order
from udfs.models import Models
from udfs.profiles import Profile
from udfs.stage import Columns, KeyedState, Stage, Store
from udfs.stages import admission
from udfs.symbols import START, Slots, digests, distinct

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


@dataclass
class _Shard:
    """One shard of a worker: its number, its part of the state, and what was ruled for it."""

    number: int
    part: int
    known: KnownSchemas | None
    models: Rulings | None
    slow: SlowValues | None
    began: bool = False
    """Whether it is settled which model its first tick has."""


@dataclass(frozen=True)
class _Joined:
    """The messages of some micro-batches of one topic, ordered by shard."""

    source: str
    messages: Packed
    offsets: NDArray[np.int64]
    stamps: NDArray[np.int64]
    spans: tuple[tuple[_Shard, int, int], ...]
    """Each shard with its first message and the one behind its last."""

    def by_row(self, number: Callable[[_Shard], int]) -> NDArray[np.int64]:
        """A number of each message's shard."""
        return np.repeat([number(shard) for shard, _, _ in self.spans], [end - start for _, start, end in self.spans])


class ShardWorker:
    """Runs a plan for some shards, all in one call. State: admission's and every stage's record of each symbol.

    A call costs some hundred microseconds however few its ticks: so the shards of one operator are called together.
    """

    def __init__(self, plan: ShardPlan, edges: Edges | None = None) -> None:
        """`edges` where the plan learns."""
        self._plan, self._edges = plan, edges
        self._shards: dict[int, _Shard] = {}
        self._state = KeyedState((admission.stage(plan.profile), *plan.stages))
        self._slots = Slots(self._state)
        self._admission = admission.Admission(plan.profile)
        contracts, source = plan.contracts, plan.source
        self._decoder = Decoder(contracts.schema(source), contracts.writers(source), contracts.later(source))
        alphas = {"signals.alpha_id": plan.profile.alphas.names}
        self._encoders = {topic: Encoder(plan.contracts.schema(topic), plan.contracts.id(topic), alphas)
                          for topic in plan.topics}
        self._dead = RecordWriter(DEAD, plan.contracts.id(DEAD)) if plan.dead_letters else None
        self.seen = Seen()

    def open(self, number: int, store: Store) -> None:
        """Begin with a shard, from what its store holds."""
        plan, edges = self._plan, self._edges
        self._shards[number] = _Shard(
            number, self._state.open(store),
            KnownSchemas(edges, number) if edges and plan.source == TICKS else None,
            Rulings(edges, number, commands.MODEL, partial(edges.end, number)) if edges and plan.models else None,
            SlowValues(edges, number, plan.slow) if edges and plan.slow else None,
            began=not (plan.models and plan.models.first))

    def symbols(self, number: int) -> Sequence[bytes]:
        """VENUE:SYMBOL of all that a shard has seen, in the order in which it did."""
        return self._state.known(self._shards[number].part)

    def process(self, batches: Sequence[MicroBatch]) -> list[Emission]:
        """Messages and rows that micro-batches lead to."""
        joined = self._join(batches)
        self._begin(joined)
        decoded = self._decoder.decode(joined.messages)
        columns, verdict = decoded.columns, decoded.verdict
        unknown = bool((verdict == UNKNOWN_SCHEMA).any())
        for shard, start, end in joined.spans:
            if shard.known and (unknown or shard.known.refused):
                shard.known.judge(joined.messages[start:end], joined.offsets[start:end], verdict[start:end])
        if MODEL in columns:
            columns["model"] = models.numbers(columns[MODEL])
        columns["part"] = joined.by_row(lambda shard: shard.part)
        if self._plan.source == TICKS:
            columns = self._admit(columns | _origin(joined), verdict)
        else:
            columns = self._repeat(columns, verdict)
        self.seen = Seen(len(columns["slot"]), int(np.count_nonzero(columns["flags"] & admission.GAP)),
                         columns["ts_recv" if "ts_recv" in columns else "ts_event"])
        out = self._dead_letters(joined, verdict) if self._dead and verdict.any() else []
        touched, local = distinct(columns["slot"], len(self._state.names))
        names = [self._state.names[slot] for slot in touched.tolist()]
        if len(local):
            columns = self._state.run(self._learnt(columns, joined))
            self._state.save(touched)
            out += self._messages(columns, Packed.table(names).take(local))
        if self._plan.forward:
            made = order.rows(columns | {"slot": local})
            out.append(Emission(NEXT, payload=order.pack(names, made, self._shares(columns, joined))))
        return out

    def idle(self) -> list[Emission]:
        """Nothing waits in a shard."""
        return []

    def _join(self, batches: Sequence[MicroBatch]) -> _Joined:
        held = sorted(batches, key=lambda batch: batch.shard)
        spans, at = [], 0
        for number, group in groupby(held, lambda batch: batch.shard):
            count = sum(len(batch.messages) for batch in group)
            spans.append((self._shards[number], at, at + count))
            at += count
        return _Joined(held[0].source, Packed.concat([Packed.of(batch.messages) for batch in held]),
                       np.concatenate([np.asarray(batch.offsets, np.int64) for batch in held]),
                       np.concatenate([_stamps(batch) for batch in held]), tuple(spans))

    def _begin(self, joined: _Joined) -> None:
        """Rule which model the first ticks of each shard have."""
        for shard, _, _ in joined.spans:
            if not shard.began and shard.models and self._plan.models:
                shard.began = shard.models.begin("model", self._plan.models.first, not self._state.known(shard.part))

    def _admit(self, columns: Columns, verdict: np.ndarray) -> Columns:
        self._admission.rules(columns, verdict)
        rows = np.flatnonzero(verdict == admission.ACCEPTED)
        columns = self._locate(admission.take(columns, rows) if len(rows) < len(verdict) else columns)
        columns, second = self._admission.sequence(self._state.states[0], columns)
        if second.any():
            verdict[rows] = second
            columns = admission.take(columns, np.flatnonzero(second == admission.ACCEPTED))
        return columns

    def _learnt(self, columns: Columns, joined: _Joined) -> Columns:
        """With the model that holds for each tick, where the ensemble is among the stages, and the slow values that it
        reads, where an alpha of the profile reads any.
        """
        if self._edges is None or not (self._plan.models or self._plan.slow):
            return columns
        read = {name: columns[name] for name in ("offset", "ts_order", "slot")}
        found = [self._learnt_of(shard, {name: column[start:end] for name, column in read.items()})
                 for shard, start, end in _remaining(joined, columns) if end > start]
        return columns | {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _learnt_of(self, shard: _Shard, columns: Columns) -> Columns:
        out: Columns = {}
        if shard.models:
            shard.models.learn()
            out["model"] = shard.models.models(columns["offset"], models.number, models.FALLBACK)
        if shard.slow:
            shard.slow.learn()
            out |= shard.slow.columns(columns, self._state.names)
        return out

    def _repeat(self, columns: Columns, verdict: np.ndarray) -> Columns:
        columns = self._locate(admission.take(columns, np.flatnonzero(verdict == 0)) if verdict.any() else columns)
        keep = admission.fresh(self._state.states[0], columns)
        return columns if keep.all() else admission.take(columns, np.flatnonzero(keep))

    def _locate(self, columns: Columns) -> Columns:
        return columns | {"slot": self._slots.find(columns["venue"], columns["symbol"], columns["part"])}

    def _messages(self, columns: Columns, keys: Packed) -> list[Emission]:
        if self._encoders and "model" in columns:
            columns = columns | {MODEL: models.texts(columns["model"])}
        return [emit(topic, keys, encoder.encode(columns, len(keys))) for topic, encoder in self._encoders.items()]

    def _shares(self, columns: Columns, joined: _Joined) -> list[order.Share]:
        """How many rows each shard has, and the offset of the last tick that it has seen, accepted or not."""
        shares = []
        for (shard, start, end), (_, _, read) in zip(_remaining(joined, columns), joined.spans, strict=True):
            last = int(columns["offset"][end - 1]) if end > start else -1
            seen = int(joined.offsets[read - 1]) if self._plan.source == TICKS else last
            shares.append(order.Share(shard.number, end - start, seen))
        return shares

    def _dead_letters(self, joined: _Joined, verdict: np.ndarray) -> list[Emission]:
        assert self._dead is not None
        bad, shards = np.flatnonzero(verdict).tolist(), joined.by_row(lambda shard: shard.number)
        values = [self._dead.write(_letter(joined, int(shards[row]), row, int(verdict[row]))) for row in bad]
        keys = Packed.table([f"{joined.source}:{shards[row]}".encode() for row in bad])
        return [emit(DEAD, keys, Packed.of(values))]


def opened(plan: ShardPlan, edges: Edges | None, stores: Mapping[int, Store]) -> ShardWorker:
    """A worker that runs the shards of these stores."""
    worker = ShardWorker(plan, edges)
    for number, store in stores.items():
        worker.open(number, store)
    return worker


def _remaining(joined: _Joined, columns: Columns) -> Iterator[tuple[_Shard, int, int]]:
    """Each shard with its first row and the one behind its last, of the rows that are left."""
    counts, at = np.bincount(columns["part"]), 0
    for shard, _, _ in joined.spans:
        count = int(counts[shard.part]) if shard.part < len(counts) else 0
        yield shard, at, at + count
        at += count


def _stamps(batch: MicroBatch) -> NDArray[np.int64]:
    if len(batch.stamps) == len(batch.messages):
        return np.asarray(batch.stamps, np.int64)
    return np.full(len(batch.messages), admission.UNSTAMPED)


def _origin(joined: _Joined) -> Columns:
    """Where each tick is in the log, and its lineage id: a hash of its bytes, so a changed tick has another."""
    count = len(joined.messages)
    tick_id = np.full(count, START, np.uint64)
    digests(joined.messages, HEADER, np.arange(count), tick_id)
    return {"partition": joined.by_row(lambda shard: shard.number), "offset": joined.offsets, "stamp": joined.stamps,
            "tick_id": tick_id.view(np.int64)}


def _letter(joined: _Joined, shard: int, row: int, verdict: int) -> dict[str, Any]:
    reason, detail = admission.REASONS[verdict]
    return {"topic": joined.source, "partition": shard, "offset": int(joined.offsets[row]), "reason": reason,
            "detail": detail, "stage": "admission", "payload": joined.messages[row] or b""}
