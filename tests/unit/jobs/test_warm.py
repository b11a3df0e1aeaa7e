"""Kernels: that each is compiled for one layout of its arguments, and that a compilation while ticks wait is told."""
from __future__ import annotations

import json
import logging
import re
import subprocess
import sys

import numba
import numpy as np
import pytest

from jobs.chain import compiling

LAYOUTS = """
import gc, json
from numba.core.dispatcher import Dispatcher
from jobs import warm
from jobs.chain import plans
from jobs.chain.inprocess import Chain
from udfs import profiles

for jobs, largest, together in ((plans.JOBS, 3, 1), (("pipeline",), 40, 6), (("pipeline",), 1, 1)):
    taps = plans.TAPS if jobs == ("pipeline",) else ()
    chain = Chain(profiles.get("reference"), shards=2, largest=largest, together=together, taps=taps, restart=0.02)
    found = chain.run(jobs, [warm.ticks(700), []])
    assert any(found["fills.v1"]), "no fill"
kernels = [k for k in gc.get_objects() if issubclass(type(k), Dispatcher)]
print(json.dumps({f"{k.py_func.__module__}.{k.py_func.__qualname__}": [list(map(str, s)) for s in k.signatures]
                  for k in kernels}))
"""


def plain(argument: str) -> str:
    """A type's name without what the compiler makes a kernel of its own for though the elements are the same."""
    return re.sub(r"Literal\[.*?\]\(.*?\)", "literal", re.sub(r"^readonly |(?<=\dd, )[CFA](?=\))", "", argument))


def test_kernels_are_compiled_for_one_layout_each() -> None:
    """Whatever the cuts: arrays of one row count as contiguous, bytes from outside may not be written to, and a kernel
    compiled for the other kind would hold up a live market for half a minute at its first such call.
    """
    made = subprocess.run([sys.executable, "-c", LAYOUTS], capture_output=True, text=True, check=True)
    for kernel, signatures in json.loads(made.stdout.splitlines()[-1]).items():
        kinds = {tuple(map(plain, signature)) for signature in signatures}
        layouts = {tuple(re.sub(r"Literal\[.*?\]\(.*?\)", "literal", a) for a in s) for s in signatures}
        assert len(kinds) == len(layouts), (kernel, sorted(layouts))


def test_a_kernel_compiled_late_is_told(caplog: pytest.LogCaptureFixture) -> None:
    @numba.njit
    def doubled(a: np.ndarray) -> np.ndarray:
        return halved(a) * 4

    @numba.njit
    def halved(a: np.ndarray) -> np.ndarray:
        return a / 2

    compiling.tell()
    compiling.tell()
    with caplog.at_level(logging.WARNING, "jobs.chain.compiling"):
        assert doubled(np.ones(2)).tolist() == [2, 2]
        assert doubled(np.ones(2)).tolist() == [2, 2]
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1 and "doubled of tests.unit.jobs.test_warm" in told[0] and "jobs.warm" in told[0]
