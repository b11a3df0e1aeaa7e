"""docs/commands.md, derived from the commands themselves: `python -m sigmaflow.cli.docs` writes it, and the pages of
settings and metrics; a test fails where one is stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from sigmaflow.cli.common import ROOT, examples_of
from sigmaflow.errors import ExitCode

FILE = ROOT / "docs" / "commands.md"
PROGRAM = "sigmaflow"
HEAD = """# Commands

Written by `python -m sigmaflow.cli.docs` from the commands themselves; do not edit.

`make setup` puts the command line into `.venv/bin/sigmaflow`; the `make` targets are thin over it. Activate the
environment (`. .venv/bin/activate`) to type it without the path.

- Every command has `--help`, with examples. No command ever asks a question: nothing waits for a terminal.
- Commands that show something print tables; `--json` prints one JSON object on stdout and nothing else there. What is
  said on the way goes to stderr.
- An error is one sentence on stderr: where, what must hold, what was found, what to do. With `--json` the last line of
  stderr is `{"error": {"stage", "rule", "found", "remedy", "exit_code"}}`.
- Completion of commands, options, topics, contracts, job files and logs: `sigmaflow --install-completion` (bash, zsh,
  fish, PowerShell), then open a new shell. `--show-completion` prints the script instead.

## Exit codes

| code | meaning |
| --- | --- |
"""


def commands(group: Any = None, path: str = PROGRAM) -> Iterator[tuple[str, Any]]:
    """Every command that is not hidden, with all the words that call it, in the order of the help."""
    if group is None:
        from sigmaflow.__main__ import app

        group = get_command(app)
    for name, found in group.commands.items():
        if getattr(found, "commands", None):
            yield from commands(found, f"{path} {name}")
        elif not found.hidden:
            yield f"{path} {name}", found


def page() -> str:
    """The whole page."""
    codes = "\n".join(f"| {code.value} | {code.meaning} |" for code in ExitCode)
    panels: dict[str, list[str]] = {}
    for path, command in commands():
        panels.setdefault(str(command.rich_help_panel), []).append(section(path, command))
    return HEAD + codes + "\n" + "".join(f"\n## {panel}\n\n" + "\n".join(parts) for panel, parts in panels.items())


def section(path: str, command: Any) -> str:
    """One command: how it is called, what it does, its parameters, its examples."""
    shown = [f"```text\n{path} {usage(command)}".rstrip() + "\n```", command.help or ""]
    rows = [row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        shown.append("\n".join(["| parameter | default | meaning |", "| --- | --- | --- |", *rows]))
    examples = examples_of(command.epilog)
    if examples:
        shown.append("\n".join(["```sh check reference", *examples, "```"]))
    return f"### {path.removeprefix(PROGRAM).strip()}\n\n" + "\n\n".join(shown) + "\n"


def usage(command: Any) -> str:
    """Options and arguments as they are typed."""
    given = [parameter for parameter in command.params if parameter.name != "help"]
    arguments = [metavar(p) if p.required else f"[{metavar(p)}]" for p in given if p.param_type_name == "argument"]
    options = ["[OPTIONS]"] if any(p.param_type_name == "option" for p in given) else []
    return " ".join(options + arguments)


def metavar(parameter: Any) -> str:
    """Name of what a parameter takes."""
    name = str(parameter.metavar or parameter.name.upper())
    return f"{name}..." if parameter.nargs == -1 else name


def row(parameter: Any) -> str:
    """One parameter."""
    if parameter.param_type_name == "argument":
        name = f"`{metavar(parameter)}`"
    else:
        kind = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
        name = ", ".join(f"`{option}{kind}`" for option in [*parameter.opts, *parameter.secondary_opts])
    return f"| {name} | {default(parameter)} | {(parameter.help or '').replace('|', '/')} |"


def default(parameter: Any) -> str:
    """A parameter's default; what must be given is required, what may be left out has none."""
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`"


def derived() -> dict[Path, str]:
    """Every page that is derived, with its text."""
    from sigmaflow import settings_page
    from sigmaflow.monitoring import page as metrics_page

    return {FILE: page(), settings_page.FILE: settings_page.page(), metrics_page.FILE: metrics_page.page()}


if __name__ == "__main__":
    for file, text in derived().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        print(f"wrote {file}")
