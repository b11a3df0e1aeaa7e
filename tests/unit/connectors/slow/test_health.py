"""What a poller of slow data tells Prometheus, after looks at a host that fails in every way."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from connectors.slow.health import Health, SlowExporter
from connectors.slow.poll import Poller
from connectors.slow.rss import Rss
from connectors.slow.sentiment import TOPIC, Scorer
from tests.exposition import Samples, exposed
from tests.slow_server import NOW, QUICK, Asked, Host, ListLog

FEED = (200, {}, b"<rss version='2.0'><channel><title>t</title><item><title>n</title><guid>g</guid></item>"
        b"</channel></rss>")


def polled(replies: dict[str, list[Any]], rounds: int) -> tuple[Health, Samples]:
    """Look at feeds by their paths; the last reply of each is given again."""
    def reply(asked: Asked) -> Any:
        left = replies[asked.path]
        return left.pop(0) if len(left) > 1 else left[0]

    async def run() -> Health:
        async with Host(reply) as host, asyncio.timeout(20):
            source = Rss([f"{host.address}{path}" for path in replies], manners=QUICK)
            poller = Poller(source, ListLog(), 0.0, lambda: NOW, Random(1), lambda text: None)
            await poller.run(asyncio.Event(), rounds)
            return poller.health

    health = asyncio.run(run())
    return health, exposed(SlowExporter(health))


def test_looks_items_retries_and_waits_are_counted() -> None:
    health, seen = polled({"/a": [(503, {}, b""), (429, {"retry-after": "0"}, b""), FEED]}, 2)
    for name, count in (("looks", 2), ("items", 1), ("requests_sent", 4), ("requests_retries", 2),
                        ("requests_limited", 1), ("requests_waited_seconds", 0), ("gaps", 0)):
        assert seen[f"sigmaflow_slow_{name}_total", ("rss",)] == count, name
    assert not [key for key in seen if key[0] == "sigmaflow_slow_errors_total"]
    assert "1 new records in 2 looks, none failed" in health.line()


def test_failed_looks_are_counted_by_kind_and_a_part_that_fails_grows_old_alone() -> None:
    replies: dict[str, list[Any]] = {"/good": [FEED], "/dead": [(0, {}, b"")],
                                     "/bad": [FEED, (404, {}, b""), (429, {"retry-after": "999"}, b"")]}
    health, seen = polled(replies, 3)
    counts = {key[1][0]: value for key, value in seen.items() if key[0] == "sigmaflow_slow_errors_total"}
    assert counts == {"refused": 1, "limited": 1, "lost": 3}
    assert seen["sigmaflow_slow_requests_waited_seconds_total", ("rss",)] == 999
    ages = {part.rsplit("/", 1)[1]: seen["sigmaflow_slow_last_success_age_seconds", (part, "rss")]
            for part in health.parts}
    assert ages["good"] < ages["bad"] < ages["dead"]
    assert health.line().endswith("9 looks, 1 limited, 3 lost, 1 refused, 0 gaps")


def test_a_part_that_never_answered_is_as_old_as_the_process() -> None:
    now = [5.0]
    health = Health("fred", ("DFF", "ICSA"), 60.0, monotonic=lambda: now[0])
    now[0] = 9.0
    health.success("DFF", 3)
    now[0] = 10.0
    seen = exposed(SlowExporter(health))
    assert seen["sigmaflow_slow_last_success_age_seconds", ("DFF", "fred")] == 1.0
    assert seen["sigmaflow_slow_last_success_age_seconds", ("ICSA", "fred")] == 5.0
    assert seen["sigmaflow_slow_interval_seconds", ("fred",)] == 60.0


def test_a_scorer_that_waits_for_items_is_not_stale() -> None:
    async def run() -> Scorer:
        scorer = Scorer(object(), ListLog())                                        # type: ignore[arg-type]
        before = scorer.health.succeeded[TOPIC]
        await scorer.run(iter([[], []]), asyncio.Event())
        assert scorer.health.looks == 2 and scorer.health.succeeded[TOPIC] > before
        return scorer

    assert asyncio.run(run()).health.items == 0
