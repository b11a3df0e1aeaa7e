"""Records one after the other, with a look at those that follow."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from sigmaflow.audit.decode import Message
from sigmaflow.audit.findings import Findings
from sigmaflow.audit.hashes import CHAIN_DIGITS, chained

CHAIN_BYTES = CHAIN_DIGITS + 1
"""The last field of a chained record: a length of one byte, and the digits."""


class Stream:
    """An iterator of messages that can be looked into."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages, self._ahead = messages, deque[Message]()

    def peek(self, place: int = 0) -> Message | None:
        """The next message, or the one `place` behind it; None where there are no more."""
        while len(self._ahead) <= place:
            found = next(self._messages, None)
            if found is None:
                return None
            self._ahead.append(found)
        return self._ahead[place]

    def next(self) -> Message:
        """Take the next message. Raises StopIteration where there is none."""
        return self._ahead.popleft() if self._ahead else next(self._messages)

    def __iter__(self) -> Iterator[Message]:
        while self.peek():
            yield self.next()


def readable(messages: Iterator[Message], findings: Findings) -> Iterator[Message]:
    """Messages that can be decoded; the others are found."""
    for m in messages:
        if m.fault:
            findings.damaged(m, "every record can be decoded", m.fault, "a message of a registered schema")
        else:
            yield m


def of_account(messages: Iterator[Message], account: str, findings: Findings) -> Iterator[Message]:
    """Messages that can be decoded, of the one account that a run has: key and value must say so."""
    for m in readable(messages, findings):
        if m.key != account.encode():
            findings.damaged(m, "the key is the account", m.key, account.encode())
        if m.row["account"] != account:
            findings.damaged(m, "the account is that of the run", m.row["account"], account)
        yield m


def parts(m: Message) -> tuple[bytes, bytes]:
    """What the hash chain goes over, and its value, as a chained record has them."""
    return m.body[:-CHAIN_BYTES], m.body[-CHAIN_DIGITS:]


class Chain:
    """The hash chain of one scope of a small log. `known` is False where retention has removed its beginning."""

    def __init__(self, known: bool, findings: Findings) -> None:
        self._last: bytes | None = b"" if known else None
        self._findings = findings

    def check(self, m: Message) -> bool:
        """Hold the next record against it; whether the record is whole and in its place."""
        body, said = parts(m)
        wanted = said if self._last is None else chained(self._last, body)
        if wanted != said:
            self._findings.damaged(m, "the hash chain is whole", said.decode(errors="replace"), wanted.decode())
        self._last = said
        return wanted == said
