"""Every version that a contract has had: `history/NAME/1.avsc`, `2.avsc`, …, so that a log outlives the code.

The newest is the contract itself. Written by `python -m schemas.compatibility --record`, never changed afterwards.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import schemas


def names(folder: Path = schemas.FOLDER) -> list[str]:
    """Every contract that a folder has or has had."""
    recorded = {path.name for path in (folder / "history").glob("*") if path.is_dir()}
    return sorted(recorded | {path.stem for path in folder.glob("*.avsc")})


def present(name: str, folder: Path = schemas.FOLDER) -> dict[str, Any] | None:
    """The contract as it is; None where it is gone."""
    path = folder / f"{name}.avsc"
    return json.loads(path.read_text()) if path.exists() else None


def past(name: str, folder: Path = schemas.FOLDER) -> dict[int, dict[str, Any]]:
    """Every recorded version of a contract by its number, oldest first.

    >>> min(past("tick"))
    1
    """
    numbers = sorted(int(path.stem) for path in (folder / "history" / name).glob("*.avsc"))
    return {n: json.loads((folder / "history" / name / f"{n}.avsc").read_text()) for n in numbers}


def record(name: str, folder: Path = schemas.FOLDER) -> int:
    """Add the contract as its next version and give the number; 0 where it is gone or the newest already."""
    held, new = past(name, folder), present(name, folder)
    number = max(held, default=0)
    if new is None or held.get(number) == new:
        return 0
    path = folder / "history" / name / f"{number + 1}.avsc"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((folder / f"{name}.avsc").read_bytes())
    return number + 1
