"""Every offset of market.ticks.v1 is in exactly one of accepted, duplicate, rejected.

Accepted: one decision names it, by place and by the hash of its bytes. Duplicate, rejected: one dead letter has its
bytes; the same letter again is a repeat, since the topic is at-least-once.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sigmaflow.audit import admission
from sigmaflow.audit.decode import HEADER, Message, Row
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.hashes import fnv1a, signed
from sigmaflow.audit.log import DEAD, DECISIONS, TICKS

Place = tuple[int, int]
"""Partition and offset."""


class Accepted(NamedTuple):
    """A tick that a decision names, and its flags behind admission."""

    row: Row
    flags: int


@dataclass
class Inputs:
    """Counts of the offsets, and the accepted ticks by place."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    pending: int = 0
    repeats: int = 0
    ticks: dict[Place, Accepted] = field(default_factory=dict)


def letters(messages: Iterable[Message], inputs: Inputs, findings: Findings) -> dict[Place, Message]:
    """Dead letters of market.ticks.v1 by place; letters of other topics are left out."""
    found: dict[Place, Message] = {}
    last: dict[int, int] = {}
    for m in messages:
        if m.fault:
            findings.damaged(m, "every record can be decoded", m.fault, "a message of a registered schema")
            continue
        row = m.row
        place = row["partition"], row["offset"]
        key = f"{row['topic']}:{row['partition']}".encode()
        if m.key != key:
            findings.damaged(m, "the key is topic:partition", m.key, key)
        if row["topic"] != TICKS and m.key != f"{TICKS}:{row['partition']}".encode():
            continue
        if place in found:
            _repeat(m, found[place], inputs, findings)
            continue
        if row["offset"] < last.get(row["partition"], -1):
            findings.doubled(m, "letters of a partition come in its order", row["offset"], last[row["partition"]])
        last[row["partition"]] = max(row["offset"], last.get(row["partition"], -1))
        found[place] = m
        _wording(m, findings)
    return found


def _repeat(m: Message, first: Message, inputs: Inputs, findings: Findings) -> None:
    inputs.repeats += 1
    if m.raw != first.raw:
        findings.differs(m, "letters of one offset are the same", m.row, first.row)


def _wording(m: Message, findings: Findings) -> None:
    detail = admission.DETAILS.get(m.row["reason"])
    if detail is None:
        findings.damaged(m, "the reason is a known one", m.row["reason"], ", ".join(admission.DETAILS))
    elif m.row["detail"] != detail:
        findings.damaged(m, "the detail is that of the reason", m.row["detail"], detail)
    if m.row["stage"] != admission.STAGE:
        findings.damaged(m, "the stage is admission", m.row["stage"], admission.STAGE)


