"""Counts of a feed as Prometheus reads them, over HTTP."""

from __future__ import annotations

import orjson
import pytest

from connectors.market.records import Malformed
from connectors.venues.health import KEPT, NS, Health, VenueExporter, reason
from tests import exposition
from tests.exposition import Samples

NOW = 1_700_000_000 * NS


def exposed(*feeds: Health) -> Samples:
    return exposition.exposed(VenueExporter(*feeds))


def test_each_venue_has_its_metrics() -> None:
    health = Health("coinbase", monotonic=lambda: 12.0, connected=True, heard=10.5, ticks=7, reconnects=2, gaps=3)
    health.used["l2_data"] = 5
    health.ignored["ticker"] = 4
    health.reject(KeyError("bids"))
    health.checks["equal"] = 9
    seen = exposed(health, Health("binance"))
    assert seen["sigmaflow_venue_connection_state", ("coinbase",)] == 1
    assert seen["sigmaflow_venue_connection_state", ("binance",)] == 0
    assert seen["sigmaflow_venue_last_message_age_seconds", ("coinbase",)] == 1.5
    assert ("sigmaflow_venue_last_message_age_seconds", ("binance",)) not in seen
    assert seen["sigmaflow_venue_messages_total", ("used", "l2_data", "coinbase")] == 5
    assert seen["sigmaflow_venue_messages_total", ("ignored", "ticker", "coinbase")] == 4
    assert seen["sigmaflow_venue_rejected_messages_total", ("missing_field", "coinbase")] == 1
    assert seen["sigmaflow_venue_book_checks_total", ("equal", "coinbase")] == 9
    for name, count in (("ticks", 7), ("reconnects", 2), ("gaps", 3)):
        assert seen[f"sigmaflow_venue_{name}_total", ("coinbase",)] == count


@pytest.mark.parametrize(("delay_s", "latencies", "ahead"), [(0.02, 1, 0), (0.0, 1, 0), (-1.27, 0, 1), (3_600.0, 0, 0)])
def test_a_latency_is_never_negative(delay_s: float, latencies: int, ahead: int) -> None:
    health = Health("binance")
    health.arrived(NOW + int(delay_s * NS), NOW)
    seen = exposed(health)
    assert seen["sigmaflow_venue_latency_seconds_count", ("binance",)] == latencies
    assert seen["sigmaflow_venue_latency_seconds_sum", ("binance",)] >= 0
    assert seen["sigmaflow_venue_clock_ahead_total", ("binance",)] == ahead
    assert seen["sigmaflow_venue_clock_ahead_seconds", ("binance",)] == pytest.approx(1.27 if ahead else 0)


def test_reasons_are_few_words_whatever_the_frame_says() -> None:
    errors = [orjson.JSONDecodeError("x", "y", 0), KeyError("x"), IndexError(), OverflowError(), ValueError("1"),
              TypeError(), AttributeError(), Malformed("x")]
    assert {reason(error) for error in errors} == {"not_json", "missing_field", "out_of_range", "no_number",
                                                   "wrong_type", "malformed"}


def test_the_words_of_rejected_frames_are_kept_up_to_a_number() -> None:
    health = Health("x")
    for number in range(2 * KEPT):
        health.reject(ValueError(str(number)))
    assert health.rejected["no_number"] == 2 * KEPT == health.frames and len(health.words) == KEPT
