"""Records of one topic of an account in its order, handed out by the tick that caused them."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from sigmaflow.audit.decode import Message
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.stream import Stream

REMEMBERED = 64
"""Ids of the latest records that none may have again; an older one stands out by its place."""

CAUSE = ("account", "account_seq", "venue", "symbol", "seq", "tick_id", "partition", "offset", "ts_event", "ts_order")
"""Fields that every record of an account has of the tick that caused it."""


class InOrder:
    """Records of one topic whose account_seq does not fall, and whose `identity` does not repeat."""

    def __init__(self, topic: str, identity: str, messages: Iterator[Message], findings: Findings) -> None:
        self._identity, self._stream, self._findings = identity, Stream(messages), findings
        self._last = 0
        self._seen = deque[int](maxlen=REMEMBERED)
        self._early: dict[int, list[Message]] = {}
        """Records before their place, by the place that they say."""
        self.before = self._position = f"{topic}:0:0"
        """Position of the last record before those taken last."""

    def take(self, seq: int) -> list[Message]:
        """Records of this place in the account's order, places rising; what lies before it has no place."""
        found = self._early.pop(seq, [])
        self.before = self._position
        while (m := self._stream.peek()) is not None and (m.row["account_seq"] <= seq or self._leaps(m)):
            self._stream.next()
            number = m.row["account_seq"]
            if m.row[self._identity] in self._seen:
                self._findings.doubled(m, f"{self._identity} is unique", m.row[self._identity],
                                       "no record before with it")
                continue
            self._seen.append(m.row[self._identity])
            if number > seq or number < self._last:
                self._findings.doubled(m, "account_seq rises", number,
                                       f"at least {self._last} and at most that of the next record")
                if number > seq:
                    self._early.setdefault(number, []).append(m)
                continue
            self._last, self._position = number, m.position
            if number == seq:
                found.append(m)
            else:
                self.before = m.position
                self._unclaimed(m)
        return found

    def _leaps(self, m: Message) -> bool:
        """Whether it is this number that is too high, and not the next that is too low."""
        following = self._stream.peek(1)
        return following is not None and self._last <= following.row["account_seq"] < m.row["account_seq"]

    def _unclaimed(self, m: Message) -> None:
        self._findings.differs(m, "a decision has its account_seq", m.row["account_seq"], "that of a decision",
                               Weight.ABSENCE)

    def finish(self, complete: bool) -> int:
        """Records behind the last decision, which are pending; with `complete` these are faults."""
        left = 0
        for m in self._stream:
            left += 1
            if complete:
                self._unclaimed(m)
        return 0 if complete else left


def same_cause(message: Message, decision: Message, findings: Findings) -> None:
    """A record names the same tick as the decision with its place in the order."""
    for name in CAUSE:
        if message.row[name] != decision.row[name]:
            findings.differs(message, f"{name} is that of the decision", message.row[name], decision.row[name])
