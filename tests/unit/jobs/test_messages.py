"""A topic may hold anything: what none of our programs wrote is told apart, and passed over with a word."""
from __future__ import annotations

import logging
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.chain.inprocess import contracts
from jobs.chain.messages import COMMANDS, RecordReader, RecordWriter

OWN = contracts().id(COMMANDS)
READER = RecordReader(contracts().writers(COMMANDS))
RECORD = {"account": "paper", "kind": "halt", "model_digest": "", "reason": "why", "ts_sent": 7}
WHOLE = RecordWriter(COMMANDS, OWN).write(RECORD)


def test_what_was_written_is_read() -> None:
    assert READER.own(WHOLE, COMMANDS, 0, 5) == READER.read(WHOLE) == RECORD


@pytest.mark.parametrize(("message", "why"), [
    (None, "no value"), (b"", "not in the Confluent wire format"), (b"foreign", "not in the Confluent wire format"),
    (struct.pack(">bI", 0, OWN + 77) + WHOLE[5:], f"unknown schema id {OWN + 77}"),
    (WHOLE[:-1], f"does not fit schema {OWN}"), (WHOLE + b"x", "1 bytes after the end of the message")])
def test_a_foreign_message_is_passed_over_with_a_word(message: bytes | None, why: str,
                                                      caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert READER.own(message, COMMANDS, 0, 5) is None
    assert "commands.v1 0:5" in caplog.text and why in caplog.text
    with pytest.raises(ValueError, match=why):
        READER.read(message)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: WHOLE[:5] + tail))
@example(WHOLE[:5] + b"\xff" * 20)
def test_whatever_the_bytes_are_a_message_or_a_reason_comes_of_it(message: bytes) -> None:
    try:
        assert set(READER.read(message)) == set(RECORD)
    except ValueError as error:
        assert str(error)
