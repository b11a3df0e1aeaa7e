"""`replay --from RUN --verify`: compute a recorded run again from its log, and compare every byte that it wrote.

The recomputation runs the same workers without Flink, in one process: other micro-batches, other turns, no cluster. A
recorded run that is still going, or was stopped, is a prefix of it.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.chain import plans
from jobs.chain.inprocess import Chain
from jobs.chain.messages import DECISIONS, RecordReader
from sigmaflow.errors import UserError
from sigmaflow.output import console
from sigmaflow.recording import OUTPUTS, Message, Outputs, Recording, read
from sigmaflow.settings import Settings, load
from sigmaflow.tally import Tally
from udfs import profiles
from udfs.models import Models
from udfs.profiles import Profile

LARGEST = 2_000
"""Messages of the largest micro-batch of a recomputation."""
OF_CODE = ("code_digest", "chain")
"""Fields of a decision that tell the code which made it: not compared where a run was recorded by other code."""


@dataclass(frozen=True)
class Difference:
    """Where two runs part: the first message of a topic and key that is not the same."""

    position: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.position}: recorded {self.found}, recomputed {self.wanted}"


@dataclass(frozen=True)
class Verdict:
    """Messages compared; those only in the recomputation; repeats of exactly-once topics; where the two differ."""

    cases: int
    missing: int
    doubled: int
    differences: list[Difference]


def run(namespace: str, settings: Settings | None = None, complete: bool = False) -> bool:
    """Verify and print; whether everything was the same. `complete`: the record must also reach its input's end."""
    s, tally = settings or load(), Tally()
    recorded = read(s, namespace)
    profile = profile_of(recorded)
    again = recompute(recorded, profile, models=models_of(recorded, profile, s))
    verdict = compare(recorded, again)
    for difference in verdict.differences:
        console().print(f"[red]differs[/] {difference}")
    tally.cases, tally.doubled = verdict.cases, verdict.doubled
    tally.lost = verdict.missing if complete else 0
    tally.differing = tally.found = len(verdict.differences)
    if verdict.missing and not complete:
        console().print(f"{verdict.missing:,} messages are not written yet; what is there was compared")
    print(tally.line(), flush=True)
    return tally.clean


def profile_of(recorded: Recording) -> Profile:
    """The profile that a run was made under. Raises UserError where it has made nothing, or under other settings."""
    decision = recorded.decision()
    if decision is None:
        raise UserError("replay", f"{recorded.name(DECISIONS)} must hold decisions", "it holds none",
                        "let the chain run, then verify")
    profile = profiles.get(str(decision["strategy"]))
    if profile.digest != decision["config_digest"]:
        raise UserError("replay", f"profile {profile.name} must have the settings it was recorded with",
                        f"digest {profile.digest}, recorded {decision['config_digest']}",
                        "check out the code that recorded the run")
    return profile


def models_of(recorded: Recording, profile: Profile, settings: Settings) -> Models:
    """The models that rulings of a run name. Raises UserError where one is not in the model directory."""
    models = Models(profile, settings.model_dir)
    for ruling in recorded.rulings:
        models.number(ruling.model)
    return models


def recompute(recorded: Recording, profile: Profile, jobs: str = "one", seed: int = 1,
              models: Models | None = None) -> Outputs:
    """All that the chain writes for the recorded input."""
    chain = Chain(profile, len(recorded.ticks), LARGEST, seed, taps=plans.TAPS, known=recorded.contracts, models=models)
    chain.run(plans.JOBS if jobs == "six" else ["pipeline"], recorded.ticks, recorded.frontiers, recorded.stamps,
              recorded.rulings)
    return {topic: {key: [Message(value, f"{topic} message {n}") for n, value in enumerate(values)]
                    for key, values in by_key.items()} for topic, by_key in chain.keyed.items()}


def compare(recorded: Recording, again: Outputs) -> Verdict:
    """Hold what was recorded against a recomputation. Topics that a run did not write (taps) are left out."""
    cases = missing = doubled = 0
    differences: list[Difference] = []
    same = _Same(recorded)
    for topic in OUTPUTS:
        written = recorded.outputs.get(topic, {})
        for key in sorted({*written, *(again.get(topic, {}) if written or topic not in plans.TAPS else {})}):
            left, right = written.get(key, []), again.get(topic, {}).get(key, [])
            doubled += len(left) - len({m.value for m in left})
            cases += len(left)
            missing += max(0, len(right) - len(left))
            first = same.first_difference(topic, left, right)
            if first is not None:
                differences.append(_difference(recorded, topic, left, right, first))
    return Verdict(cases, missing, doubled, differences)


class _Same:
    """When two messages are the same: their bytes are, or, from the first decision of other code on, all but what names
    the code.
    """

    def __init__(self, recorded: Recording) -> None:
        self._foreign = False
        self._reader = RecordReader(recorded.contracts.writers(DECISIONS))

    def first_difference(self, topic: str, left: list[Message], right: list[Message]) -> int | None:
        """Place of the first message of `left` that is not the same in `right`; None where it is a prefix."""
        for n, message in enumerate(left):
            if n >= len(right) or not (message.value == right[n].value or self._alike(topic, message, right[n])):
                return n
        return None

    def _alike(self, topic: str, left: Message, right: Message) -> bool:
        if topic != DECISIONS:
            return False
        try:
            recorded, wanted = self._reader.read(left.value), self._reader.read(right.value)
        except Exception:  # whatever damaged bytes lead the decoder into, they are not the same
            return False
        if not self._foreign and recorded["code_digest"] != wanted["code_digest"]:
            self._foreign = True
            console().print(f"code {recorded['code_digest']} made decisions from {left.position} on, this is "
                            f"{wanted['code_digest']}: compared but for {' and '.join(OF_CODE)}")
        return self._foreign and _stripped(recorded) == _stripped(wanted)


def _stripped(decision: dict[str, Any]) -> str:
    return repr({name: value for name, value in decision.items() if name not in OF_CODE})


def _difference(recorded: Recording, topic: str, left: list[Message], right: list[Message], n: int) -> Difference:
    reader = RecordReader(recorded.contracts.writers(topic))
    if n >= len(right):
        return Difference(left[n].position, "a message", "nothing")
    try:
        found, wanted = reader.read(left[n].value), reader.read(right[n].value)
    except Exception as error:  # whatever the bytes lead the decoder into is what was found
        return Difference(left[n].position, f"bytes that are no message ({error})", "a message")
    fields: dict[str, tuple[Any, Any]] = {name: (found.get(name), wanted[name]) for name in wanted
                                          if repr(found.get(name)) != repr(wanted[name])}
    name, (was, should) = next(iter(fields.items()), ("bytes", (left[n].value.hex(), right[n].value.hex())))
    return Difference(left[n].position, f"{name} = {was!r}", f"{should!r}")
