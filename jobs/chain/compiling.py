"""Tells in the log of a TaskManager that ticks waited for numba's compiler.

`python -m jobs.warm` compiles all kernels that a chain calls, so no line of this should ever be seen: where one is, a
profile was made after set-up, or a kernel met arguments of a type that warm-up does not know.
"""
from __future__ import annotations

import functools
import logging
import time

from numba.core import event

log = logging.getLogger(__name__)


class _Told(event.Listener):
    """One line for each kernel, those that it calls included."""

    def __init__(self) -> None:
        self._depth, self._began = 0, 0.0

    def on_start(self, of: event.Event) -> None:
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1

    def on_end(self, of: event.Event) -> None:
        self._depth -= 1
        if self._depth == 0:
            kernel = of.data["dispatcher"].py_func
            log.warning("chain: %s of %s had to be compiled, and ticks waited %.1f s for it; python -m jobs.warm does "
                        "so before a job starts", kernel.__qualname__, kernel.__module__,
                        time.perf_counter() - self._began)


@functools.cache
def tell() -> None:
    """Tell from now on, in this process."""
    event.register("numba:compile", _Told())
