"""The messages of an account: proposals, intents, fills, equity and the chained decisions, from columns.

Every one carries the tick that caused it. The Avro bytes are a function of the columns alone.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from jobs.chain.chained import CHAIN
from jobs.chain.contracts import Contracts
from jobs.chain.digest import code_digest
from jobs.chain.messages import DECISIONS, EMPTY, EQUITY, FILLS, INTENTS, PROPOSALS, Emission, emit
from jobs.chain.shard import MODEL
from schemas.codec import HEADER, NULL_LONG, Encoder
from schemas.packed import Packed, Text
from udfs import models
from udfs.blake2b import TAIL, link
from udfs.gates import first_failed
from udfs.profiles import Profile
from udfs.stage import Columns, KeyedState, Store
from udfs.stages import fills, sizing
from udfs.symbols import START, digests, mixed

CAUSE = ("account_seq", "seq", "tick_id", "partition", "offset", "ts_event", "ts_order")
"""Columns that every message of an account carries of the tick that caused it."""

GATES = sizing.GATES + fills.GATES
Rows = np.ndarray | slice
"""Which rows of the columns a topic's messages are of."""
ALL = slice(None)
"""All of them, of which nothing is copied."""


class Ledger:
    """Writes the messages of one account. State: the last value of the hash chain."""

    def __init__(self, profile: Profile, contracts: Contracts, topics: tuple[str, ...], state: KeyedState,
                 store: Store) -> None:
        self._profile, self._topics, self._state, self._store = profile, topics, state, store
        account = profile.fills.account
        constants = {"account": [account], "strategy": [profile.name], "config_digest": [profile.digest],
                     "code_digest": [code_digest()]}
        self._encoders = {topic: Encoder(_open(contracts.schema(topic)), contracts.id(topic),
                                         constants, TAIL if topic == DECISIONS else 0) for topic in topics}
        self._account = Packed.table([account.encode()])
        self._key = np.frombuffer(hashlib.sha256(f"{profile.name}:{account}".encode()).digest()[:8], np.uint64)
        self._alphas = Text.table([name.encode() for name in (*profile.alphas.names, "")])
        self._constraints = Text.table([name.encode() for name in (*sizing.CONSTRAINTS, "")])
        self._named = Text.table([]), Text.table([])
        self._chain = store.get(CHAIN) or b""

    def ids(self, columns: Columns) -> Columns:
        """Columns with `intent_id`: the id that an intent of the tick has."""
        return columns | {"intent_id": self._ids(columns["tick_id"])}

    def _ids(self, number: np.ndarray) -> np.ndarray:
        """Ids of what a number identifies in this account."""
        return mixed(np.repeat(self._key, len(number)), number)

    def messages(self, columns: Columns) -> list[Emission]:
        """All messages of some ticks, by topic."""
        out = []
        columns = columns | self._instruments(columns["slot"])
        count = len(columns["slot"])
        if PROPOSALS in self._topics:
            out.append(self._emit(PROPOSALS, self._encode(PROPOSALS, self._proposals, columns, count)))
        intended = int(np.count_nonzero(columns["intent"])) if INTENTS in self._topics else 0
        if intended:
            out.append(self._emit(INTENTS, self._encode(INTENTS, self._intents, columns, intended)))
        if DECISIONS in self._topics:
            filled = self._encode(FILLS, self._fills, columns, len(columns["fills"]))
            marked = self._encode(EQUITY, self._equity, columns, len(columns["marks"]))
            effects = np.full(count, START, np.uint64)
            for topic, made, rows in ((FILLS, filled, columns["fills"]), (EQUITY, marked, columns["marks"])):
                if len(made):
                    digests(made, HEADER, rows["row"], effects)
                    out.append(self._emit(topic, made))
            decided = self._encode(DECISIONS, self._decisions, columns | {"effects": effects.view(np.int64)}, count)
            out.append(self._emit(DECISIONS, self._chained(decided)))
        return out

    def _emit(self, topic: str, values: Packed) -> Emission:
        return emit(topic, self._account.take(np.zeros(len(values), np.int64)), values)

    def _encode(self, topic: str, made: Callable[[Columns], Columns], columns: Columns, count: int) -> Packed:
        """So many messages of a topic: most calls have none of some topics, and make nothing for them."""
        return self._encoders[topic].encode(made(columns), count) if count else EMPTY

    def _chained(self, records: Packed) -> Packed:
        """Each record with the chain value as its last field: 32 characters behind their length, a zigzag integer."""
        self._chain = link(records.pool, records.start, records.length, HEADER, self._chain)
        self._store.put(CHAIN, lambda: self._chain)
        return records

    def _cause(self, columns: Columns, rows: Rows) -> Columns:
        return {name: columns[name][rows] for name in CAUSE} | {
            name: columns[name].take(rows) for name in ("venue", "symbol")}

    def _instruments(self, slot: np.ndarray) -> Columns:
        """Venue and symbol of each row."""
        if len(self._named[0].start) < len(self._state.names):
            pairs = [name.split(b":", 1) for name in self._state.names]
            self._named = Text.table([venue for venue, _ in pairs]), Text.table([symbol for _, symbol in pairs])
        return {name: text.take(slot) for name, text in zip(("venue", "symbol"), self._named, strict=True)}

    def _proposals(self, columns: Columns) -> Columns:
        plain = ("bid", "ask", "bid_size", "ask_size", "flags", "last_price", "last_size", "last_side", "mid", "score",
                 "mu", "sigma", "cvar_975", "target_notional")
        return self._cause(columns, ALL) | {name: columns[name] for name in plain} | self._sized(columns, ALL) | {
            "intent_seq": columns["intent"], "command": columns["command"],
            MODEL: models.texts(columns["model"])} | self._gates(columns, ALL)

    def _sized(self, columns: Columns, rows: Rows) -> Columns:
        return {"binding_constraint": self._constraints.take(columns["binding"][rows]),
                "top_alpha": self._alphas.take(columns["top_alpha"][rows])}

    def _gates(self, columns: Columns, rows: Rows) -> Columns:
        """The checks of sizing as an array of records."""
        return {"gates.count": len(sizing.GATES), "gates.gate": np.arange(len(sizing.GATES))[None]} | {
            f"gates.{name}": columns[f"gate_{name}"][rows] for name in ("passed", "value", "limit")}

    def _intents(self, columns: Columns) -> Columns:
        rows = np.flatnonzero(columns["intent"])
        plain = ("intent_id", "target_notional", "bid", "ask", "bid_size", "ask_size", "flags", "mid", "score", "mu",
                 "sigma", "cvar_975")
        held = {name: columns[name][rows] for name in plain}
        held["target_fraction"] = held["target_notional"] / self._profile.sizing.reference_equity
        return self._cause(columns, rows) | held | self._sized(columns, rows) | {
            "intent_seq": columns["intent"][rows]} | self._gates(columns, rows)

    def _fills(self, columns: Columns) -> Columns:
        f = columns["fills"]
        order_id = mixed(f["intent"].view(np.uint64), f["order"])
        return self._cause(columns, f["row"]) | {
            "fill_id": mixed(order_id.view(np.uint64), f["part"]), "order_id": order_id,
            "intent_id": f["intent"], "side": (f["quantity"] < 0).astype(np.int64), "quantity": np.abs(f["quantity"]),
            "liquidity": f["rested"], "ts_order_sent": f["sent"], "realized_pnl": f["realized"],
            "top_alpha": self._alphas.take(f["alpha"])} | {
            name: f[name] for name in ("price", "part", "remaining", "fee", "decision_mid", "position", "cash")}

    def _equity(self, columns: Columns) -> Columns:
        marks = columns["marks"]
        rows = ALL if len(marks) == len(columns["slot"]) else marks["row"]  # a row has at most one
        return self._cause(columns, rows) | {"spread": columns["spread"][rows], "state_cause": marks["cause"]} | {
            name: marks[name] for name in fills.MARK.names or () if name not in ("row", "cause")}

    def _decisions(self, columns: Columns) -> Columns:
        made, intended = columns["decisions"], columns["intent"] > 0
        failed = np.empty(len(intended), np.int64)
        passed = columns["gate_passed"], np.ascontiguousarray(made["passed"])
        first_failed(*passed, intended, failed)
        judged = {"gates.count": np.where(intended, len(GATES), len(sizing.GATES)),
                  "gates.gate": np.arange(len(GATES))[None], "gates.passed": passed} | {
                  f"gates.{name}": (columns[f"gate_{name}"], made[name]) for name in ("value", "limit")}
        plain = ("mid", "spread", "score", "mu", "sigma", "cvar_975", "target_notional", "effects")
        return self._cause(columns, ALL) | {name: columns[name] for name in plain} | judged | self._sized(
            columns, ALL) | self._orders(columns) | {
            "decision_id": self._ids(columns["account_seq"]),
            "intent_id": np.where(intended, columns["intent_id"], NULL_LONG), "state_cause": made["cause"],
            "failed_gate": _FAILED.take(failed),
            MODEL: models.texts(columns["model"])} | {
            name: made[name] for name in ("target", "equity", "position", "symbol_pnl", "command", "state")}

    def _orders(self, columns: Columns) -> Columns:
        """The order that each tick sent, and the one that it ended."""
        made = columns["decisions"]
        sent, limited, ended = made["order"] > 0, made["limit_price"] > 0, made["ended"] > 0
        order_id = mixed(columns["intent_id"].view(np.uint64), made["order"])
        ended_id = mixed(made["ended_intent"].view(np.uint64), made["ended"])
        return {"order_id": np.where(sent, order_id, NULL_LONG), "order_quantity": made["quantity"],
                "order_limit": np.where(limited, made["limit_price"], NULL_LONG),
                "ended_order_id": np.where(ended, ended_id, NULL_LONG), "ended_as": made["ended_as"]}


_FAILED = Text.table([name.encode() for name in (*GATES, "")])


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without the hash chain's field, which is put behind the encoded record."""
    return schema | {"fields": [field for field in schema["fields"] if field["name"] != CHAIN]}
