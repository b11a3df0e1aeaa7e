"""What people tell a running chain, and from where on it holds.

A command arrives by a clock, so its place is not settled by the log. The operator that acts on it therefore writes a
Ruling first: from this tick on. Every restart and every replay reads the rulings and does the same. A place is always
beyond all that was ever written, so that nothing that somebody has read is taken back.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.codec import HEADER
from schemas.packed import Packed
from udfs.profiles import Profile
from udfs.symbols import START, digests

ACCOUNT = -1
"""Scope of a ruling that holds for the account; a shard's is its partition."""

STATES = ("none", "resume", "reduce", "halt")
"""Commands to the account by the number that the ledger's stage knows them by."""
MODEL, PROFILE = ("model",), ("profile",)
GROUPS = {"model": "model", "profile": "profile", "schema_unknown": "schema", "schema_known": "schema",
          "indicator": "indicator"}
"""What a kind of ruling is about; the others are about the account's state. One worker rules on one group of a scope.
"""
NOBODY = -1
"""Command of a ruling that nobody gave one for."""


LATER = {"indicator": "", "symbol": "", "value": 0.0, "ts_known": 0, "ts_until": 0, "command_hash": 0,
         "config_digest": "", "settings": ""}
"""Fields of a ruling that the first version of its contract had not."""


@dataclass(frozen=True)
class Command:
    """A command as it was given: its offset in commands.v1, what is to be done, with which model, and the hash of its
    bytes.
    """

    offset: int
    kind: str
    model: str = ""
    hash: int = 0


def command(offset: int, value: bytes, record: Mapping[str, Any]) -> Command:
    """From a message of commands.v1, its bytes and what they say."""
    hashed = np.full(1, START, np.uint64)
    digests(Packed.of([value]), HEADER, np.zeros(1, np.int64), hashed)
    return Command(offset, record["kind"], record["model_digest"], int(hashed.view(np.int64)[0]))


@dataclass(frozen=True)
class Indicator:
    """A slow value as it was made: its offset in indicators.v1; event times from which and to which it is good (ns)."""

    offset: int
    name: str
    symbol: str
    value: float
    known: int
    until: int


@dataclass(frozen=True)
class Ruling:
    """From `first` on (account_seq, or offset of a tick in `partition`) a command holds, a schema id is judged, a slow
    value is read, or the account is run with the settings.
    """

    command: int
    kind: str
    model: str
    partition: int
    first: int
    schema_id: int = 0
    indicator: str = ""
    symbol: str = ""
    value: float = 0.0
    known: int = 0
    until: int = 0
    command_hash: int = 0
    config_digest: str = ""
    settings: str = ""

    def record(self, account: str) -> dict[str, Any]:
        """As a message of rulings.v1."""
        return {"account": account, "command": self.command, "kind": self.kind, "model_digest": self.model,
                "schema_id": self.schema_id, "partition": self.partition, "first": self.first,
                "indicator": self.indicator, "symbol": self.symbol, "value": self.value, "ts_known": self.known,
                "ts_until": self.until, "command_hash": self.command_hash, "config_digest": self.config_digest,
                "settings": self.settings}


def ruling(record: dict[str, Any]) -> Ruling:
    """From a message of rulings.v1.

    >>> ruling(Ruling(3, "halt", "", ACCOUNT, 17).record("paper")).first
    17
    """
    return Ruling(record["command"], record["kind"], record["model_digest"], record["partition"], record["first"],
                  record["schema_id"], *(record.get(name, none) for name, none in LATER.items()))


def group(record: Mapping[str, Any]) -> tuple[int, str]:
    """Scope and subject of a ruling, as a message: what one worker rules on, and one hash chain goes over.

    >>> group(Ruling(3, "halt", "", ACCOUNT, 17).record("paper"))
    (-1, 'state')
    """
    return record["partition"], GROUPS.get(record["kind"], "state")


class Channel(Protocol):
    """Where commands come from and rulings go to."""

    def commands(self) -> Sequence[Command]:
        """Every command that is known by now, in the order in which they were given."""

    def indicators(self) -> Sequence[Indicator]:
        """Every slow value that is known by now, in the order in which they were made."""

    def rulings(self) -> list[Ruling]:
        """Every ruling written so far."""

    def rule(self, rulings: Sequence[Ruling]) -> None:
        """Make rulings durable, or raise."""


class Rulings:
    """Commands of some kinds as they hold in one scope. `place` gives the first place that a new one may hold from,
    None where it cannot be told yet.
    """

    def __init__(self, channel: Channel, scope: int, kinds: Sequence[str], place: Callable[[], int | None]) -> None:
        self._channel, self._scope, self._kinds, self._place = channel, scope, kinds, place
        self._held = [r for r in channel.rulings() if r.partition == scope and r.kind in kinds]
        self._ruled = {r.command for r in self._held}

    def learn(self) -> None:
        """Rule on what was commanded since the last time."""
        new = [c for c in self._channel.commands() if c.offset not in self._ruled and c.kind in self._kinds]
        first = self._place() if new else None
        if first is not None:
            self._rule([Ruling(c.offset, c.kind, c.model, self._scope, first, command_hash=c.hash) for c in new])

    def begin(self, kind: str, model: str, fresh: bool) -> bool:
        """Rule on what a job was submitted with, unless there was a ruling before: a restart must not undo a command.

        It holds from 0 on where nothing was ever done. Gives False where the place cannot be told yet.
        """
        if self._held:
            return True
        first = 0 if fresh else self._place()
        if first is not None:
            self._rule([Ruling(NOBODY, kind, model, self._scope, first)])
        return first is not None

    def declare(self, profile: Profile, first: int) -> None:
        """Rule that the account is run with a profile from a place on, unless its settings are those in force there."""
        before = next((r.config_digest for r in reversed(self._held) if r.first <= first), None)
        if before != profile.digest:
            self._rule([Ruling(NOBODY, *PROFILE, "", self._scope, first, config_digest=profile.digest,
                               settings=profile.text)])

    def _rule(self, made: list[Ruling]) -> None:
        self._channel.rule(made)
        self._held += made
        self._ruled |= {r.command for r in made}

    def numbers(self, first: int, count: int) -> NDArray[np.int64]:
        """The account's command for each of `count` places from `first` on, 0 for none; the last one of a place counts.
        """
        out = np.zeros(count, np.int64)
        for r in self._held:
            if 0 <= r.first - first < count:
                out[r.first - first] = STATES.index(r.kind)
        return out

    def models(self, places: NDArray[np.int64], number: Callable[[str], int], before: int) -> NDArray[np.int64]:
        """Number of the model that holds at each place; `before` where none was commanded."""
        out = np.full(len(places), before, np.int64)
        for r in self._held:
            out[places >= r.first] = number(r.model)
        return out
