"""Which lines of some source files an input reaches for the first time, by the interpreter's trace function."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType, TracebackType
from typing import Any


class LinesReached:
    """A context in which new lines of these files are reported: `found` is called once for each.

    The trace function that was there before (a debugger's, a coverage tool's) comes back afterwards.
    """

    def __init__(self, files: Iterable[str], found: Callable[[], None]) -> None:
        self._files, self._found = frozenset(files), found
        self._seen: set[tuple[CodeType, int]] = set()
        self._before: Any = None

    def __len__(self) -> int:
        return len(self._seen)

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        place = frame.f_code, frame.f_lineno
        if place not in self._seen:
            self._seen.add(place)
            self._found()
        return self._line
