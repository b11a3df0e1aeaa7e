"""The records of one account, topic by topic, in the account's order."""
from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sigmaflow.audit.decode import Message
from sigmaflow.audit.findings import Findings
from sigmaflow.audit.log import DECISIONS, EQUITY, FILLS, INTENTS

ACCOUNT_TOPICS = (DECISIONS, INTENTS, FILLS, EQUITY)
ID = {INTENTS: "intent_id", FILLS: "fill_id", EQUITY: "account_seq"}
"""What no two records of a topic share."""

CAUSE = ("account", "account_seq", "venue", "symbol", "seq", "tick_id", "partition", "offset", "ts_event", "ts_order")
"""Fields that every record of an account has of the tick that caused it."""


@dataclass
class InOrder:
    """Records of one topic, repeats left out. `last` is the last account sequence number of the topic."""

    topic: str
    messages: list[Message] = field(default_factory=list)
    _at: dict[int, list[Message]] = field(default_factory=lambda: defaultdict(list))
    _seqs: list[int] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """Take the next record."""
        seq = message.row["account_seq"]
        self.messages.append(message)
        self._at[seq].append(message)
        self._seqs.append(max(seq, self._seqs[-1]) if self._seqs else seq)

    def at(self, seq: int) -> Sequence[Message]:
        """Records caused by the tick with this place in the account's order."""
        return self._at.get(seq, ())

    def before(self, seq: int) -> str:
        """Position of the record after which one of this place would be."""
        at = bisect_left(self._seqs, seq)
        return self.messages[at - 1].position if at else f"{self.topic}:0:0"


def accounts(messages: dict[str, list[Message]], findings: Findings) -> dict[str, dict[str, list[Message]]]:
    """Decoded records by account and topic. The key of each must be its account."""
    readable = {topic: [m for m in held if _readable(m, findings)] for topic, held in messages.items()}
    counts = Counter(m.row["account"] for held in readable.values() for m in held)
    found: dict[str, dict[str, list[Message]]] = {}
    for topic, held in readable.items():
        for m in held:
            found.setdefault(_account(m, counts, findings), {t: [] for t in ACCOUNT_TOPICS})[topic].append(m)
    return found


def _readable(m: Message, findings: Findings) -> bool:
    if m.fault:
        findings.damaged(m, "every record can be decoded", m.fault, "a message of a registered schema")
    return not m.fault


def _account(m: Message, counts: Counter[str], findings: Findings) -> str:
    """The account a record belongs to: what its value says, unless only its value says so."""
    account = str(m.row["account"])
    if m.key == account.encode():
        return account
    findings.damaged(m, "the key is the account", m.key, account.encode())
    return account if counts[account] > 1 or m.key is None else m.key.decode(errors="replace")


def in_order(topic: str, messages: Sequence[Message], by: str, findings: Findings) -> InOrder:
    """Records of one topic whose field `by` must not fall, and which must not repeat."""
    found, seen, last = InOrder(topic), set[int](), 0
    numbers = [m.row[by] for m in messages]
    for i, (m, number) in enumerate(zip(messages, numbers, strict=True)):
        if m.row[ID[topic]] in seen:
            findings.doubled(m, f"{ID[topic]} is unique", m.row[ID[topic]], "no record before with it")
            continue
        if number < last or _leaps(numbers, i, last):
            findings.doubled(m, f"{by} rises", number, f"at least {last} and at most that of the next record")
        else:
            last = number
        seen.add(m.row[ID[topic]])
        found.add(m)
    return found


def _leaps(numbers: Sequence[int], i: int, last: int) -> bool:
    """Whether it is this number that is too high, and not the next that is too low."""
    return i + 1 < len(numbers) and last <= numbers[i + 1] < numbers[i]


def same_cause(message: Message, decision: Message, findings: Findings) -> None:
    """A record names the same tick as the decision with its place in the order."""
    for name in CAUSE:
        if message.row[name] != decision.row[name]:
            findings.differs(message, f"{name} is that of the decision", message.row[name], decision.row[name])
