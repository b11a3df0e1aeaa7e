"""decisions.v1 by itself: the hash chain, running numbers, ids, and the checks of sizing."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import zip_longest

from sigmaflow.audit.decode import Message, Row
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.hashes import CHAIN_DIGITS, account_key, chained, mix
from sigmaflow.audit.log import DECISIONS

SIZING = ("warm", "entry", "direction", "cost", "selection")
LEDGER = ("halt", "reducing", "range", "position", "gross", "concentration", "account_cvar", "quantity")
FIXED = frozenset({"warm", "entry", "selection", "halt", "range", "position", "gross", "concentration", "account_cvar",
                   "quantity"})
"""Checks whose limit is a setting of the profile."""

CHAIN_BYTES = CHAIN_DIGITS + 1
"""The last field: a length of one byte, and the digits."""

Name = tuple[str, str]
"""Venue and symbol."""


@dataclass
class Decisions:
    """Decisions of one account that are in sequence, and those of them whose bytes are not what the chain says."""

    messages: list[Message] = field(default_factory=list)
    damaged: set[int] = field(default_factory=set)
    last: int = 0
    """Place of the last one in the account's order."""

    @property
    def end(self) -> str:
        """Position of the last one."""
        return self.messages[-1].position if self.messages else f"{DECISIONS}:0:0"


def sequence(messages: list[Message], findings: Findings) -> Decisions:
    """Hold the records of one account against the chain and the running number."""
    found, chain = Decisions(), b""
    for m, following in zip_longest(messages, messages[1:]):
        seq, (body, said) = m.row["account_seq"], _parts(m)
        whole = chained(chain, body) == said
        if seq == found.last + 1 and not whole:
            findings.damaged(m, "the hash chain is whole", said.decode(errors="replace"), chained(chain, body).decode())
        elif seq <= found.last:
            findings.doubled(m, "account_seq rises by one", seq, found.last + 1)
            continue
        elif seq != found.last + 1 and _damaged(m, following, found, findings):
            found.last, chain = found.last + 1, said
            continue
        if not whole:
            found.damaged.add(seq)
        found.messages.append(m)
        found.last, chain = seq, said
    return found


def _parts(m: Message) -> tuple[bytes, bytes]:
    return m.body[:-CHAIN_BYTES], m.body[-CHAIN_DIGITS:]


def _damaged(m: Message, following: Message | None, before: Decisions, findings: Findings) -> bool:
    """Whether a number that is too high is wrong itself, or numbers before it are missing or come later."""
    seq, expected = m.row["account_seq"], before.last + 1
    if mix(account_key(m.row["strategy"], m.row["account"]), seq) != m.row["decision_id"]:
        findings.damaged(m, "account_seq rises by one", seq, expected)
        return True
    swapped = following is not None and following.row["account_seq"] == expected
    findings.lost(m.position if swapped else before.end, "account_seq rises by one", f"{seq} in {m.position}",
                  expected, Weight.SEQUENCE)
    return False


