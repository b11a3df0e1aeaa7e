"""Settings of a profile by name: `--set sizing.entry=0.2` for one run, `--grid sizing.entry=0.1,0.2` for a sweep.

The profile's own pydantic classes judge every value; what they refuse is a UserError with the setting's meaning.
"""

from __future__ import annotations

import difflib
import itertools
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from jobs.chain import plans
from jobs.chain.inprocess import contracts
from sigmaflow.errors import UserError
from udfs import profiles
from udfs.profiles import Profile

STAGE = "backtest"
JOIN = "+"
"""Between the items of a setting that is a list: commas are between the values of a grid."""

Change = dict[str, str]
"""Settings by name, with values as they were typed."""


def names() -> dict[str, FieldInfo]:
    """Every setting that can be changed, with what the profile says of it.

    >>> names()["sizing.entry"].description
    'Least absolute score that may change the target.'
    """
    found: dict[str, FieldInfo] = {}
    for part, held in Profile.model_fields.items():
        kind = held.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= {f"{part}.{name}": field for name, field in kind.model_fields.items()}
    return found


def base(name: str) -> Profile:
    """The profile of that name. Raises UserError for none."""
    if name not in profiles.names():
        raise UserError(STAGE, "--profile must name a strategy profile", repr(name),
                        f"use one of {', '.join(profiles.names())}")
    return profiles.get(name)


def split(option: str, text: str) -> tuple[str, str]:
    """Name and value of NAME=VALUE. Raises UserError for another form, or a name that is no setting.

    >>> split("--set", "sizing.entry=0.2")
    ('sizing.entry', '0.2')
    """
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise UserError(STAGE, f"{option} must read NAME=VALUE", repr(text), "write for example sizing.entry=0.2")
    if name not in names():
        raise UserError(STAGE, f"{option} must name a setting of the profile", repr(name), _instead(name))
    return name, value


def _instead(name: str) -> str:
    known = list(names())
    part = name.partition(".")[0]
    near = difflib.get_close_matches(name, known, 3)
    near += difflib.get_close_matches(f".{name}", [f".{k.partition('.')[2]}" for k in known], 3) if not near else []
    ends = [k for k in known if any(k.endswith(n) for n in near)]
    of_part = [k for k in known if k.startswith(f"{part}.")]
    return f"settings are {', '.join(ends or of_part or known)}"


def parse(options: Sequence[str]) -> Change:
    """Changes of several --set. Raises UserError as `split`, and for a setting that is given twice."""
    return _once("--set", [split("--set", text) for text in options])


def grid(options: Sequence[str]) -> list[Change]:
    """Every combination of the values of several --grid, the first setting's changing slowest.

    >>> grid(["sizing.entry=0.1,0.2", "fills.fee_bps=0,1"])[1]
    {'sizing.entry': '0.1', 'fills.fee_bps': '1'}
    """
    held = _once("--grid", [split("--grid", text) for text in options])
    values = {name: text.split(",") for name, text in held.items()}
    twice = [name for name, of in values.items() if len(of) != len(set(of))]
    if twice:
        raise UserError(STAGE, "--grid must give every value once", f"{twice[0]}={held[twice[0]]}", "leave it out once")
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def _once(option: str, pairs: list[tuple[str, str]]) -> Change:
    seen = [name for name, _ in pairs]
    twice = [name for name in seen if seen.count(name) > 1]
    if twice:
        raise UserError(STAGE, f"{option} must give every setting once", f"{twice[0]} is given twice",
                        "leave one out, or put the values into one --grid NAME=A,B")
    return dict(pairs)


def apply(profile: Profile, change: Mapping[str, str]) -> Profile:
    """The profile with these settings. Raises UserError where the profile's classes or stages refuse them."""
    held: dict[str, Any] = profile.model_dump()
    for name, text in change.items():
        part, key = name.split(".")
        held[part][key] = _value(names()[name], text)
    try:
        made = Profile.model_validate(held)
        plans.shard("pipeline", made, contracts(), 1)
        plans.account("pipeline", made, contracts(), 1)
    except ValidationError as error:
        raise _refused(error, change) from None
    except (KeyError, ValueError) as error:
        raise UserError(STAGE, f"{shown(change)} must give a profile that the stages take", str(error.args[0]),
                        "give other values") from None
    return made


def _value(field: FieldInfo, text: str) -> Any:
    """What pydantic is given for a text: the text itself, its items where the setting is a list."""
    if typing.get_origin(field.annotation) is tuple:
        return [item for item in text.split(JOIN) if item]
    return text


def _refused(error: ValidationError, change: Mapping[str, str]) -> UserError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:2])
    meaning = names()[name].description if name in names() else "the settings of a part go together"
    found = f"{name}={change[name]}" if name in change else shown(change)
    message = str(first["msg"]).removeprefix("Value error, ")
    return UserError(STAGE, f"{name} must be valid ({str(meaning).rstrip('.')})",
                     f"{message[:1].lower()}{message[1:]} (found {found})", "give another value")


def shown(change: Mapping[str, str]) -> str:
    """Changes for people.

    >>> shown({"sizing.entry": "0.1", "fills.fee_bps": "0"})
    'sizing.entry=0.1 fills.fee_bps=0'
    """
    return " ".join(f"{name}={value}" for name, value in change.items())
