"""Every offset of market.ticks.v1 is in exactly one of accepted, duplicate, rejected.

Accepted: one decision names it, by place and by the hash of its bytes. Duplicate, rejected: one dead letter has its
bytes; the same letter again is a repeat, since the topic is at-least-once.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from sigmaflow.audit import admission
from sigmaflow.audit.decode import HEADER, Decoder, Message, Row
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.frontiers import Frontiers
from sigmaflow.audit.hashes import fnv1a, signed
from sigmaflow.audit.log import DEAD, DECISIONS, TICKS, Source
from sigmaflow.audit.rulings import Rulings
from sigmaflow.audit.stream import Stream, readable

REPEATS = 1 << 16
"""Letters of a partition that are remembered by their hash: those that a restart may write again are since the last
checkpoint."""

AHEAD = 1_024
"""Ticks looked through for that of a decision whose own bytes are damaged."""

UNKNOWN_SCHEMA, OF_TIME = "unknown_schema", ("time_ahead", "time_behind")


class Accepted(NamedTuple):
    """A tick that a decision names, and its flags behind admission."""

    row: Row
    flags: int


@dataclass
class Inputs:
    """Counts of the offsets."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    pending: int = 0
    repeats: int = 0


def letters(messages: Iterator[Message], findings: Findings) -> set[int]:
    """Hold every dead letter against itself; the partitions of market.ticks.v1 that letters are of."""
    found = set[int]()
    for m in readable(messages, findings):
        key = f"{m.row['topic']}:{m.row['partition']}".encode()
        if m.key != key:
            findings.damaged(m, "the key is topic:partition", m.key, key)
        if _of_ticks(m):
            found.add(m.row["partition"])
            _wording(m, findings)
    return found


def _of_ticks(m: Message) -> bool:
    """Whether a letter is of market.ticks.v1; letters of other topics are left out."""
    return not m.fault and (m.row["topic"] == TICKS or m.key == f"{TICKS}:{m.row['partition']}".encode())


def _wording(m: Message, findings: Findings) -> None:
    detail = admission.DETAILS.get(m.row["reason"])
    if detail is None:
        findings.damaged(m, "the reason is a known one", m.row["reason"], ", ".join(admission.DETAILS))
    elif m.row["detail"] != detail:
        findings.damaged(m, "the detail is that of the reason", m.row["detail"], detail)
    if m.row["stage"] != admission.STAGE:
        findings.damaged(m, "the stage is admission", m.row["stage"], admission.STAGE)


class Letters:
    """Dead letters of one partition of market.ticks.v1, each once, by offset."""

    def __init__(self, messages: Iterator[Message], partition: int, inputs: Inputs, findings: Findings) -> None:
        self._inputs, self._findings, self._last = inputs, findings, -1
        self._known: OrderedDict[int, bytes] = OrderedDict()
        self._early: dict[int, Message] = {}
        self._stream = Stream(self._once(m for m in messages if _of_ticks(m) and m.row["partition"] == partition))

    def _once(self, messages: Iterator[Message]) -> Iterator[Message]:
        """Letters without their repeats, which must be the same."""
        for m in messages:
            offset, hashed = m.row["offset"], blake2b(m.raw or b"", digest_size=8).digest()
            before = self._known.get(offset)
            if before is None:
                self._known[offset] = hashed
                yield m
            else:
                self._inputs.repeats += 1
                if hashed != before:
                    self._findings.differs(m, "letters of one offset are the same", m.row, "the first one's bytes")
            if len(self._known) > REPEATS:
                self._known.popitem(last=False)

    def take(self, offset: int) -> Message | None:
        """The letter of an offset, None where there is none; offsets rise."""
        while (m := self._stream.peek()) is not None:
            if m.row["offset"] < self._last or self._leaps(m):
                self._findings.doubled(m, "letters of a partition come in its order", m.row["offset"], self._last)
            elif m.row["offset"] > offset:
                break
            self._stream.next()
            self._last = max(self._last, min(offset, m.row["offset"]))
            if m.row["offset"] >= offset:
                self._early[m.row["offset"]] = m
        return self._early.pop(offset, None)

    def _leaps(self, m: Message) -> bool:
        """Whether it is this offset that is too high, and not the next that is too low."""
        following = self._stream.peek(1)
        return following is not None and self._last < following.row["offset"] < m.row["offset"]

    def rest(self) -> Iterator[Message]:
        """Letters that no offset asked for."""
        yield from self._early.values()
        yield from self._stream


