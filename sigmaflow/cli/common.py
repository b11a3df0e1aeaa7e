"""What commands share: how one is declared, with its examples, and the options that many have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

ROOT = Path(__file__).resolve().parent.parent.parent
MARKET = "market"
"""Name of the run that has no namespace: the live one."""
EXAMPLES = "Examples:"
NEGATIVE = {"ignore_unknown_options": True}
"""Ids may be negative numbers, which look like options."""

Function = TypeVar("Function", bound=Callable[..., object])


def group(help_text: str = "") -> typer.Typer:
    """A set of commands."""
    return typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=help_text)


def command(app: typer.Typer, panel: str, *examples: str, name: str | None = None,
            settings: dict[str, Any] | None = None) -> Callable[[Function], Function]:
    """Declare a command under a heading of the help, with examples, each a line that can be typed as it stands."""
    def declare(function: Function) -> Function:
        return app.command(name, help=flowed(function.__doc__ or ""), epilog=_epilog(examples), rich_help_panel=panel,
                           context_settings=settings)(function)

    return declare


def flowed(text: str) -> str:
    """A text with one line a paragraph, so that it is broken where the terminal ends.

    >>> flowed("One\\n    line.\\n\\n    Two.")
    'One line.\\n\\nTwo.'
    """
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in inspect.cleandoc(text).split("\n\n"))


def _epilog(examples: Sequence[str]) -> str | None:
    return "\n".join(["", EXAMPLES, *(f"  {escape(example)}" for example in examples)]) if examples else None


def examples_of(epilog: str | None) -> list[str]:
    """The examples of a command, from its epilog.

    >>> examples_of("Examples:\\n  sigmaflow stop")
    ['sigmaflow stop']
    """
    return [line.strip().replace("\\[", "[") for line in (epilog or "").splitlines() if line not in ("", EXAMPLES)]


def namespace(run: str) -> str:
    """Namespace of a run by the name that users give it."""
    return "" if run == MARKET else run


# ----------------------------------------------------------------------------------------------------- completion


def _beginning(names: Sequence[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def job_files(incomplete: str) -> list[str]:
    """Job files that begin so."""
    return _beginning([f"jobs/{file.name}" for file in (ROOT / "jobs").glob("[a-z]*.py")], incomplete)


def topic_names(incomplete: str) -> list[str]:
    """Topics that begin so."""
    import schemas

    return _beginning(list(schemas.topics()), incomplete)


def contract_names(incomplete: str) -> list[str]:
    """Contracts that begin so."""
    return _beginning([file.stem for file in (ROOT / "schemas").glob("*.avsc")], incomplete)


def log_names(incomplete: str) -> list[str]:
    """Programs that have a log and begin so."""
    from sigmaflow.settings import load

    return _beginning([file.stem for file in load().log_dir.glob("*.log")], incomplete)


# -------------------------------------------------------------------------------------------------------- options

From = Annotated[str, typer.Option("--from", metavar="RUN", help=f"A run's namespace, or {MARKET} for the live one.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, errors as JSON on stderr.")]
JsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Namespace = Annotated[str, typer.Option(help="A run's namespace; the market when left out.")]
Parallelism = Annotated[int | None, typer.Option(min=1, help="Slots the job uses; Flink's default when left out.")]
JobFile = Annotated[str, typer.Argument(help="A file of jobs/.", autocompletion=job_files)]
JobArguments = Annotated[list[str] | None, typer.Argument(help="The job's own arguments, after --.")]
