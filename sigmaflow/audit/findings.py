"""What an audit found, each fault with the position of the record it lies in."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from sigmaflow.audit.decode import Message

LIMIT = 20
"""Findings an audit lists; all are counted."""

LOST, DOUBLED, DIFFERING = "lost", "doubled", "differing"


class Weight(IntEnum):
    """How directly a finding points at the record it names; the most direct are listed first."""

    DAMAGED = 0
    """The record contradicts itself: bytes, key or hash."""
    SEQUENCE = 1
    """A running number of its topic is missing, repeated or out of order."""
    CONTRADICTION = 2
    """Another record says otherwise."""
    ABSENCE = 3
    """Another record asks for one that is not there."""


class Finding(NamedTuple):
    """One fault. A record that is missing is named by the one after which it should be."""

    position: str
    rule: str
    found: str
    expected: str
    kind: str
    weight: Weight

    def __str__(self) -> str:
        return f"{self.position}: {self.rule}: found {self.found}, expected {self.expected}"


@dataclass
class Findings:
    """Collects findings. Counts all, and keeps `limit` of each weight."""

    limit: int = LIMIT
    counts: Counter[str] = field(default_factory=Counter)
    _topics: Counter[str] = field(default_factory=Counter)
    _held: dict[Weight, list[Finding]] = field(default_factory=lambda: {weight: [] for weight in Weight})

    def blamed(self, topic: str) -> int:
        """Findings so far in a topic."""
        return self._topics[topic]

    def add(self, position: str, rule: str, found: object, expected: object, kind: str, weight: Weight) -> None:
        """Note a fault."""
        self.counts[kind] += 1
        self._topics[position.partition(":")[0]] += 1
        if len(self._held[weight]) < self.limit:
            self._held[weight].append(Finding(position, rule, _short(found), _short(expected), kind, weight))

    def equal(self, message: Message, rule: str, found: Any, expected: Any) -> None:
        """A value of a record must be what other records make it."""
        if found != expected:
            self.differs(message, rule, found, expected)

    def differs(self, message: Message, rule: str, found: object, expected: object,
                weight: Weight = Weight.CONTRADICTION) -> None:
        """A record is not what it must be."""
        self.add(message.position, rule, found, expected, DIFFERING, weight)

    def damaged(self, message: Message, rule: str, found: object, expected: object) -> None:
        """A record contradicts itself."""
        self.add(message.position, rule, found, expected, DIFFERING, Weight.DAMAGED)

    def lost(self, position: str, rule: str, found: object, expected: object, weight: Weight = Weight.ABSENCE) -> None:
        """A record should be at or after a position and is not."""
        self.add(position, rule, found, expected, LOST, weight)

    def doubled(self, message: Message, rule: str, found: object, expected: object,
                weight: Weight = Weight.SEQUENCE) -> None:
        """A record is there a second time, or behind its place."""
        self.add(message.position, rule, found, expected, DOUBLED, weight)

    def listed(self) -> list[Finding]:
        """The first `limit` findings, the most direct first."""
        return [finding for weight in Weight for finding in self._held[weight]][:self.limit]


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