class Partition:
    """One partition of market.ticks.v1, offset by offset, as far as the decisions of its ticks go."""

    def __init__(self, number: int, log: Source, decoder: Decoder, rulings: Rulings, inputs: Inputs,
                 findings: Findings) -> None:
        self._number, self._rulings, self._inputs, self._findings = number, rulings, inputs, findings
        self._start = log.starts.get((TICKS, number), 0)
        held = number in log.partitions(TICKS)
        self._ticks = Stream(decoder.messages(log, TICKS, number) if held else iter(()))
        dead = (m for part in log.partitions(DEAD) for m in decoder.messages(log, DEAD, part))
        self._letters = Letters(dead, number, inputs, findings)
        self._frontiers = Frontiers(log, decoder, number)
        self._due = self._start
        self._latest = self._order = -1
        self._seqs: dict[tuple[str, str], int] = {}
        self._last_letter = f"{DEAD}:0:0"

    def accept(self, decision: Message, whole: bool, position: str) -> Accepted | None:
        """Hold the tick that a decision names against it, and all before it against their dead letters.

        None where the tick is not kept or not there. `position` is that of the decision before.
        """
        offset = decision.row["offset"]
        if offset < self._start:
            self._accept(decision)
        if offset < self._due or not (whole or self._holds(decision)):
            return None
        while (tick := self._ticks.peek()) is not None and tick.offset < offset:
            self._undecided(self._ticks.next(), position)
        if tick is None or tick.offset != offset:
            self._absent(decision)
            self._accept(decision)
            return None
        self._contiguous(self._ticks.next())
        letter = self._letters.take(offset)
        if letter:
            self._findings.doubled(letter, "an input is accepted or dead, not both", letter.position,
                                   decision.position, Weight.CONTRADICTION)
        self._inputs.accepted += 1
        return self._accepted(tick, decision)

    def _holds(self, decision: Message) -> bool:
        """Whether a damaged decision names a tick that is near."""
        row = decision.row
        for tick in filter(None, map(self._ticks.peek, range(AHEAD))):
            if tick.offset >= row["offset"]:
                same = all(tick.row.get(name) == row[name] for name in ("venue", "symbol", "seq"))
                return tick.offset == row["offset"] and (same or _tick_id(tick) == row["tick_id"])
        return False

    def finish(self, position: str, complete: bool) -> int:
        """Hold what lies behind the last decision against its dead letters, and every letter against its input.

        Gives the least order time of ticks still to come. With `complete` none may still be on its way.
        """
        for tick in self._ticks:
            self._undecided(tick, position, complete, last=True)
        for m in self._letters.rest():
            if m.row["offset"] >= self._due:
                self._absent(m)
            elif m.row["offset"] >= self._start:
                self._findings.doubled(m, "letters of a partition come in its order", m.row["offset"], self._due)
        for m in self._rulings.unmet(self._number, self._start, self._due):
            self._findings.differs(m, "a version is unknown from a tick on that was refused", m.row["first"],
                                   "the offset of a dead letter")
        return max(self._order, self._frontiers.reach(self._due))

    def _contiguous(self, tick: Message) -> None:
        if tick.offset != self._due:
            self._findings.lost(f"{TICKS}:{self._number}:{self._due}", "offsets are contiguous", tick.offset, self._due,
                                Weight.SEQUENCE)
        self._due = tick.offset + 1

    def _undecided(self, tick: Message, position: str, settled: bool = True, last: bool = False) -> None:
        """No decision names this tick: a dead letter does, or something is missing, or it is on its way."""
        self._contiguous(tick)
        letter = self._letters.take(tick.offset)
        if letter:
            self._rejected(tick, letter)
        elif settled:
            self._hole(tick, position, not last and not self._findings.blamed(DECISIONS))
        else:
            self._pending(tick)

    def _absent(self, m: Message) -> None:
        """An input that a decision or dead letter names is not in the log: it is gone, or they are wrong."""
        position = f"{TICKS}:{self._number}:{m.row['offset']}"
        self._findings.lost(position, "inputs that were judged are in the log", "none", m.position,
                            Weight.CONTRADICTION)
        self._findings.differs(m, "the input is in the log", position, "an offset of the log", Weight.ABSENCE)

    def _pending(self, tick: Message) -> None:
        """Neither is there yet. What may be accepted already makes duplicates of later ones."""
        self._inputs.pending += 1
        if not self._verdict(tick):
            self._seqs[_name(tick)] = tick.row["seq"]
            self._latest = max(self._latest, tick.row["ts_event"])
            self._order = max(self._order, self._latest)

    def _accepted(self, tick: Message, decision: Message) -> Accepted | None:
        row, name, found = decision.row, (decision.row["venue"], decision.row["symbol"]), None
        if _tick_id(tick) != row["tick_id"]:
            self._findings.differs(tick, "tick_id is the hash of the tick", _tick_id(tick), row["tick_id"])
        elif reason := admission.by_itself(tick):
            self._findings.differs(tick, "an accepted tick passes admission", reason, "no reason to reject it")
        else:
            self._agree(tick, decision)
            found = Accepted(tick.row, admission.flags(tick.row, self._seqs.get(name)))
        self._accept(decision)
        return found

    def _agree(self, tick: Message, decision: Message) -> None:
        for field_ in ("venue", "symbol", "seq", "ts_event"):
            self._findings.equal(decision, f"{field_} is that of the tick", decision.row[field_], tick.row[field_])
        mid = (tick.row["bid"] + tick.row["ask"]) / 2
        self._findings.equal(decision, "mid is that of the tick", decision.row["mid"], mid)
        self._findings.equal(decision, "spread is that of the tick", decision.row["spread"],
                             tick.row["ask"] - tick.row["bid"])
        self._findings.equal(decision, "model_digest is that in force", decision.row["model_digest"],
                             self._rulings.model(self._number, tick.offset))
        self._in_time(tick, decision)
        self._key(tick)

    def _in_time(self, tick: Message, decision: Message) -> None:
        """Its order time follows from ticks and frontiers, its version was known, and it was in the bounds of time."""
        order = max(self._order, tick.row["ts_event"], self._frontiers.reach(tick.offset))
        if not (self._frontiers.trimmed and decision.row["ts_order"] > order):
            self._findings.equal(decision, "ts_order follows from ticks and frontiers", decision.row["ts_order"], order)
        if self._rulings.refuses(self._number, tick.offset, tick.schema_id):
            self._findings.differs(decision, "a version is not known yet", tick.schema_id, "a dead letter")
        config = self._rulings.config(decision.row["account_seq"])
        if config and (config.ahead(tick.row, tick.stamp) or config.behind(tick.row, self._latest)):
            self._findings.differs(tick, "event time is within the bounds of admission", tick.row["ts_event"],
                                   self._latest)

    def _accept(self, decision: Message) -> None:
        row = decision.row
        self._latest = max(self._latest, row["ts_event"])
        self._order = max(self._order, row["ts_order"])
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
            if row["reason"] == UNKNOWN_SCHEMA:
                self._findings.lost(self._rulings.last, "a ruling says from where on a version is unknown",
                                    f"none for {letter.position}", "one after this")

    def _explained(self, tick: Message, reason: str) -> bool:
        if reason == UNKNOWN_SCHEMA:
            return self._rulings.refuses(self._number, tick.offset, tick.schema_id)
        if reason in OF_TIME and not admission.by_itself(tick):
            held = [config for _, config in self._rulings.configs]
            return any(config.ahead(tick.row, tick.stamp) if reason == OF_TIME[0]
                       else config.behind(tick.row, self._latest) for config in held)
        return admission.explains(reason, tick, self._seqs.get(_name(tick)))

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

    def _hole(self, tick: Message, position: str, unbroken: bool) -> None:
        """Neither is there. It is the dead letter where the tick must be rejected, or where no decision is missing."""
        reason = self._verdict(tick) or ("rejected" if unbroken else "")
        position = self._last_letter if reason else position
        self._findings.lost(position, f"{reason or 'accepted'} inputs leave their record", f"none for {tick.position}",
                            "one after this")
        self._findings.lost(tick.position, "every offset is accepted, duplicate or rejected", "neither",
                            "one decision or one dead letter")


def _tick_id(tick: Message) -> int:
    return signed(fnv1a((tick.raw or b"")[HEADER:]))


def _name(tick: Message) -> tuple[str, str]:
    return tick.row.get("venue", ""), tick.row.get("symbol", "")
