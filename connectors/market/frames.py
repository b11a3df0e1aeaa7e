"""Recorded WebSocket sessions: the envelopes in which recorders keep frames, one frame a line.

Three envelopes are known: `<receive ns> <frame>` (hftbacktest), `<receive s>: <frame>` with lines of addresses and sent
messages between (older cryptofeed), and `{"t": "recv", "ts": <receive s>, "data": "<frame>"}` (newer cryptofeed).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import orjson

from connectors.market.lines import lines
from connectors.market.records import Malformed, Record, Tally, checked

Frame = dict[str, Any]


class Session(Protocol):
    """Reads the frames of one recorded session of one venue, in order."""

    def frame(self, ts_recv: int, frame: Frame, tally: Tally) -> Iterator[Record]:
        """Records of one frame. Counts its kind; raises Malformed, KeyError, TypeError or ValueError for a bad one."""


def unwrap(line: bytes) -> tuple[int, Frame] | None:
    """Receive time in ns and frame of one line, None for a line that holds no received frame.

    >>> unwrap(b'1723161254087891268 {"u":1}')
    (1723161254087891268, {'u': 1})
    >>> unwrap(b'1618677817.5: {"u":1}')
    (1618677817500000000, {'u': 1})
    >>> unwrap(b'wss://host <- 1618677817.5: {}')
    """
    if line.startswith(b"{"):
        outer = orjson.loads(line)
        if outer["t"] != "recv":
            return None
        return _nanoseconds(float(outer["ts"])), _object(orjson.loads(outer["data"]))
    if not line or line.startswith((b"ws", b"http", b"configuration")):
        return None
    stamp, space, frame = line.partition(b" ")
    if not space:
        raise Malformed("no frame after the time")
    if stamp.endswith(b":"):
        return _nanoseconds(float(stamp[:-1])), _object(orjson.loads(frame))
    return int(stamp), _object(orjson.loads(frame))


def sample(head: list[bytes]) -> list[Frame]:
    """The frames among some lines, whatever cannot be read left out."""
    found = []
    for line in head:
        try:
            held = unwrap(line)
        except (Malformed, ValueError, KeyError, TypeError, AttributeError):
            continue
        if held is not None:
            found.append(held[1])
    return found


def read(path: Path, session: Session, tally: Tally) -> Iterator[Record]:
    """Records of a recorded session; a line or frame that cannot be read is counted with its number."""
    for number, line in enumerate(lines(path), 1):
        tally.lines += 1
        try:
            held = unwrap(line)
            if held is not None:
                yield from [checked(record) for record in session.frame(*held, tally)]
        except (Malformed, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
            tally.refuse(path, number, error)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _object(frame: Any) -> Frame:
    if not isinstance(frame, dict):
        raise Malformed("the frame is no object")
    return frame
