"""docs/settings.md, derived from the settings themselves: `python -m sigmaflow.cli.docs` writes it, a test fails where
it is stale.
"""
from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobs.chain.options import parser
from sigmaflow.settings import ROOT, STACK_FILE, Paths, Settings
from udfs import profiles

FILE = ROOT / "docs" / "settings.md"
HEAD = """# Settings

Written by `python -m sigmaflow.cli.docs` from `sigmaflow/settings.py`, `docker/stack.toml`, `jobs/chain/options.py` and
`udfs/profiles.py`; do not edit.

A setting has one place. A wrong one stops every command with its name, what must hold, and what was found.

## The stack

`docker/stack.toml`; a change takes effect at the next start. What is in force here, secrets masked:

```sh
sigmaflow settings
SIGMAFLOW_PORT_OFFSET=1000 SIGMAFLOW_KAFKA_HEAP_MB=768 sigmaflow settings --json
```

Environment: `SIGMAFLOW_PORT_OFFSET` is added to every port of the file; `SIGMAFLOW_DATA_DIR`, `SIGMAFLOW_CACHE_DIR` and
`SIGMAFLOW_MODEL_DIR` replace the folders; `SIGMAFLOW_<PART>_<KEY>` replaces one value and is taken as it is, without
the offset. A second stack beside the first is an offset and a folder of its own.
"""
OPTIONS = """
## A job

What a file of `jobs/` is told behind its name: `flink run -py jobs/pipeline.py --profile default`, or `--` of
`sigmaflow submit`.

"""
PROFILES = """
## The strategy

`udfs/profiles.py`. A profile is a value: it does not change while a job runs, its digest is in every decision, and
another one is another strategy with a state of its own. What a setting is where a profile does not say is its default.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(stack()) + OPTIONS + table(("option", "default", "meaning"), options()) + PROFILES + "".join(
        strategy())


def stack() -> Iterator[str]:
    """Sections of docker/stack.toml, with the values that are there."""
    held = tomllib.loads(STACK_FILE.read_text())
    for name in held:
        part = Paths if name == "paths" else Settings.model_fields[name].annotation
        assert isinstance(part, type) and issubclass(part, BaseModel)
        rows = ([f"`{name}.{key}`", shown(held[name].get(key, of.get_default()), secret=key == "password"), bounds(of),
                 of.description or ""] for key, of in part.model_fields.items())
        yield f"\n### {name}\n\n" + table(("setting", "value", "must be", "meaning"), rows)


def options() -> Iterator[list[str]]:
    """Options that every job has."""
    for action in parser("pipeline")._actions:
        if action.dest != "help":
            metavar = f" {action.metavar or action.dest.upper()}"
            yield [f"`{action.option_strings[0]}{metavar}`", shown(action.default), action.help or ""]


def strategy() -> Iterator[str]:
    """Sections of a profile: each setting with its default and what the profiles make of it."""
    made = [profiles.get(name) for name in profiles.names()]
    for name, of in profiles.Profile.model_fields.items():
        part = of.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            rows = ([f"`{key}`", "required" if field.is_required() else shown(field.get_default()),
                     *(other(getattr(getattr(p, name), key), field) for p in made), bounds(field),
                     field.description or ""] for key, field in part.model_fields.items())
            yield f"\n### {name}\n\n{sentence(part)}\n\n" + table(
                ("setting", "default", *(f"in `{p.name}`" for p in made), "must be", "meaning"), rows)


def sentence(part: type[BaseModel]) -> str:
    """The first paragraph of a part's docstring."""
    return " ".join((part.__doc__ or "").partition("\n\n")[0].split())


def other(value: Any, field: FieldInfo) -> str:
    """A profile's value, where it is not the default."""
    return "" if not field.is_required() and value == field.get_default() else shown(value)


def shown(value: Any, secret: bool = False) -> str:
    """A value as it is written.

    >>> [shown(value) for value in (1e-4, 500_000.0, ("a", "b"), float("inf"), "", None)]
    ['`0.0001`', '`500000`', '`a`, `b`', 'unlimited', '', '']
    """
    if value is None or value == "" or value == ():
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(shown, value))
    if value == float("inf"):
        return "unlimited"
    return "masked" if secret else f"`{value:.12g}`" if isinstance(value, float) else f"`{value}`"


def bounds(field: FieldInfo) -> str:
    """What a value must hold.

    >>> bounds(profiles.Risk.model_fields["threshold"]), bounds(profiles.Fills.model_fields["order"])
    ('at least 0.05, at most 0.25', '`market` or `limit`')
    """
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    told = [f"{words[name]} {getattr(rule, name):.12g}" for rule in field.metadata for name in words
            if getattr(rule, name, None) is not None]
    choices = getattr(field.annotation, "__args__", ()) if "Literal" in str(field.annotation) else ()
    return ", ".join(told) or " or ".join(f"`{choice}`" for choice in choices)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table."""
    names = list(head)
    lines = [names, ["---"] * len(names), *([cell.replace("|", "/") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
