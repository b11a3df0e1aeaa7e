"""What commands print: tables, or one JSON object and nothing else on stdout."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaflow.output import aside, last_line, plain, print_json, print_table, show

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
                      lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_whatever_is_shown_is_strict_json(value: Any) -> None:
    text = json.dumps(plain({"value": value}), allow_nan=False)
    assert set(json.loads(text)) == {"value"}


def test_numbers_that_are_not_finite_are_text() -> None:
    assert plain([math.inf, -math.inf, math.nan, 1.5]) == ["inf", "-inf", "nan", 1.5]


def talkative() -> dict[str, int]:
    print("working")
    return {"n": 1}


def test_show_keeps_stdout_for_the_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(True, talkative, print_json) == {"n": 1}
    told = capsys.readouterr()
    assert json.loads(told.out) == {"n": 1} and told.err == "working\n"
    show(False, talkative, lambda answer: print(answer["n"]))
    assert capsys.readouterr().out == "working\n1\n"


def test_the_last_line_alone_stays_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        print("one\ntwo")
        sys.stdout.write("half ")
        print("three")
        print('{"n": 1}')

    with last_line(True):
        work()
    told = capsys.readouterr()
    assert told.out == '{"n": 1}\n' and told.err == "one\ntwo\nhalf three\n"
    with last_line(False):
        work()
    assert capsys.readouterr().out == 'one\ntwo\nhalf three\n{"n": 1}\n'


def test_an_error_inside_leaves_stdout_empty(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), aside(True):
        talkative()
        raise ValueError
    with pytest.raises(ValueError), last_line(True):
        talkative()
        raise ValueError
    told = capsys.readouterr()
    assert told.out == "" and told.err == "working\nworking\n"


def test_a_table_in_a_pipe_has_a_line_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"topic": "t" * 90, "messages": 1_234_567, "lag": None}, {"topic": "[x]", "messages": 0, "lag": 2}]
    print_table(rows)
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["topic", "messages", "lag"]
    assert first.split() == ["t" * 90, "1,234,567", "-"] and second.split() == ["[x]", "0", "2"]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], "gates")
    print_table([], empty="no savepoint")
    assert capsys.readouterr().out == "gates: none\nno savepoint\n"