class Partition:
    """One partition of market.ticks.v1, offset by offset."""

    def __init__(self, number: int, start: int, decided: dict[Place, Message], dead: dict[Place, Message],
                 inputs: Inputs, findings: Findings) -> None:
        self._number, self._start, self._inputs, self._findings = number, start, inputs, findings
        self._decided = {place[1]: m for place, m in decided.items() if place[0] == number}
        self._dead = {place[1]: m for place, m in dead.items() if place[0] == number}
        self._latest = -1
        self._seqs: dict[tuple[str, str], int] = {}
        self._unbroken = -1
        self._last_letter = f"{DEAD}:0:0"
        self._last_decision = next((m.position for m in reversed(decided.values())), f"{DECISIONS}:0:0")
        for offset, m in self._decided.items():
            if offset < start:
                self._accept(m)

    def check(self, ticks: list[Message], complete: bool) -> None:
        """Hold every offset against its decision and its dead letter. With `complete` none may still be on its way."""
        settled = max(self._decided, default=-1)
        self._unbroken = settled if not self._findings.blamed(DECISIONS) else -1
        due = self._start
        for tick in ticks:
            if tick.offset != due:
                self._findings.lost(f"{TICKS}:{self._number}:{due}", "offsets are contiguous", tick.offset, due,
                                    Weight.SEQUENCE)
            due = tick.offset + 1
            self._offset(tick, complete or tick.offset < settled)
        for offset in sorted(offset for offset in self._decided.keys() | self._dead.keys() if offset >= due):
            self._absent(offset)

    def _absent(self, offset: int) -> None:
        """An input that a decision or dead letter names is not in the log: it is gone, or they are wrong."""
        m = self._decided.get(offset) or self._dead[offset]
        position = f"{TICKS}:{self._number}:{offset}"
        self._findings.lost(position, "inputs that were judged are in the log", "none", m.position,
                            Weight.CONTRADICTION)
        self._findings.differs(m, "the input is in the log", position, "an offset of the log", Weight.ABSENCE)

    def _offset(self, tick: Message, settled: bool) -> None:
        decision, letter = self._decided.get(tick.offset), self._dead.get(tick.offset)
        if decision and letter:
            self._findings.doubled(letter, "an input is accepted or dead, not both", letter.position,
                                   decision.position, Weight.CONTRADICTION)
        if decision:
            self._inputs.accepted += 1
            self._accepted(tick, decision)
        elif letter:
            self._rejected(tick, letter)
        elif settled:
            self._hole(tick)
        else:
            self._pending(tick)

    def _pending(self, tick: Message) -> None:
        """Neither is there yet. What may be accepted already makes duplicates of later ones."""
        self._inputs.pending += 1
        if not self._verdict(tick):
            self._seqs[_name(tick)] = tick.row["seq"]
            self._latest = max(self._latest, tick.row["ts_event"])

    def _accepted(self, tick: Message, decision: Message) -> None:
        row, name = decision.row, (decision.row["venue"], decision.row["symbol"])
        if signed(fnv1a((tick.raw or b"")[HEADER:])) != row["tick_id"]:
            self._findings.differs(tick, "tick_id is the hash of the tick", signed(fnv1a(tick.body)), row["tick_id"])
        elif reason := admission.by_itself(tick):
            self._findings.differs(tick, "an accepted tick passes admission", reason, "no reason to reject it")
        else:
            self._agree(tick, decision)
            self._inputs.ticks[self._number, tick.offset] = Accepted(
                tick.row, admission.flags(tick.row, self._seqs.get(name)))
        self._accept(decision)

    def _agree(self, tick: Message, decision: Message) -> None:
        for field_ in ("venue", "symbol", "seq", "ts_event"):
            self._findings.equal(decision, f"{field_} is that of the tick", decision.row[field_], tick.row[field_])
        mid = (tick.row["bid"] + tick.row["ask"]) / 2
        self._findings.equal(decision, "mid is that of the tick", decision.row["mid"], mid)
        self._findings.equal(decision, "spread is that of the tick", decision.row["spread"],
                             tick.row["ask"] - tick.row["bid"])
        self._key(tick)

    def _accept(self, decision: Message) -> None:
        row = decision.row
        self._latest = max(self._latest, row["ts_event"])
        self._seqs[row["venue"], row["symbol"]] = row["seq"]

    def _rejected(self, tick: Message, letter: Message) -> None:
        row = letter.row
        if row["reason"] == admission.DUPLICATE:
            self._inputs.duplicate += 1
        else:
            self._inputs.rejected += 1
        self._last_letter = letter.position
        if row["reason"] != admission.BAD_SYMBOL:  # what names no instrument has no right key
            self._key(tick)
        explained = self._explained(tick, row["reason"])
        if row["payload"] != (tick.raw or b""):
            for m in (letter, tick) if explained else (tick, letter):
                self._findings.differs(m, "a dead letter has the bytes of its input", row["payload"], tick.raw)
        elif not explained:
            self._findings.differs(letter, "the reason is what the input shows", row["reason"], self._verdict(tick))

    def _explained(self, tick: Message, reason: str) -> bool:
        return admission.explains(reason, tick, self._seqs.get(_name(tick)), self._latest)

    def _verdict(self, tick: Message) -> str:
        """Reason to reject a tick that needs no bound of the profile, empty where there is none."""
        found = admission.by_itself(tick)
        return found or (admission.DUPLICATE if self._explained(tick, admission.DUPLICATE) else "")

    def _key(self, tick: Message) -> None:
        """Ticks of one instrument stay in order only under one key. A value that cannot be read has no right key."""
        if not tick.fault:
            key = "{}:{}".format(*_name(tick)).encode()
            if tick.key != key:
                self._findings.damaged(tick, "the key is venue:symbol", tick.key, key)

    def _hole(self, tick: Message) -> None:
        """Neither is there. It is the dead letter where the tick must be rejected, or where no decision is missing."""
        reason = self._verdict(tick) or ("rejected" if tick.offset < self._unbroken else "")
        position = self._last_letter if reason else self._last_decision
        self._findings.lost(position, f"{reason or 'accepted'} inputs leave their record", f"none for {tick.position}",
                            "one after this")
        self._findings.lost(tick.position, "every offset is accepted, duplicate or rejected", "neither",
                            "one decision or one dead letter")


def _name(tick: Message) -> tuple[str, str]:
    return tick.row.get("venue", ""), tick.row.get("symbol", "")
