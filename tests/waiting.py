"""Waiting for what a running stack does in its own time."""
from __future__ import annotations

import time
from collections.abc import Callable

from sigmaflow.errors import NotRunning

PAUSE_S = 0.2
PATIENCE_S = 300.0
"""Many times what anything takes on two quiet cores: how slow a machine is must not decide."""


def wait_for(what: object, check: Callable[[], object]) -> None:
    """Poll until `check()` is true, servers that do not answer meanwhile included; `what` is told, as it then is, where
    that takes too long.
    """
    deadline, said = time.monotonic() + PATIENCE_S, ""
    while True:
        try:
            if check():
                return
        except (NotRunning, OSError) as error:
            said = f"; last: {error}"
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S:.0f} s{said}"
        time.sleep(PAUSE_S)