class Rules:
    """What holds within a decision, and between it and those before it."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._ts_order = 0
        self._offsets: dict[int, int] = {}
        self._seqs: dict[Name, int] = {}
        self._directions: dict[Name, float] = {}
        self._targets: dict[Name, float] = {}
        self._limits: dict[tuple[str, str], float] = {}

    def check(self, m: Message) -> None:
        """Hold the next decision in order against all of them."""
        self._order(m)
        self._ids(m)
        self._gates(m)
        self._sizing(m)

    def _order(self, m: Message) -> None:
        row, name = m.row, (m.row["venue"], m.row["symbol"])
        offset, seq = self._offsets.get(row["partition"], -1), self._seqs.get(name)
        if row["ts_order"] < max(self._ts_order, row["ts_event"]):
            self._findings.differs(m, "ts_order never falls", row["ts_order"], f"at least {self._ts_order}")
        if row["offset"] <= offset:
            self._findings.doubled(m, "offsets of a partition rise", row["offset"], f"above {offset}",
                                   Weight.CONTRADICTION)
        if seq is not None and row["seq"] <= seq:
            self._findings.doubled(m, "seq of an instrument rises", row["seq"], f"above {seq}", Weight.CONTRADICTION)
        self._ts_order = max(self._ts_order, row["ts_order"])
        self._offsets[row["partition"]], self._seqs[name] = row["offset"], row["seq"]

    def _ids(self, m: Message) -> None:
        row = m.row
        key = account_key(row["strategy"], row["account"])
        self._findings.equal(m, "decision_id", row["decision_id"], mix(key, row["account_seq"]))
        if row["intent_id"] is not None:
            self._findings.equal(m, "intent_id", row["intent_id"], mix(key, row["tick_id"]))

    def _gates(self, m: Message) -> None:
        """Which checks there are, what they let pass, and that their limits are the profile's."""
        row, gates = m.row, m.row["gates"]
        intended = row["intent_id"] is not None
        self._findings.equal(m, "checks are named in order", tuple(gate["gate"] for gate in gates),
                             SIZING + LEDGER if intended else SIZING)
        failed = next((gate["gate"] for gate in gates if not gate["passed"]), "")
        self._findings.equal(m, "failed_gate is the first that failed", row["failed_gate"], failed)
        self._findings.equal(m, "sizing makes a target where its checks pass", intended,
                             all(gate["passed"] for gate in gates[:len(SIZING)]))
        self._findings.equal(m, "an order is sent where all checks pass", row["order_id"] is not None, not failed)
        for gate in gates[len(SIZING):] if _shrinks(gates) else gates:
            if gate["gate"] in FIXED:
                limit = self._limits.setdefault((row["config_digest"], gate["gate"]), gate["limit"])
                self._findings.equal(m, f"limit of {gate['gate']} is the profile's", gate["limit"], limit)

    def _sizing(self, m: Message) -> None:
        row, name = m.row, (m.row["venue"], m.row["symbol"])
        shrinks = _shrinks(row["gates"])
        direction = 1.0 if row["score"] > 0 else -1.0
        values = (None, abs(row["score"]), 0.0 if shrinks else direction, abs(row["mu"]), None)
        for gate, value in zip(row["gates"], values, strict=False):
            if value is not None:
                self._findings.equal(m, f"value of {gate['gate']}", gate["value"], value)
            self._findings.equal(m, f"{gate['gate']} passes by its rule", gate["passed"], passes(gate))
        if shrinks:
            self._shrinking(m)
        if len(row["gates"]) >= len(SIZING):
            held = row["gates"][SIZING.index("direction")]["limit"]
            self._findings.equal(m, "limit of direction is that of the last target", held,
                                 self._directions.get(name, 0.0))
        if row["intent_id"] is not None:
            self._directions[name] = self._pointing(row, direction, shrinks)
            self._targets[name] = row["target_notional"]

    def _shrinking(self, m: Message) -> None:
        """A target that only shrinks is held to no limit, and is on its side of 0 and nearer to it than the last."""
        row, held = m.row, self._targets.get((m.row["venue"], m.row["symbol"]), 0.0)
        limits = tuple(gate["limit"] for gate in row["gates"][:len(SIZING)] if gate["gate"] != "direction")
        self._findings.equal(m, "a shrinking target is held to no limit", limits, (0.0, 0.0, 0.0, math.inf))
        shrunk = row["target_notional"] * held >= 0 and abs(row["target_notional"]) < abs(held)
        self._findings.equal(m, "a target without a direction is smaller than the last", shrunk, True)

    def _pointing(self, row: Row, direction: float, shrinks: bool) -> float:
        """Direction that the next tick of the instrument is held against."""
        if not shrinks:
            return direction
        return self._directions.get((row["venue"], row["symbol"]), 0.0) if row["target_notional"] else 0.0


def _shrinks(gates: list[Row]) -> bool:
    """Whether sizing judged the tick as one that makes a target smaller: its direction is neither side."""
    return len(gates) >= len(SIZING) and gates[SIZING.index("direction")]["value"] == 0.0


def passes(gate: Row) -> bool:
    """Whether a check of sizing lets its value pass."""
    if gate["gate"] == "direction":
        return bool(gate["value"] != gate["limit"])
    return bool(gate["value"] <= gate["limit"] if gate["gate"] == "selection" else gate["value"] >= gate["limit"])
