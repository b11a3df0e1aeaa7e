"""Commands under test as processes of their own, and topics of their own for what they write and what nobody should."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import schemas
from connectors import topics
from connectors.confirmed import ANY, ConfirmedWriter
from sigmaflow.settings import ROOT, Settings
from tests.waiting import PATIENCE_S


@contextmanager
def started(script: str, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Python running a script with arguments, its output a pipe; ended in any case."""
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONPATH": str(ROOT)} | environ)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def topic(stack: Settings, contract: str) -> str:
    """An empty topic with the contract of another."""
    topics.setup(stack, quiet=True)
    row = replace(schemas.topics()[contract], name=f"test.{uuid.uuid4().hex}")
    topics.setup(stack, [row], quiet=True)
    return row.name


def send_raw(stack: Settings, name: str, *values: bytes | None, key: bytes | None = None, partition: int = ANY) -> None:
    """Append values to a topic as they are, whatever its contract says."""
    ConfirmedWriter(stack.kafka.bootstrap, int(PATIENCE_S)).write(name, [(key, value) for value in values], partition)
