"""The rules of evolution against fastavro's resolution, the check over recorded versions, the tree's history."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import schemas
from schemas import compatibility, versions
from schemas.compatibility import main, mismatches, problems
from sigmaflow.errors import UserError
from tests import avro
from tests.changes import ALLOWED, ORDER, REFUSED, changed


@pytest.mark.parametrize("change", ALLOWED)
def test_a_change_that_may_be_made(change: str) -> None:
    assert problems(ORDER, ALLOWED[change]) == []
    assert read_by_fastavro(ORDER, ALLOWED[change]) and read_by_fastavro(ALLOWED[change], ORDER)


@pytest.mark.parametrize("change", REFUSED)
def test_a_change_that_may_not_names_field_and_rule(change: str) -> None:
    new, beginnings = REFUSED[change]
    found = [str(problem) for problem in problems(ORDER, new)]
    assert len(found) == len(beginnings)
    for line, beginning in zip(found, beginnings, strict=True):
        assert line.startswith(beginning) and "; " in line


def read_by_fastavro(writer: dict[str, Any], reader: dict[str, Any]) -> bool:
    """Whether fastavro's resolution reads every sample of the writer."""
    for row in avro.samples(writer):
        try:
            avro.resolved(avro.write(writer, row), writer, reader)
        except UnicodeDecodeError:  # bytes that are no text: a matter of the value, allowed by the rules
            continue
        except Exception:
            return False
    return True


@settings(max_examples=300, deadline=None)
@given(avro.versions(foreign=True), avro.versions(foreign=True))
def test_the_rules_are_fastavros(writer: dict[str, Any], reader: dict[str, Any]) -> None:
    assert read_by_fastavro(writer, reader) == (not any(mismatches(writer, reader)))


def test_the_contracts_are_their_newest_recorded_versions() -> None:
    assert compatibility.check() == []


def test_every_contract_is_on_record() -> None:
    assert versions.names() == sorted(path.stem for path in schemas.FOLDER.glob("*.avsc"))
    assert all(versions.past(name) for name in versions.names())


def put(folder: Path, schema: dict[str, Any]) -> None:
    """Write the order's contract."""
    (folder / "order.avsc").write_text(json.dumps(schema))


def test_versions_are_recorded_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, ORDER)
    with pytest.raises(UserError, match="order: not on record"):
        main([], tmp_path)
    main(["--record"], tmp_path)
    put(tmp_path, changed("fee", type="double", default=0.0))
    main(["--record"], tmp_path)
    main(["--record"], tmp_path)
    main([], tmp_path)
    assert capsys.readouterr().out.splitlines()[-1] == "2 versions, all compatible"
    assert versions.past("order", tmp_path) == {1: ORDER, 2: changed("fee", type="double", default=0.0)}


def test_an_incompatible_version_is_never_recorded(tmp_path: Path) -> None:
    put(tmp_path, ORDER)
    main(["--record"], tmp_path)
    put(tmp_path, changed("gates.limit"))
    with pytest.raises(UserError, match=r"order: version 1: gates\.limit: removed, and had no default"):
        main(["--record"], tmp_path)
    assert list(versions.past("order", tmp_path)) == [1]


def test_a_step_allowed_from_the_last_version_is_refused_by_an_earlier_one(tmp_path: Path) -> None:
    """Two steps cannot remove a field that had no default: readers of the first version still need it."""
    put(tmp_path, ORDER)
    main(["--record"], tmp_path)
    put(tmp_path, changed("id", type="int", default=0))
    main(["--record"], tmp_path)
    put(tmp_path, changed("id"))
    assert problems(versions.past("order", tmp_path)[2], changed("id")) == []
    with pytest.raises(UserError, match="order: version 1: id: removed"):
        main(["--record"], tmp_path)


def test_a_contract_that_is_gone_is_missed(tmp_path: Path) -> None:
    put(tmp_path, ORDER)
    main(["--record"], tmp_path)
    (tmp_path / "order.avsc").unlink()
    with pytest.raises(UserError, match=r"order\.avsc is gone"):
        main([], tmp_path)
