"""One run of a backtest in this process: a log through the chain's workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from jobs.chain.bounded import BoundedEdges, Pipeline
from jobs.chain.inprocess import contracts
from jobs.chain.messages import Emission, MicroBatch
from jobs.chain.shard import TICKS
from jobs.warm import TICKS_EACH, ticks
from sigmaflow.backtest.inputs import Input
from sigmaflow.backtest.results import Collector
from udfs.models import Models
from udfs.profiles import Profile

Progress = Callable[[int], None]
"""Told how many ticks went through so far."""
Take = Callable[[Emission], None]


@dataclass(frozen=True)
class Ran:
    """What a run left behind, and its length on this machine's clock, seconds."""

    results: Collector
    seconds: float

    @property
    def speed(self) -> float:
        """Ticks a second."""
        return self.results.counts.ticks / self.seconds if self.seconds > 0 else 0.0


def warm(profile: Profile) -> None:
    """Load the compiled kernels, or compile them where there are none yet, so that no run is charged with it."""
    pipeline = Pipeline(profile, contracts(), BoundedEdges([TICKS_EACH + 1]), 1)
    messages = ticks(TICKS_EACH)
    results = Collector(contracts())
    for emission in pipeline.process(MicroBatch(TICKS, 0, messages, range(len(messages)))):
        results.take(emission)
    for frame in results.frames.values():
        frame.whole()


def run(given: Input, profile: Profile, models: Models | None = None, progress: Progress = lambda ticks: None,
        lean: bool = False) -> Ran:
    """Run in this process. `lean` as `Collector` has it."""
    began, results = time.perf_counter(), Collector(given.contracts, lean)
    pipeline = Pipeline(profile, given.contracts, edges(given), len(given.log.ends), models)
    for batch in given.log.batches():
        for emission in pipeline.process(batch):
            results.take(emission)
        results.counts.ticks += len(batch.messages)
        results.counts.accepted = pipeline.accepted
        progress(results.counts.ticks)
    return Ran(results, time.perf_counter() - began)


def edges(given: Input) -> BoundedEdges:
    """Edges of a run over an input: each run has its own."""
    return BoundedEdges(given.log.ends, given.frontiers, given.rulings)
