"""What a fuzzing run counts, and how a batch that misbehaves is cut down to the inputs that matter."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sigmaflow.tally import Tally

Input = TypeVar("Input")


@dataclass(frozen=True)
class Faults:
    """What was wrong with one batch. `crash` names the exception or the broken rule, empty for none."""

    lost: int = 0
    doubled: int = 0
    differing: int = 0
    crash: str = ""

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.differing or self.crash)


@dataclass
class Outcome(Tally):
    """Sums over all batches so far; `examples` tells how to reproduce each misbehaviour."""

    examples: list[str] = field(default_factory=list)

    def add(self, faults: Faults, example: str) -> None:
        """Count the faults of one batch, with the way to reproduce them."""
        self.lost += faults.lost
        self.doubled += faults.doubled
        self.differing += faults.differing
        self.found += bool(faults.crash)
        self.examples.append(f"{faults}\n  {example}")


def crash(error: BaseException) -> str:
    """Type, text and innermost place of an exception."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}: {error}{place}"


def smallest(inputs: Sequence[Input], fails: Callable[[Sequence[Input]], bool]) -> list[Input]:
    """Inputs that still fail together after every part that can go has gone (delta debugging, Zeller 1999).

    >>> smallest(range(100), lambda kept: 3 in kept and 70 in kept)
    [3, 70]
    """
    kept = list(inputs)
    size = len(kept) // 2
    while size:
        at = 0
        while at < len(kept):
            fewer = kept[:at] + kept[at + size:]
            if fewer and fails(fewer):
                kept = fewer
            else:
                at += size
        size //= 2
    return kept
