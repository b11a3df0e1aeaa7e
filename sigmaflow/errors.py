"""The one error a user is meant to read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class UserError(Exception):
    """A stop that the user can cure; the command line prints it as one sentence and exits 2.

    >>> print(UserError("start", "port 9092 must be free", "it is taken", "change kafka.port in docker/stack.toml"))
    start: port 9092 must be free, but it is taken; change kafka.port in docker/stack.toml.
    """

    stage: str
    """Where it happened, for example "start" or "setup-topics"."""
    rule: str
    """What must hold."""
    found: str
    """What was found instead."""
    remedy: str
    """What the user can do now."""

    def __str__(self) -> str:
        return f"{self.stage}: {self.rule}, but {self.found}; {self.remedy}."
