"""decisions.v1: the hash chain, running numbers, ids, the checks of sizing, and limits against the settings."""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from sigmaflow.audit.book import Name
from sigmaflow.audit.config import Config
from sigmaflow.audit.decode import Message, Row
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.hashes import account_key, chained, mix
from sigmaflow.audit.inputs import Accepted
from sigmaflow.audit.log import DECISIONS
from sigmaflow.audit.stream import Stream, parts

SIZING = ("warm", "entry", "direction", "cost", "selection")
LEDGER = ("halt", "reducing", "range", "position", "gross", "concentration", "account_cvar", "quantity")
ROUNDING = 1e-9
"""Part of a sum of targets that the order of its terms may make."""


class Decided(NamedTuple):
    """A decision that is in sequence, and whether its bytes are what the chain says."""

    message: Message
    whole: bool


class Sequence:
    """Decisions of the account, held against the chain and the running number. `last` is the place of the last one."""

    def __init__(self, messages: Iterator[Message], findings: Findings) -> None:
        self._stream, self._findings, self._chain = Stream(messages), findings, b""
        self.last = 0
        self.end = f"{DECISIONS}:0:0"
        """Position of the last one."""

    def __iter__(self) -> Iterator[Decided]:
        for m in self._stream:
            seq, (body, said) = m.row["account_seq"], parts(m)
            whole = chained(self._chain, body) == said
            if seq == self.last + 1 and not whole:
                self._findings.damaged(m, "the hash chain is whole", said.decode(errors="replace"),
                                       chained(self._chain, body).decode())
            elif seq <= self.last:
                self._findings.doubled(m, "account_seq rises by one", seq, self.last + 1)
                continue
            elif seq != self.last + 1 and self._damaged(m):
                self.last, self._chain = self.last + 1, said
                continue
            self.last, self._chain, self.end = seq, said, m.position
            yield Decided(m, whole)

    def _damaged(self, m: Message) -> bool:
        """Whether a number that is too high is wrong itself, or numbers before it are missing or come later."""
        seq, expected, following = m.row["account_seq"], self.last + 1, self._stream.peek()
        if mix(account_key(m.row["strategy"], m.row["account"]), seq) != m.row["decision_id"]:
            self._findings.damaged(m, "account_seq rises by one", seq, expected)
            return True
        swapped = following is not None and following.row["account_seq"] == expected
        self._findings.lost(m.position if swapped else self.end, "account_seq rises by one", f"{seq} in {m.position}",
                            expected, Weight.SEQUENCE)
        return False


class Rules:
    """What holds within a decision, and between it and those before it."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._place = (0, 0)
        self._offsets: dict[int, int] = {}
        self._seqs: dict[Name, int] = {}
        self._directions: dict[Name, float] = {}
        self._targets: dict[Name, float] = {}

    def check(self, m: Message, tick: Accepted | None, config: Config | None) -> None:
        """Hold the next decision in order against all of them."""
        self._order(m)
        self._ids(m)
        self._gates(m)
        if config:
            self._limits(m, tick, config)
        self._sizing(m, config)

    @property
    def place(self) -> tuple[int, int]:
        """Order time and partition of the last decision: where the account's order has come to."""
        return self._place

    def _order(self, m: Message) -> None:
        row, name = m.row, (m.row["venue"], m.row["symbol"])
        offset, seq = self._offsets.get(row["partition"], -1), self._seqs.get(name)
        place = row["ts_order"], row["partition"]
        if place < self._place:
            self._findings.differs(m, "ts_order never falls, nor the partition within it", place, self._place)
        if row["offset"] == offset:
            self._findings.doubled(m, "an input is decided once", offset, "no decision before", Weight.CONTRADICTION)
        elif row["offset"] < offset:
            self._findings.doubled(m, "offsets of a partition rise", row["offset"], f"above {offset}",
                                   Weight.CONTRADICTION)
        if seq is not None and row["seq"] <= seq:
            self._findings.doubled(m, "seq of an instrument rises", row["seq"], f"above {seq}", Weight.CONTRADICTION)
        self._place = max(self._place, place)
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

    def _limits(self, m: Message, tick: Accepted | None, config: Config) -> None:
        """Limits are the settings that were in force."""
        row, gates = m.row, m.row["gates"]
        self._findings.equal(m, "config_digest is that in force", row["config_digest"], config.digest)
        limits = {} if _shrinks(gates) else config.sizing_limits(tick.row if tick else None)
        limits |= config.ledger_limits()
        for gate in gates:
            if gate["gate"] in limits:
                self._findings.equal(m, f"limit of {gate['gate']} is the profile's", gate["limit"],
                                     limits[gate["gate"]])

    def _sizing(self, m: Message, config: Config | None) -> None:
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
            if config and not shrinks:
                self._capped(m, config)
            self._directions[name] = self._pointing(row, direction, shrinks)
            self._targets[name] = row["target_notional"]

    def _shrinking(self, m: Message) -> None:
        """A target that only shrinks is held to no limit, and is on its side of 0 and nearer to it than the last."""
        row, held = m.row, self._targets.get((m.row["venue"], m.row["symbol"]), 0.0)
        limits = tuple(gate["limit"] for gate in row["gates"][:len(SIZING)] if gate["gate"] != "direction")
        self._findings.equal(m, "a shrinking target is held to no limit", limits, (0.0, 0.0, 0.0, math.inf))
        shrunk = row["target_notional"] * held >= 0 and abs(row["target_notional"]) < abs(held)
        self._findings.equal(m, "a target without a direction is smaller than the last", shrunk, True)

    def _capped(self, m: Message, config: Config) -> None:
        """A new target is within the caps of one symbol and of all."""
        row, name = m.row, (m.row["venue"], m.row["symbol"])
        size, sizing = abs(row["target_notional"]), config.sizing
        others = sum(abs(target) for other, target in self._targets.items() if other != name)
        room = min(sizing["symbol_cap"], max(0.0, sizing["gross_cap"] - others))
        if size > room + ROUNDING * (size + others):
            self._findings.differs(m, "a target is within its caps", size, room)

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
