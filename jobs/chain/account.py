"""The worker of one account: put the ticks of all shards into the total order, run sizing and fills, write the results.

No Flink here: the operator calls `process`, and `idle` when shards have been silent.
"""
from __future__ import annotations

import hashlib
import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.chain.contracts import Contracts
from jobs.chain.messages import ROWS, Emission, MicroBatch, RecordWriter, emit
from jobs.chain.shard import text_of
from schemas.codec import Decoder, Encoder, Text
from udfs import order
from udfs.profiles import Profile
from udfs.stage import Columns, KeyedState, Stage, Store
from udfs.stages import fills, sizing
from udfs.symbols import mix

INTENTS, PROGRESS, FILLS, EQUITY, DECISIONS = "intents.v1", "progress.v1", "fills.v1", "equity.v1", "decisions.v1"
INBOX = "inbox"
QUIET, STALLED = 4, 1_200
"""Beats without a row after which a shard's log is looked at, and after which it is not waited for whatever it holds.

The second is one minute at the default beat: only a tick that was refused, at the end of a shard that is quiet since,
in the sizing job, makes it come to that; there the log alone does not show that nothing more can follow.
"""

LogEnds = Callable[[], list[tuple[int, int]]]
"""First and next offset of every partition of market.ticks.v1, as the broker says now; empty when it does not answer.
"""

CAUSE = ("account_seq", "seq", "tick_id", "partition", "offset", "ts_event", "ts_order")
"""Columns that every message of an account carries of the tick that caused it."""

SIDES = ("BUY", "SELL")


@dataclass(frozen=True)
class AccountPlan:
    """What an account worker does. `follow`: take decisions from intents.v1 and progress.v1 instead of making them."""

    profile: Profile
    contracts: Contracts
    stages: tuple[Stage, ...]
    shards: int
    follow: bool = False
    progress: bool = False

    @property
    def writes(self) -> tuple[str, ...]:
        """Topics that the plan's stages write."""
        names = [stage.name for stage in self.stages]
        out: tuple[str, ...] = (INTENTS,) if "sizing" in names else ()
        out += (PROGRESS,) if self.progress else ()
        return out + ((FILLS, EQUITY, DECISIONS) if "fills" in names else ())


@dataclass(frozen=True)
class Intent:
    """What the fills job needs of a message of intents.v1."""

    seq: int
    target: float
    alpha: str


class Inbox:
    """Intents and progress that the fills job has read and not yet used; repeats are dropped, first one wins."""

    def __init__(self, plan: AccountPlan, store: Store) -> None:
        self._store = store
        contracts = plan.contracts
        self._intents = Decoder(contracts.schema(INTENTS), contracts.writers(INTENTS))
        self._progress = Decoder(contracts.schema(PROGRESS), contracts.writers(PROGRESS))
        packed = store.get(INBOX)
        self.last, self.intents, self.progress = pickle.loads(packed) if packed else (0, {}, deque())

    def take(self, batch: MicroBatch) -> None:
        """Read one micro-batch of either topic."""
        if batch.source == INTENTS:
            c = self._intents.decode(batch.messages).columns
            for row, seq in enumerate(c["intent_seq"].tolist()):
                if seq > self.last:
                    alpha = c["top_alpha"].at(row).decode()
                    self.intents[int(c["tick_id"][row])] = Intent(seq, float(c["target_notional"][row]), alpha)
                    self.last = seq
        else:
            c = self._progress.decode(batch.messages).columns
            counts = c["released"].astype(np.int64).tolist()
            self.progress.extend(zip(c["intent_seq"].tolist(), counts, strict=True))

    def save(self) -> None:
        """Write what is not yet used to the store."""
        self._store.put(INBOX, pickle.dumps((self.last, self.intents, self.progress)))


