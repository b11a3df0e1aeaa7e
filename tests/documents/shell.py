"""Whether a command can be typed as it stands: programs, subcommands, options, targets, modules and files exist."""
from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import click
from typer.main import get_command

from jobs.chain import options
from sigmaflow.__main__ import app
from sigmaflow.errors import UserError
from sigmaflow.settings import ROOT

OTHERS = frozenset({".", "cd", "curl", "df", "docker", "du", "export", "git", "cat", "ls", "rm", "head", "tail", "grep",
                    "test", "echo", "sleep", "kill"})
"""Programs that are not the project's."""

ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
JOB = re.compile(r"jobs/(\w+)\.py")


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell text, as words; comments, assignments and redirections left out.

    >>> list(commands("A=1 make audit   # look\\nsigmaflow dlq \\\\\\n  list | head -1 > x"))
    [['make', 'audit'], ['sigmaflow', 'dlq', 'list'], ['head', '-1']]
    """
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        redirected = False
        for word in [*lexer, ";"]:
            if word and not word.strip("();<>|&"):
                redirected = word[0] in "<>"
                if not redirected:
                    if words:
                        yield words
                    words = []
            elif redirected:
                redirected = False
            elif words or not ASSIGNED.match(word):
                words.append(word)


def wrong(words: list[str]) -> str | None:
    """What is wrong with a command; None where nothing is."""
    program, rest = words[0].rpartition("/")[2], words[1:]
    if program.startswith("python") and rest[:1] == ["-m"]:
        return sigmaflow(rest[2:]) if rest[1] == "sigmaflow" else module(rest[1])
    known = {"sigmaflow": sigmaflow, "make": make, "flink": flink}
    if program in known:
        return known[program](rest)
    return None if program in OTHERS or program.startswith("python") else f"no program {program!r} is known"


def sigmaflow(words: list[str]) -> str | None:
    """Parse a command of the command line as it would be, without running it."""
    found, path = get_command(app), "sigmaflow"
    rest = list(words)
    while rest and getattr(found, "commands", None):
        name = rest.pop(0)
        if name.startswith("--"):
            return None
        if name not in found.commands:  # type: ignore[attr-defined]
            return f"`{path}` has no command {name!r}"
        found, path = found.commands[name], f"{path} {name}"  # type: ignore[attr-defined]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found.make_context(path, rest)
    except click.exceptions.Exit:
        return None
    except Exception as error:
        return f"`{path} {' '.join(rest)}`: {error}"
    return None


def make(words: list[str]) -> str | None:
    """Hold targets and variables against the Makefile."""
    targets, variables = makefile()
    for word in words:
        name = word.partition("=")[0]
        if "=" in word and name not in variables:
            return f"the Makefile has no variable {name}"
        if "=" not in word and not word.startswith("-") and word not in targets:
            return f"the Makefile has no target {word}"
    return None


@cache
def makefile() -> tuple[frozenset[str], frozenset[str]]:
    """Targets and variables of the Makefile."""
    text = (ROOT / "Makefile").read_text()
    exported = [name for line in re.findall(r"^export (.*)$", text, re.MULTILINE) for name in line.split()]
    return (frozenset(re.findall(r"^([a-z-]+):", text, re.MULTILINE)),
            frozenset([*re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE), *exported]))


def module(name: str) -> str | None:
    """Look for a Python module; one in capitals stands for many."""
    if name.rpartition(".")[2].isupper():
        return None
    try:
        return None if find_spec(name) else f"there is no module {name}"
    except ModuleNotFoundError:
        return f"there is no module {name}"


def flink(words: list[str]) -> str | None:
    """Look for the job file of a `flink run`, and read the job's own options."""
    at = next((i for i, word in enumerate(words) if JOB.fullmatch(word)), None)
    if at is None:
        return None
    match = JOB.fullmatch(words[at])
    if match is None or not (ROOT / words[at]).exists():
        return f"there is no {words[at]}"
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            options.parse(match[1], words[at + 1:])
    except (SystemExit, UserError) as error:
        return f"{words[at]}: {error} {told.getvalue()}"
    return None


def named(text: str) -> list[str] | None:
    """The words of code within a sentence, where it is a command of ours that is told in full; None for all else.

    >>> named("make logs PROGRAM=results"), named("make_context"), named("sigmaflow COMMAND")
    (['make', 'logs', 'PROGRAM=results'], None, None)
    """
    if not re.match(r"(\.venv/bin/|\.data/bin/)?(make|sigmaflow|python -m|flink run) [a-z-]", text):
        return None
    try:
        return next(commands(re.split(r"…|\.\.\. ", text)[0]))
    except ValueError:  # cut within a quotation
        return None


def named_wrong(words: list[str]) -> str | None:
    """What is wrong with a command that a sentence names, where its arguments may be left out."""
    if words[0] != "sigmaflow" and words[:3] != ["python", "-m", "sigmaflow"]:
        return wrong(words)
    rest = words[1:] if words[0] == "sigmaflow" else words[3:]
    found: Any = get_command(app)
    while rest and getattr(found, "commands", None):
        if rest[0].startswith("--"):
            return None
        if rest[0] not in found.commands:
            return f"there is no command {' '.join(words)!r}"
        found = found.commands[rest.pop(0)]
    known = {option for parameter in found.params for option in [*parameter.opts, *parameter.secondary_opts]}
    unknown = [word for word in rest if word.startswith("--") and word not in known | {"--help", "--"}]
    return f"{' '.join(words)!r} has no option {unknown[0]}" if unknown else None
