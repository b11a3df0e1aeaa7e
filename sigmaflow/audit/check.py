"""The whole audit of a log, in one pass: decisions in order, and with each what caused it and what it caused.

What is held at a time is the books of the symbols, open orders, some ids, and every command and ruling; not the log.

What Kafka alone cannot prove, and a changed and resealed log could therefore hide: what no other record says again (the
forecasts behind a decision, its code digest, the account's CVaR, the moment at which an order that rests is filled);
and, at the end of their topics, a ruling that nothing has come up to or a command that nothing has ruled on. A dead
letter written twice is legal.
"""
from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from sigmaflow.audit import frontiers, inputs, rulings
from sigmaflow.audit.decisions import Rules, Sequence
from sigmaflow.audit.decode import Decoder, Message
from sigmaflow.audit.findings import DIFFERING, DOUBLED, LIMIT, LOST, Finding, Findings, Weight
from sigmaflow.audit.inputs import Inputs, Partition
from sigmaflow.audit.intents import Intents
from sigmaflow.audit.ledger import Ledger
from sigmaflow.audit.log import DEAD, DECISIONS, EQUITY, FILLS, INTENTS, TICKS, Record, Source
from sigmaflow.audit.sequence import InOrder
from sigmaflow.audit.stream import of_account

UNPROVEN = ("forecasts, code digests, account CVaR and when an order that rests is filled (hashes seal them, no more)",
            "the end of a topic: a ruling that nothing has come up to yet, a command that nothing has ruled on yet")
"""What the verdict does not cover, in words for whoever reads it."""


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


def audit(log: Source, complete: bool = False, decoder: Decoder | None = None, limit: int = LIMIT) -> Report:
    """Check every record of a log.

    `complete` says that no job is behind: an input without a decision is then lost and not pending. `decoder` is kept
    from log to log by a caller that audits many of the same schemas.
    """
    began = time.perf_counter()
    counted = _Counted(log)
    return _Audit(counted, complete, decoder or Decoder(log.schemas), Findings(limit)).run(began)


class _Counted:
    """A source that counts its records, each the first time that it is read."""

    def __init__(self, log: Source) -> None:
        self._log, self.schemas, self.starts = log, log.schemas, log.starts
        self.partitions = log.partitions
        self._read: dict[tuple[str, int], int] = {}

    @property
    def size(self) -> int:
        """Records read."""
        return sum(self._read.values())

    def stream(self, topic: str, partition: int) -> Iterator[Record]:
        """Records of a partition in order."""
        for number, record in enumerate(self._log.stream(topic, partition), 1):
            self._read[topic, partition] = max(number, self._read.get((topic, partition), 0))
            yield record


class _Audit:
    """One pass over one log."""

    def __init__(self, log: _Counted, complete: bool, decoder: Decoder, findings: Findings) -> None:
        self._log, self._complete, self._decoder, self._findings = log, complete, decoder, findings
        self._inputs = Inputs()
        self._rulings = rulings.load(log, decoder, findings, complete)
        self._account = self._whose()
        self._frontier = frontiers.check(log, decoder, self._account, findings)
        self._partitions = {n: self._partition(n) for n in {*log.partitions(TICKS), *self._letters()}}
        self._ledger: Ledger | None = None

    def run(self, began: float) -> Report:
        findings, inputs_ = self._findings, self._inputs
        decisions, rules = Sequence(self._messages(DECISIONS), findings), Rules(findings)
        intents = Intents(self._messages(INTENTS), self._log.starts.get((INTENTS, 0), 0) > 0, findings)
        fills = InOrder(FILLS, "fill_id", self._messages(FILLS), findings)
        equity = InOrder(EQUITY, "account_seq", self._messages(EQUITY), findings)
        before, settled = decisions.end, True
        for m, whole in decisions:
            row, config = m.row, self._rulings.config(m.row["account_seq"])
            partition = self._partitions.get(row["partition"])
            if partition is None:
                partition = self._partitions[row["partition"]] = self._partition(row["partition"])
            tick = partition.accept(m, whole, before)
            self._commanded(m)
            rules.check(m, tick, config)
            intents.check(m, tick, config)
            if config is None:
                settled = self._unsettled(m, settled)
            else:
                self._ledger = self._ledger or Ledger(fills, equity, config, findings)
                self._ledger.check(m, whole, tick, config)
            before = m.position
        inputs_.pending += intents.finish(decisions.last, self._complete) + fills.finish(self._complete)
        inputs_.pending += equity.finish(self._complete)
        self._waited(rules.place, before)
        counts = findings.counts
        return Report(self._log.size, inputs_.accepted, inputs_.duplicate, inputs_.rejected, inputs_.repeats,
                      inputs_.pending, counts[LOST], counts[DOUBLED], counts[DIFFERING], findings.listed(),
                      time.perf_counter() - began)

    def _messages(self, topic: str) -> Iterator[Message]:
        parts = (self._decoder.messages(self._log, topic, p) for p in self._log.partitions(topic))
        return of_account((m for part in parts for m in part), self._account, self._findings)

    def _partition(self, number: int) -> Partition:
        return Partition(number, self._log, self._decoder, self._rulings, self._inputs, self._findings)

    def _letters(self) -> set[int]:
        parts = (self._decoder.messages(self._log, DEAD, p) for p in self._log.partitions(DEAD))
        return inputs.letters((m for part in parts for m in part), self._findings)

    def _whose(self) -> str:
        """The account of the run: that of its settings, or of its first decision that says it twice."""
        for _, config in self._rulings.configs:
            return config.account
        for p in self._log.partitions(DECISIONS):
            for m in self._decoder.messages(self._log, DECISIONS, p):
                if not m.fault and m.key == m.row["account"].encode():
                    return str(m.row["account"])
        return ""

    def _commanded(self, m: Message) -> None:
        """A decision obeys the command that a ruling puts in its place, and no other."""
        wanted, found = self._rulings.command(m.row["account_seq"]), m.row["command"]
        if found != wanted:
            self._findings.differs(m, "the command is that of a ruling", found, wanted)
        if found != wanted and wanted == rulings.NONE:
            self._findings.lost(self._rulings.last, "a command that was obeyed has a ruling", f"none for {m.position}",
                                "one after this")

    def _unsettled(self, m: Message, settled: bool) -> bool:
        """The settings of a run are in the log; told once for a run of decisions without any. Gives False."""
        if settled:
            self._findings.lost(self._rulings.last, "the settings of a run are in the log", f"none for {m.position}",
                                f"a ruling with the settings of {m.row['config_digest']}", Weight.SEQUENCE)
        return False

    def _waited(self, place: tuple[int, int], position: str) -> None:
        """The last tick was waited for: every other partition was behind it, or a frontier said that it is quiet."""
        for number, partition in sorted(self._partitions.items()):
            order = partition.finish(position, self._complete)
            if number != place[1] and (order, number) < place and number in self._log.partitions(TICKS):
                self._findings.lost(self._frontier, "a tick waits for every partition", f"{number} is at {order}",
                                    f"a frontier of it at {place[0]} or above, after this")
