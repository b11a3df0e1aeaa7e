"""Pacing: everything is sent once, in order, and not before its time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from connectors.market.columns import Ticks, concat
from connectors.market.simulator import Config, generate
from connectors.pace import send
from connectors.simulate import run


class Timed:
    """A writer that notes when it got what."""

    def __init__(self) -> None:
        self.chunks: list[Ticks] = []
        self.times: list[float] = []

    def write(self, ticks: Ticks) -> None:
        self.times += [time.monotonic()] * len(ticks)
        self.chunks.append(ticks)


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_ticks_leave_at_the_recorded_pace_times_speed(speed: float) -> None:
    writer = Timed()
    config = Config(rate=2_000.0 / speed, count=1_000, chunk=333)
    sent = send(generate(config), writer, speed)
    ticks, times = concat(writer.chunks), np.array(writer.times)
    assert sent.ticks == len(ticks) == 1_000
    assert_array_equal(ticks.ts_recv, concat(generate(config)).ts_recv)
    due = (ticks.ts_recv - ticks.ts_recv[0]) / 1e9 / speed
    assert (times - times[0] - due > -0.001).all()  # never early
    assert len(writer.chunks) > 20                  # and not in one burst


def test_unpaced_sends_at_once_and_stop_ends_it() -> None:
    writer = Timed()
    assert send(generate(Config(rate=1.0, count=50_000)), writer, None).ticks == 50_000
    stopped = send(generate(Config(rate=1_000.0)), writer, 1.0, stop=lambda: len(writer.times) >= 50_100)
    assert 100 <= stopped.ticks < 5_000


def test_a_receive_time_that_steps_back_does_not_overtake() -> None:
    ticks = concat(generate(Config(count=100, rate=100_000.0)))
    ticks.ts_recv[50] -= 10**12
    writer = Timed()
    send([ticks], writer, 1.0)
    assert_array_equal(concat(writer.chunks).seq, ticks.seq)


def test_a_live_market_is_timed_by_the_wall_clock() -> None:
    writer = Timed()
    before = time.time_ns()
    run(Config(rate=5_000.0, count=500), writer)
    ticks = concat(writer.chunks)
    assert before <= ticks.ts_recv[0] and ticks.ts_recv[-1] <= time.time_ns()
