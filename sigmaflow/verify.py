"""`replay --from RUN --verify`: compute a recorded run again from its log, and compare every byte that it wrote.

The recomputation runs the same workers without Flink, in one process: other micro-batches, other turns, no cluster. Log
and recomputation are streams held side by side, so their length does not matter. A recorded run that is still going, or
was stopped, is a prefix of it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import schemas
from jobs.chain import plans
from jobs.chain.commands import Ruling, ruling
from jobs.chain.contracts import Contracts, lookup
from jobs.chain.messages import DECISIONS, EXACTLY_ONCE, FRONTIERS, RULINGS, RecordReader
from jobs.chain.shard import DEAD, TICKS
from jobs.chain.streamed import Streamed, Tick
from sigmaflow.audit.log import Record, Source
from sigmaflow.audit.log import read as read_log
from sigmaflow.errors import UserError
from sigmaflow.output import console
from sigmaflow.settings import Settings, load
from sigmaflow.tally import Tally
from udfs import profiles
from udfs.models import Models
from udfs.order import Frontier
from udfs.profiles import Profile

OUTPUTS = (*plans.TAPS, DEAD, *EXACTLY_ONCE)
"""Everything that the chain writes and that its input settles."""

LARGEST = 2_000
"""Messages of the largest micro-batch of a recomputation."""
OF_CODE = ("code_digest", "chain")
"""Fields of a decision that tell the code which made it: not compared where a run was recorded by other code."""
REPEATS = 1 << 16
"""Messages of a partition of a topic that is at-least-once which a restart may have written again: those since the last
checkpoint."""

Change = Callable[[int, Record], bytes | None]
"""What a tick of a partition is taken for."""


@dataclass(frozen=True)
class Difference:
    """Where two runs part: the first message that is not the same of a topic's partition (of dead letters: of their
    input's).
    """

    position: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.position}: recorded {self.found}, recomputed {self.wanted}"


@dataclass
class Verdict:
    """Messages compared; those only in the recomputation; repeats of exactly-once topics; where the two differ."""

    cases: int = 0
    missing: int = 0
    doubled: int = 0
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True)
class Recorded:
    """A run as it lies in Kafka. `namespace` is that of its topics, for positions."""

    log: Source
    contracts: Contracts
    namespace: str = ""

    def rows(self, topic: str) -> Iterator[dict[str, Any]]:
        """Decoded messages of a topic, partition by partition."""
        reader = RecordReader(self.contracts.writers(topic))
        for partition in self.log.partitions(topic):
            for r in self.log.stream(topic, partition):
                if row := reader.own(r.value, topic, partition, r.offset):
                    yield row

    def rulings(self) -> list[Ruling]:
        """All rulings: as many as there were commands, contracts and settings."""
        return [ruling(row) for row in self.rows(RULINGS)]

    def frontiers(self, shard: int) -> Iterator[Frontier]:
        """Frontiers of one partition."""
        return (Frontier(row["partition"], row["offset"], row["ts_order"]) for row in self.rows(FRONTIERS)
                if row["partition"] == shard)

    def ticks(self, shard: int, change: Change | None) -> Iterator[Tick]:
        """One partition of market.ticks.v1. Raises UserError where it does not begin at its first offset."""
        for due, r in enumerate(self.log.stream(TICKS, shard)):
            if r.offset != due:
                raise UserError("replay", f"{schemas.in_run(TICKS, self.namespace)} must hold all of its messages from "
                                "offset 0 on", f"partition {shard} goes from {due} to {r.offset}",
                                "replay a run that the topic's retention has not cut, or start it from a savepoint")
            yield Tick(change(shard, r) if change else r.value, r.offset, r.stamp)


def run(namespace: str, settings: Settings | None = None, complete: bool = False) -> bool:
    """Verify and print; whether everything was the same. `complete`: the record must also reach its input's end."""
    s, tally = settings or load(), Tally()
    verdict = check(s, namespace)
    for difference in verdict.differences:
        console().print(f"[red]differs[/] {difference}")
    tally.cases, tally.doubled = verdict.cases, verdict.doubled
    tally.lost = verdict.missing if complete else 0
    tally.differing = tally.found = len(verdict.differences)
    if verdict.missing and not complete:
        console().print(f"{verdict.missing:,} messages are not written yet; what is there was compared")
    print(tally.line(), flush=True)
    return tally.clean


def check(settings: Settings, namespace: str, inputs: str | None = None, change: Change | None = None) -> Verdict:
    """Compute a run again and hold what is in Kafka against it. `inputs` names the run that it computed again itself.

    Raises UserError for a broker, registry or topic that is not there, a log that retention has cut, or settings that
    are not those of this code.
    """
    recorded = opened(settings, namespace, inputs)
    profile = profile_of(recorded)
    return compare(recorded, profile, models_of(recorded, profile, settings), change)


def opened(settings: Settings, namespace: str, inputs: str | None = None) -> Recorded:
    """A run up to its present end: results before input, so that all that led to them is there."""
    contracts = lookup(settings.registry.url, schemas.topics())
    return Recorded(read_log(settings, namespace, inputs, (*OUTPUTS, RULINGS, FRONTIERS, TICKS)), contracts, namespace)


def profile_of(recorded: Recorded) -> Profile:
    """The profile that a run was made under. Raises UserError where it has made nothing, or under other settings."""
    decision = next(recorded.rows(DECISIONS), None)
    if decision is None:
        raise UserError("replay", f"{schemas.in_run(DECISIONS, recorded.namespace)} must hold decisions",
                        "it holds none", "let the chain run, then verify")
    profile = profiles.get(str(decision["strategy"]))
    if profile.digest != decision["config_digest"]:
        raise UserError("replay", f"profile {profile.name} must have the settings it was recorded with",
                        f"digest {profile.digest}, recorded {decision['config_digest']}",
                        "check out the code that recorded the run")
    return profile


