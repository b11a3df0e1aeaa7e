"""Which strings the codec takes for UTF-8: those that Python takes, at every border of RFC 3629."""
from __future__ import annotations

import itertools
import struct

import pytest

from schemas import codec

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "text", "type": "string"}]}
BORDERS = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5,
           0xFF)


def python_takes(text: bytes) -> bool:
    """Whether Python's strict decoder does."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_text_is_utf8_exactly_where_python_says_so(length: int) -> None:
    tails = BORDERS if length < 4 else (0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC0)
    texts = [bytes(one) for one in itertools.product(BORDERS, *[tails] * (length - 1))]
    messages = [struct.pack(">bIB", 0, 1, 2 * length) + text for text in texts]
    verdict = codec.Decoder(SCHEMA, {1: SCHEMA}).decode(messages).verdict
    assert [v == codec.OK for v in verdict] == list(map(python_takes, texts))
    assert set(verdict.tolist()) <= {codec.OK, codec.BAD_TEXT}
