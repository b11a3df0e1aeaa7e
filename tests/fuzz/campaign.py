"""A fuzzing run: targets in turns until the cases or the time are used up."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from tests.fuzz.admission import Admission
from tests.fuzz.outcome import Faults, Outcome, smallest
from tests.fuzz.recordings import Files, Lines, kinds

MOST = 20
"""Misbehaving batches after which a run stops: more of them say nothing new."""


class Target(Protocol):
    """Something that takes bytes. `reached` rises when an input shows something new."""

    name: str

    @property
    def reached(self) -> int: ...

    def batch(self, size: int) -> list[Any]: ...

    def try_batch(self, inputs: Sequence[Any], /) -> Faults: ...

    def example(self, inputs: Sequence[Any], /) -> str: ...

    def parse(self, text: str, /) -> list[Any]: ...


@contextmanager
def targets(seed: int) -> Iterator[list[tuple[Target, int]]]:
    """Every target with its cases in one turn: half of them admission's, one in fifty a whole file."""
    with TemporaryDirectory(prefix="sigmaflow-fuzz-") as folder:
        made: list[tuple[Target, int]] = [(Admission(Random(f"{seed} admission")), 2_000)]
        made += [(Lines(Random(f"{seed} {kind.name}"), kind, Path(folder)), 240) for kind in kinds()]
        yield [*made, (Files(Random(f"{seed} files"), Path(folder)), 80)]


def run(cases: int, seed: int, seconds: float, progress: Callable[[Outcome], None]) -> Outcome:
    """Try this many cases, or fewer when the time is over first."""
    outcome, end = Outcome(), time.monotonic() + seconds
    with targets(seed) as held:
        while True:
            for target, size in held:
                if outcome.cases >= cases or len(outcome.examples) >= MOST or time.monotonic() > end:
                    return outcome
                turn(target, min(size, cases - outcome.cases), outcome)
                progress(outcome)


def turn(target: Target, size: int, outcome: Outcome) -> None:
    """One batch. What misbehaves is cut down, counted and taken out, and the rest is tried again."""
    inputs = target.batch(size)
    outcome.cases += size
    while inputs and len(outcome.examples) < MOST:
        faults = target.try_batch(inputs)
        if not faults:
            return
        bad = smallest(inputs, lambda kept: bool(target.try_batch(kept)))
        told = f"python -m tests.fuzz --reproduce '{target.name}' '{target.example(bad)}'"
        outcome.add(target.try_batch(bad) or faults, told)
        inputs = [value for value in inputs if value not in bad]


def reproduce(name: str, text: str) -> Outcome:
    """Try the inputs of one example again. Raises KeyError for an unknown target, ValueError for bad hexadecimal."""
    outcome = Outcome()
    with targets(0) as held:
        target = {target.name: target for target, _ in held}[name]
        inputs = target.parse(text)
        outcome.cases = len(inputs)
        faults = target.try_batch(inputs)
        if faults:
            outcome.add(faults, f"'{name}' '{text}'")
    return outcome
