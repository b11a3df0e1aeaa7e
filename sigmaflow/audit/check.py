"""The whole audit of a log."""
from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sigmaflow.audit import sequence as seq
from sigmaflow.audit.decisions import Decisions, Rules, sequence
from sigmaflow.audit.decode import Decoder, Message
from sigmaflow.audit.findings import DIFFERING, DOUBLED, LIMIT, LOST, Finding, Findings, Weight
from sigmaflow.audit.inputs import Inputs, Partition, Place, letters
from sigmaflow.audit.intents import Intents
from sigmaflow.audit.ledger import Account, Ledger
from sigmaflow.audit.log import DEAD, DECISIONS, EQUITY, FILLS, INTENTS, TICKS, Log


@dataclass(frozen=True)
class Report:
    """What an audit saw and found. `pending` are records whose decision has not come yet."""

    cases: int
    accepted: int
    duplicate: int
    rejected: int
    repeats: int
    pending: int
    lost: int
    doubled: int
    differing: int
    findings: list[Finding]
    seconds: float

    @property
    def found(self) -> int:
        """All faults."""
        return self.lost + self.doubled + self.differing

    def summary(self) -> dict[str, int | float]:
        """The counts, for one line of JSON."""
        names = ("accepted", "duplicate", "rejected", "repeats", "pending", "cases", "lost", "doubled", "differing",
                 "found")
        return {name: getattr(self, name) for name in names} | {"seconds": round(self.seconds, 3)}


def audit(log: Log, complete: bool = False, decoder: Decoder | None = None, limit: int = LIMIT) -> Report:
    """Check every record of a log.

    `complete` says that no job is behind: an input without a decision is then lost and not pending. `decoder` is kept
    from log to log by a caller that audits many of the same schemas.
    """
    began = time.perf_counter()
    return _Audit(log, complete, decoder or Decoder(log.schemas), Findings(limit)).run(began)


class _Audit:
    """One pass over one log."""

    def __init__(self, log: Log, complete: bool, decoder: Decoder, findings: Findings) -> None:
        self._log, self._complete, self._findings = log, complete, findings
        self._ticks = decoder.messages(log, TICKS)
        self._dead = decoder.messages(log, DEAD)
        self._held = {topic: _joined(decoder.messages(log, topic)) for topic in seq.ACCOUNT_TOPICS}
        self._inputs = Inputs()

    def run(self, began: float) -> Report:
        held = seq.accounts(self._held, self._findings)
        decided = {account: self._decisions(messages[DECISIONS]) for account, messages in held.items()}
        self._offsets(decided.values())
        for account, messages in held.items():
            self._account(decided[account], messages)
        counts, inputs = self._findings.counts, self._inputs
        return Report(self._log.size, inputs.accepted, inputs.duplicate, inputs.rejected, inputs.repeats,
                      inputs.pending, counts[LOST], counts[DOUBLED], counts[DIFFERING], self._findings.listed(),
                      time.perf_counter() - began)

    def _decisions(self, messages: list[Message]) -> Decisions:
        decisions, rules = sequence(messages, self._findings), Rules(self._findings)
        for m in decisions.messages:
            rules.check(m)
        return decisions

    def _offsets(self, decided: Iterable[Decisions]) -> None:
        places: dict[Place, Message] = {}
        for m in (m for decisions in decided for m in decisions.messages):
            place = m.row["partition"], m.row["offset"]
            if places.setdefault(place, m) is not m:
                self._findings.doubled(m, "an input is decided once", places[place].position, "no decision before",
                                       Weight.CONTRADICTION)
        dead = letters(_joined(self._dead), self._inputs, self._findings)
        for number in sorted({place[0] for place in places.keys() | dead.keys()} | self._ticks.keys()):
            ticks = self._ticks.get(number, [])
            start = self._log.starts.get((TICKS, number), ticks[0].offset if ticks else 0)
            Partition(number, start, places, dead, self._inputs, self._findings).check(ticks, self._complete)

    def _account(self, decisions: Decisions, messages: dict[str, list[Message]]) -> None:
        intents = seq.in_order(INTENTS, messages[INTENTS], "intent_seq", self._findings)
        fills = seq.in_order(FILLS, messages[FILLS], "account_seq", self._findings)
        equity = seq.in_order(EQUITY, messages[EQUITY], "account_seq", self._findings)
        trimmed = self._log.starts.get((INTENTS, 0), 0) > 0
        self._inputs.pending += Intents(decisions, intents, self._inputs, self._findings).check(self._complete, trimmed)
        account = Account(decisions, fills, equity, self._inputs)
        self._inputs.pending += Ledger(account, self._findings).check(self._complete)


def _joined(partitions: dict[int, list[Message]]) -> list[Message]:
    return [m for _, held in sorted(partitions.items()) for m in held]
