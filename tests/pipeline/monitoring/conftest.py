"""One market for all tests of this folder, and what it takes to ask Prometheus."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors import topics
from sigmaflow import probes, submit, supervise
from sigmaflow.audit import command
from sigmaflow.settings import Settings
from tests.pipeline.monitoring.live import Market, chain, foreign_intent, refused_tick
from tests.waiting import wait_for


@pytest.fixture(scope="package")
def market(stack: Settings) -> Iterator[Market]:
    """Bring the chain, a market, the results process, fills, a dead letter, a foreign record and an audit that finds it
    about.
    """
    topics.setup(stack, quiet=True)
    running = Market(stack)
    try:
        chain(stack)
        supervise.start_program(stack, "results")
        running.start()
        refused_tick(stack)
        foreign_intent(stack)
        for name in ("fills", "rejected_ticks"):
            wait_for(f"{name} in the metrics",
                     lambda name=name: f"sigmaflow_{name}_total{{" in probes.own_metrics(stack))
        assert command.run(settings=stack).found > 0
        yield running
    finally:
        running.stop()
        supervise.stop_program(stack, "results")
        submit.cancel_all(stack)


@pytest.fixture(scope="package")
def watched(stack: Settings, request: pytest.FixtureRequest) -> Market:
    """The market where there is a Prometheus; without one it is not even started."""
    if stack.prometheus.executable is None:
        pytest.skip("Prometheus is not installed on this machine")
    running: Market = request.getfixturevalue("market")
    return running
