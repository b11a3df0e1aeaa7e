"""Errors that a user is meant to read, and the exit codes of every command.

    UserError            2   what was asked for cannot be done: arguments, settings, names
    ├── NotRunning       3   a server, job or run that the command needs is not there
    └── Failed           4   it was tried, and came to nothing
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """How a command ends. Scripts may rely on these numbers: they do not change."""

    DONE = 0, "done; a check found nothing wrong"
    FOUND = 1, "a check or a proof found something wrong, and has printed what"
    WRONG = 2, "what was asked for cannot be done: wrong arguments, settings or names"
    NOT_RUNNING = 3, "a server, job or run that the command needs is not there or does not answer"
    FAILED = 4, "it was tried and failed: a job, a download, a savepoint, a time limit"
    BUG = 70, "an error of Sigmaflow's own, with its stack trace"
    INTERRUPTED = 130, "interrupted, by Ctrl-C for example"

    meaning: str

    def __new__(cls, number: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, number)
        member._value_, member.meaning = number, meaning
        return member


@dataclass
class UserError(Exception):
    """A stop that the user can cure; the command line prints it as one sentence.

    >>> error = UserError("start", "port 9092 must be free", "it is taken", "change kafka.port in docker/stack.toml")
    >>> print(error)
    start: port 9092 must be free, but it is taken; change kafka.port in docker/stack.toml.
    >>> error.record()["found"], int(error.code), int(NotRunning("status", "", "", "").code)
    ('it is taken', 2, 3)
    """

    code: ClassVar[ExitCode] = ExitCode.WRONG

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

    def record(self) -> dict[str, Any]:
        """The same for programs: stage, rule, found, remedy and exit_code."""
        return asdict(self) | {"exit_code": int(self.code)}


class NotRunning(UserError):
    """A server, a job or a run that the command needs is not there or does not answer."""

    code = ExitCode.NOT_RUNNING


class Failed(UserError):
    """What was asked for was tried, and failed."""

    code = ExitCode.FAILED
