"""One market for all tests of this folder, and what it takes to ask Prometheus."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors import topics
from sigmaflow import probes, submit, supervise
from sigmaflow.audit import command
from sigmaflow.settings import Settings
from tests.pipeline.monitoring.live import Market, chain, refused_tick
from tests.waiting import wait_for


@pytest.fixture(scope="package")
def market(stack: Settings) -> Iterator[Market]:
    """Bring the chain, a market, the results process, fills, a dead letter and an audit about."""
    topics.setup(stack, quiet=True)
    running = Market(stack)
    try:
        chain(stack)
        supervise.start_program(stack, "results")
        running.start()
        refused_tick(stack)
        for name in ("fills", "rejected_ticks"):
            wait_for(f"{name} in the metrics", 240,
                     lambda name=name: f"sigmaflow_{name}_total{{" in probes.own_metrics(stack))
        command.run(settings=stack)
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