class AccountWorker:
    """Runs a plan for one account."""

    def __init__(self, plan: AccountPlan, store: Store, log_ends: LogEnds) -> None:
        self._plan, self._profile, self._log_ends = plan, plan.profile, log_ends
        self._state = KeyedState(plan.stages, store)
        self._merge = order.Merge(plan.shards, store)
        self._inbox = Inbox(plan, store) if plan.follow else None
        self._quiet = dict.fromkeys(range(plan.shards), 0)
        self._writers = {topic: RecordWriter(topic, plan.contracts.id(topic)) for topic in plan.writes}
        if EQUITY in plan.writes:
            self._equity = Encoder(plan.contracts.schema(EQUITY), plan.contracts.id(EQUITY))
        account = self._profile.fills.account
        self._account = account.encode()
        self._key = np.frombuffer(hashlib.sha256(f"{self._profile.name}:{account}".encode()).digest()[:8], np.uint64)

    def process(self, batch: MicroBatch) -> list[Emission]:
        """Take one micro-batch and give what it lets go."""
        if batch.source == ROWS:
            self._quiet[batch.shard] = 0
            names, rows, seen = pickle.loads(bytes(batch.messages[0] or b""))
            slots = np.array([self._state.slot(name) for name in names], np.int64)
            rows.ints[order.SLOT] = slots[rows.ints[order.SLOT]]
            self._merge.add(batch.shard, rows, seen)
        elif self._inbox:
            self._inbox.take(batch)
        return self._advance()

    def idle(self) -> list[Emission]:
        """One beat of the operator's timer: count silence, and give what no longer waits for a silent shard."""
        for shard in self._quiet:
            self._quiet[shard] += 1
        return self._advance()

    def _advance(self) -> list[Emission]:
        out = self._follow(self._inbox) if self._inbox else self._lead()
        self._merge.save()
        return out

    def _lead(self) -> list[Emission]:
        first = self._merge.seq
        rows = self._merge.release(self._silent() if self._merge.pending else ())
        if not len(rows):
            return []
        out = self._run(self._columns(rows, first))
        return out + ([self._progress()] if self._plan.progress else [])

    def _silent(self) -> set[int]:
        """Shards that can send nothing now: quiet for some beats, and with nothing in their log that is still to come.
        """
        quiet = {shard for shard, beats in self._quiet.items() if beats >= QUIET}
        ends = self._log_ends() if quiet else []
        read = [max(first, seen + 1) >= end
                for (first, end), seen in zip(ends, self._merge.offsets, strict=False)] or [False] * self._plan.shards
        return {shard for shard in quiet if read[shard] or self._quiet[shard] >= STALLED}

    def _follow(self, inbox: Inbox) -> list[Emission]:
        out: list[Emission] = []
        while inbox.progress:
            intents, counts = inbox.progress[0]
            first = self._merge.seq
            rows = self._merge.release_until(counts) if intents <= inbox.last else None
            if rows is None:
                break
            if len(rows):
                out += self._run(self._decided(self._columns(rows, first)))
            inbox.progress.popleft()
        inbox.save()
        return out

    def _columns(self, rows: order.Rows, first: int) -> Columns:
        columns = rows.columns()
        columns["account_seq"] = np.arange(first + 1, first + 1 + len(rows))
        columns["slots"] = len(self._state.names)
        intent_id = np.empty(len(rows), np.int64)
        mix(np.repeat(self._key, len(rows)), columns["tick_id"], intent_id)
        return columns | {"intent_id": intent_id}

    def _decided(self, columns: Columns) -> Columns:
        """Put the intents that sizing made into the rows of the ticks that caused them."""
        assert self._inbox is not None
        count, waiting = len(columns["slot"]), self._inbox.intents
        intent, target, alpha = np.zeros(count, np.int64), np.zeros(count), np.full(count, -1)
        if waiting:
            for row in np.flatnonzero(np.isin(columns["tick_id"], list(waiting))).tolist():
                made = waiting.pop(int(columns["tick_id"][row]))
                intent[row], target[row], alpha[row] = made.seq, made.target, self._index(made.alpha)
        return columns | {"intent": intent, "target_notional": target, "top_alpha": alpha}

    def _index(self, alpha: str) -> int:
        names = self._profile.alphas.names
        return names.index(alpha) if alpha in names else -1

    def _run(self, columns: Columns) -> list[Emission]:
        columns = self._state.run(columns)
        self._state.save(np.unique(columns["slot"]).tolist())
        out = []
        if INTENTS in self._writers:
            out += self._rows(INTENTS, columns, np.flatnonzero(columns["intent"]), self._intent)
        if FILLS in self._writers:
            out += self._records(FILLS, columns, columns["fills"], self._fill)
            out += self._records(DECISIONS, columns, columns["decisions"], self._decision)
            out += self._marks(columns)
        return out

    def _rows(self, topic: str, columns: Columns, rows: np.ndarray, make: Any) -> list[Emission]:
        values = [self._writers[topic].write(self._cause(columns, row) | make(columns, row)) for row in rows.tolist()]
        return [emit(topic, [self._account] * len(values), values)] if values else []

    def _records(self, topic: str, columns: Columns, records: np.ndarray, make: Any) -> list[Emission]:
        values = [self._writers[topic].write(self._cause(columns, int(r["row"])) | make(columns, r)) for r in records]
        return [emit(topic, [self._account] * len(values), values)] if values else []

    def _cause(self, columns: Columns, row: int) -> dict[str, Any]:
        venue, symbol = self._state.names[columns["slot"][row]].split(b":", 1)
        held = {name: int(columns[name][row]) for name in CAUSE}
        return {"account": self._profile.fills.account, "venue": venue.decode(), "symbol": symbol.decode()} | held

    def _alpha(self, index: int) -> str:
        return self._profile.alphas.names[index] if 0 <= index < len(self._profile.alphas.names) else ""

    def _intent(self, columns: Columns, row: int) -> dict[str, Any]:
        floats = {name: float(columns[name][row]) for name in
                  ("target_notional", "bid", "ask", "bid_size", "ask_size", "mid", "score", "mu", "sigma", "cvar_975")}
        s = self._profile.sizing
        reasons = (f"score={floats['score']!r} entry={s.entry!r} cvar_975={floats['cvar_975']!r} "
                   f"mu={floats['mu']!r} sigma={floats['sigma']!r} warm={int(columns['warm'][row])}")
        return floats | {
            "intent_id": int(columns["intent_id"][row]), "intent_seq": int(columns["intent"][row]),
            "strategy": self._profile.name, "target_fraction": floats["target_notional"] / s.reference_equity,
            "binding_constraint": sizing.CONSTRAINTS[columns["binding"][row]], "reasons": reasons,
            "flags": int(columns["flags"][row]), "top_alpha": self._alpha(int(columns["top_alpha"][row]))}

    def _fill(self, columns: Columns, fill: Any) -> dict[str, Any]:
        order_id = _mix(int(fill["intent"]), int(fill["order"]))
        quantity = float(fill["quantity"])
        return {"fill_id": _mix(order_id, 1), "order_id": order_id, "intent_id": int(fill["intent"]),
                "side": SIDES[quantity < 0], "quantity": abs(quantity), "price": float(fill["price"]),
                "fee": float(fill["fee"]), "ts_order_sent": int(fill["sent"]),
                "decision_mid": float(fill["decision_mid"]), "position": float(fill["position"]),
                "cash": float(fill["cash"]), "realized_pnl": float(fill["realized"]),
                "top_alpha": self._alpha(int(fill["alpha"]))}

    def _decision(self, columns: Columns, made: Any) -> dict[str, Any]:
        intent_id = int(columns["intent_id"][made["row"]])
        failed = int(made["failed"])
        gates = [{"gate": name, "passed": bool(made["passed"][k]), "value": float(made["value"][k]),
                  "limit": float(made["limit"][k])} for k, name in enumerate(fills.GATES)]
        return {"decision_id": _mix(intent_id, int(columns["account_seq"][made["row"]])), "intent_id": intent_id,
                "order_id": _mix(intent_id, int(made["order"])) if made["order"] else None,
                "strategy": self._profile.name, "config_digest": self._profile.digest,
                "target": float(made["target"]), "order_quantity": float(made["quantity"]) if failed < 0 else 0.0,
                "equity": float(made["equity"]), "failed_gate": fills.GATES[failed] if failed >= 0 else "",
                "gates": gates}

    def _marks(self, columns: Columns) -> list[Emission]:
        marks = columns["marks"]
        rows, count = marks["row"], len(marks)
        if not count:
            return []
        held: Columns = {name: columns[name][rows] for name in (*CAUSE, "mid", "spread")}
        held |= {name: marks[name] for name in fills.MARK.names or () if name != "row"}
        held["venue"], held["symbol"] = text_of(self._state.names, columns["slot"][rows])
        held["account"] = Text.table([self._account]).take(np.zeros(count, np.int64))
        return [emit(EQUITY, [self._account] * count, self._equity.encode(held, count))]

    def _progress(self) -> Emission:
        record = {"account": self._profile.fills.account, "account_seq": self._merge.seq,
                  "intent_seq": int(self._state.states[0].shared[0]["intents"]), "released": self._merge.counts}
        return emit(PROGRESS, [self._account], [self._writers[PROGRESS].write(record)])


def _mix(key: int, number: int) -> int:
    out = np.empty(1, np.int64)
    mix(np.array([key], np.int64).view(np.uint64), np.array([number], np.int64), out)
    return int(out[0])
