"""A trained model for tests: learned in a second from a short simulation, once a test session."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from connectors.market.simulator import Config, generate
from sigmaflow import learning, train
from udfs import profiles
from udfs.stage import Columns

TICKS, RATE = 14_000, 500.0


@dataclass(frozen=True)
class Example:
    """A model, the folder that it is in, and the signals that it learned from."""

    folder: Path
    digest: str
    signals: Columns
    log: list[list[bytes]]


@cache
def example() -> Example:
    """The same one at every call."""
    folder = Path(mkdtemp(prefix="sigmaflow-models-"))
    log = train.messages(generate(Config(seed=3, symbols=3, rate=RATE, count=TICKS)))
    signals = learning.signals(profiles.DEFAULT, log)
    made = learning.train(profiles.DEFAULT, signals, "a test", folder, folds=1, rounds=8)
    return Example(folder, made.digest, signals, log)