def models_of(recorded: Recorded, profile: Profile, settings: Settings) -> Models:
    """The models that rulings of a run name. Raises UserError where one is not in the model directory."""
    models = Models(profile, settings.model_dir)
    for made in recorded.rulings():
        models.number(made.model)
    return models


def compare(recorded: Recorded, profile: Profile, models: Models | None = None, change: Change | None = None,
            largest: int = LARGEST) -> Verdict:
    """Hold a recorded run against its recomputation. Topics that it did not write (taps) are left out."""
    verdict, same = Verdict(), _Same(recorded)
    shards = recorded.log.partitions(TICKS)
    written = {topic for topic in OUTPUTS if topic not in plans.TAPS or _any(recorded.log, topic)}
    tracks = {(topic, shard): _Track(recorded, topic, shard, same, verdict) for topic in OUTPUTS if topic in written
              for shard in (shards if topic == DEAD else recorded.log.partitions(topic))}
    again = Streamed(profile, recorded.contracts, [recorded.ticks(shard, change) for shard in shards],
                     [recorded.frontiers(shard) for shard in shards], recorded.rulings(), models, largest)
    for shard, emission in again:
        track = tracks.get((emission.topic, shard))
        if track:
            track.take_all(emission.values.values())
    for track in tracks.values():
        track.finish()
    return verdict


def _any(log: Source, topic: str) -> bool:
    return any(next(log.stream(topic, partition), None) for partition in log.partitions(topic))


class _Track:
    """Recorded messages of one topic and partition (of dead letters: their input's), beside recomputed ones."""

    def __init__(self, recorded: Recorded, topic: str, shard: int, same: _Same, verdict: Verdict) -> None:
        self._recorded, self._topic, self._same, self._verdict = recorded, topic, same, verdict
        self._records = self._letters(shard) if topic == DEAD else recorded.log.stream(topic, shard)
        self._partition = 0 if topic == DEAD else shard
        self._latest = np.zeros(1 if topic in EXACTLY_ONCE else REPEATS, np.int64)
        """Hashes of the latest messages, the oldest overwritten."""
        self._taken = 0
        self._apart = False

    def _letters(self, shard: int) -> Iterator[Record]:
        key = f"{TICKS}:{shard}".encode()
        return (r for r in self._recorded.log.stream(DEAD, 0) if r.key == key)

    def take_all(self, wanted: list[bytes]) -> None:
        """Hold the next recorded messages against the next recomputed ones."""
        for value in wanted:
            if not self._apart:
                self._take(value)

    def _take(self, wanted: bytes) -> None:
        found = self._next(wanted)
        if found is None:
            self._verdict.missing += 1
        elif not self._same(self._topic, found.value or b"", wanted, self._position(found)):
            self._differs(found, wanted)

    def finish(self) -> None:
        """What was recorded beyond the recomputation."""
        found = None if self._apart else self._next(None)
        if found is not None:
            self._differs(found, None)

    def _next(self, wanted: bytes | None) -> Record | None:
        """The next recorded message that is no repeat of one before."""
        for record in self._records:
            value = record.value or b""
            repeat = value != wanted and bool((self._latest == hash(value)).any())
            exactly = self._topic in EXACTLY_ONCE
            self._verdict.cases += not repeat or exactly
            if not repeat:
                self._latest[self._taken % len(self._latest)] = hash(value)
                self._taken += 1
                return record
            self._verdict.doubled += exactly
        return None

    def _position(self, record: Record) -> str:
        return f"{schemas.in_run(self._topic, self._recorded.namespace)}:{self._partition}:{record.offset}"

    def _differs(self, record: Record, wanted: bytes | None) -> None:
        self._apart = True
        told = self._same.told(self._topic, record.value or b"", wanted)
        self._verdict.differences.append(Difference(self._position(record), *told))


class _Same:
    """When two messages are the same: their bytes are, or, from the first decision of other code on, all but what names
    the code.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._foreign = False
        self._reader = {topic: RecordReader(recorded.contracts.writers(topic)) for topic in OUTPUTS}

    def __call__(self, topic: str, left: bytes, right: bytes, position: str) -> bool:
        if left == right:
            return True
        if topic != DECISIONS:
            return False
        try:
            recorded, wanted = self._reader[topic].read(left), self._reader[topic].read(right)
        except Exception:  # whatever damaged bytes lead the decoder into, they are not the same
            return False
        if not self._foreign and recorded["code_digest"] != wanted["code_digest"]:
            self._foreign = True
            console().print(f"code {recorded['code_digest']} made decisions from {position} on, this is "
                            f"{wanted['code_digest']}: compared but for {' and '.join(OF_CODE)}")
        return self._foreign and _stripped(recorded) == _stripped(wanted)

    def told(self, topic: str, left: bytes, right: bytes | None) -> tuple[str, str]:
        """What was recorded and what was recomputed: the first field that differs."""
        if right is None:
            return "a message", "nothing"
        try:
            found, wanted = self._reader[topic].read(left), self._reader[topic].read(right)
        except Exception as error:  # whatever the bytes lead the decoder into is what was found
            return f"bytes that are no message ({error})", "a message"
        name = next((name for name in wanted if repr(found.get(name)) != repr(wanted[name])), None)
        if name is None:
            return f"bytes = {left.hex()!r}", f"{right.hex()!r}"
        return f"{name} = {found.get(name)!r}", f"{wanted[name]!r}"


def _stripped(decision: dict[str, Any]) -> str:
    return repr({name: value for name, value in decision.items() if name not in OF_CODE})
