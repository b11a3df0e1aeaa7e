"""Recorded WebSocket sessions: the envelopes in which recorders keep frames, one frame a line.

Three envelopes are known: `<receive ns> <frame>` (hftbacktest), `<receive s>: <frame>` with lines of addresses and sent
messages between (older cryptofeed), and `{"t": "recv", "ts": <receive s>, "data": "<frame>"}` (newer cryptofeed).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from connectors.market.lines import lines
from connectors.market.records import Malformed, Record, Tally, checked, in_range

Frame = dict[str, Any]

BAD = (Malformed, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)
"""What reading a frame from outside may raise: the frame is then counted as refused."""


_CONNECTION = re.compile(rb'\{"t":"recv","conn":"([^"]*)"')


class Session(Protocol):
    """Reads the frames of one connection to one venue, in order, recorded or live."""

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, Sequence[Record]]:
        """Kind and records of one frame. Raises one of BAD for a frame that is not what its kind says."""


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
        return _nanoseconds(float(outer["ts"])), framed(orjson.loads(outer["data"]))
    if not line or line.startswith((b"ws", b"http", b"configuration")):
        return None
    stamp, space, frame = line.partition(b" ")
    if not space:
        raise Malformed("no frame after the time")
    if stamp.endswith(b":"):
        return _nanoseconds(float(stamp[:-1])), framed(orjson.loads(frame))
    return in_range(int(stamp)), framed(orjson.loads(frame))


def sample(head: list[bytes]) -> list[Frame]:
    """The frames among some lines, whatever cannot be read left out."""
    found = []
    for line in head:
        try:
            held = unwrap(line)
        except BAD:
            continue
        if held is not None:
            found.append(held[1])
    return found


def connected(line: bytes) -> tuple[bytes, str] | None:
    """Name and address of a connection that a line says was opened, None for any other line.

    >>> connected(b'{"t":"connect","conn":"BYBIT.ws.2","ts":1.5,"addr":"wss://stream.bybit.com/v5/public/spot"}')
    (b'BYBIT.ws.2', 'wss://stream.bybit.com/v5/public/spot')
    """
    if not line.startswith(b'{"t":"connect"'):
        return None
    outer = framed(orjson.loads(line))
    return named(outer.get("conn")).encode(), named(outer.get("addr"))


def _connection(line: bytes) -> bytes:
    """Name of the connection on which the line's frame came; empty where the recorder did not write it down."""
    found = _CONNECTION.match(line)
    return found[1] if found else b""


def read(path: Path, opened: Callable[[str], Session], tally: Tally) -> Iterator[Record]:
    """Records of a recording; a line or frame that cannot be read is counted with its number.

    `opened` gives the session of a connection by its address, which is empty where it was not recorded.
    """
    sessions: dict[bytes, Session] = {}
    for number, line in enumerate(lines(path), 1):
        tally.lines += 1
        try:
            new = connected(line)
            if new is not None:
                sessions[new[0]] = opened(new[1])
            held = unwrap(line)
            if held is None:
                continue
            name = _connection(line)
            if name not in sessions:
                sessions[name] = opened("")
            kind, made = sessions[name].frame(*held)
            good = [checked(record) for record in made]
            tally.frames[named(kind)] += 1
        except BAD as error:
            tally.refuse(path, number, error)
            continue
        yield from good


def matching(head: list[bytes], matches: Callable[[Frame], bool]) -> bool:
    """Whether any frame among some lines matches; one that cannot even be asked does not."""
    for frame in sample(head):
        try:
            if matches(frame):
                return True
        except BAD:
            continue
    return False


def named(value: Any) -> str:
    """A name that a frame carries. Raises Malformed for what is no text, or none at all.

    >>> named("l2_data")
    'l2_data'
    """
    if not isinstance(value, str) or not value:
        raise Malformed(f"a name must be text, it is {value!r}")
    return value


def _nanoseconds(seconds: float) -> int:
    return in_range(round(seconds * 1e9))


def framed(value: Any) -> Frame:
    """The object that a message holds; an array of messages becomes an object with `messages`.

    >>> framed({"u": 1}), framed([{"T": "q"}])
    ({'u': 1}, {'messages': [{'T': 'q'}]})
    """
    if isinstance(value, list) and all(isinstance(message, dict) for message in value):
        return {"messages": value}
    if not isinstance(value, dict):
        raise Malformed("the frame is no object")
    return value
