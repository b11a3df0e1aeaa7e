"""FRED on loopback: vintages, paging, what a key is for, and restarts in the middle.

Answers have the form of https://fred.stlouisfed.org/docs/api/fred/series_observations.html; the host here keeps a table
of vintages and answers as the documentation says: one row for each span of days in which a date had one value, clipped
to the real-time period that was asked for.
"""
from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.slow.fred import Fred
from connectors.slow.items import iso_ns
from sigmaflow.errors import UserError
from tests.slow_server import NOW, QUICK, Asked, KilledError, ListLog, Reply, polled

Vintages = dict[tuple[str, str], str]
"""Value by date and day of publication."""
GDP: Vintages = {("2025-10-01", "2026-01-29"): "4.1", ("2025-10-01", "2026-01-30"): "4.0",
                 ("2025-07-01", "2025-10-30"): "3.9", ("2026-01-01", "2026-01-30"): "."}
END = "9999-12-31"


def rows(vintages: Vintages, start: str) -> list[dict[str, str]]:
    """As FRED tells them to who asks from a day on."""
    out = []
    for day in sorted({day for day, _ in vintages}):
        published = sorted(p for d, p in vintages if d == day)
        for this, following in zip(published, [*published[1:], END], strict=True):
            last = following if following == END else str(date.fromisoformat(following) - timedelta(days=1))
            if last >= start:
                out.append({"realtime_start": max(this, start), "realtime_end": last, "date": day,
                            "value": vintages[day, this]})
    return out


def fred(vintages: Vintages) -> Any:
    def reply(asked: Asked) -> Reply:
        if asked.params["api_key"] != "k" * 32:
            return 400, {}, {"error_code": 400, "error_message": "Bad Request.  The value for variable api_key is not"}
        if asked.params["series_id"] != "GDP":
            return 400, {}, {"error_code": 400, "error_message": "Bad Request.  The series does not exist."}
        found = rows(vintages, asked.params["realtime_start"])
        at, limit = int(asked.params["offset"]), int(asked.params["limit"])
        return 200, {}, {"count": len(found), "offset": at, "limit": limit, "observations": found[at:at + limit]}

    return reply


def source(series: str = "GDP", key: str = "k" * 32, page: int = 100_000) -> Any:
    return lambda address: Fred((series,), address, "2025-01-01", page, {"FRED_API_KEY": key}, QUICK)


def test_every_vintage_is_a_record_and_none_is_known_before_its_day_is_over() -> None:
    log = ListLog()
    polled(fred(GDP), source(), log)
    assert [(r["date"], r["realtime_start"], r["value"]) for r in log.records] == [
        ("2025-07-01", "2025-10-30", 3.9), ("2025-10-01", "2026-01-29", 4.1), ("2025-10-01", "2026-01-30", 4.0),
        ("2026-01-01", "2026-01-30", None)]
    assert log.records[0]["ts_known"] == iso_ns("2025-10-31T05:00:00Z")      # summer time in Chicago
    assert log.records[-1]["ts_known"] == iso_ns("2026-01-31T06:00:00Z")
    assert {r["ts_recv"] for r in log.records} == {NOW}


def test_a_value_read_on_its_day_is_known_at_its_receipt() -> None:
    log = ListLog()
    polled(fred(GDP), source(), log, now=iso_ns("2026-01-30T15:00:00Z"))
    assert log.records[-1]["ts_known"] == iso_ns("2026-01-30T15:00:00Z")


def test_a_second_start_asks_from_the_newest_vintage_and_finds_only_what_is_new() -> None:
    log = ListLog()
    polled(fred(GDP), source(), log)
    later = GDP | {("2025-10-01", "2026-02-26"): "4.2", ("2026-01-01", "2026-02-26"): "1.0"}
    host = polled(fred(later), source(), log, rounds=2)
    assert [asked.params["realtime_start"] for asked in host.asked] == ["2026-01-30", "2026-02-26"]
    assert [(r["date"], r["value"]) for r in log.records[4:]] == [("2025-10-01", 4.2), ("2026-01-01", 1.0)]


def test_pages_are_put_together() -> None:
    log = ListLog()
    host = polled(fred(GDP), source(page=3), log)
    assert [asked.params["offset"] for asked in host.asked] == ["0", "3"] and len(log.records) == 4


@settings(max_examples=12, deadline=None)
@given(st.dictionaries(st.tuples(st.sampled_from(["2025-01-01", "2025-01-02", "2025-01-03"]),
                                 st.sampled_from([f"2025-02-0{i}" for i in range(1, 8)])),
                       st.sampled_from(["1.0", "2.0", "."]), min_size=1), st.integers(0, 12), st.integers(1, 4))
def test_a_death_anywhere_loses_nothing_and_doubles_nothing(vintages: Vintages, dies_after: int, page: int) -> None:
    whole, log = ListLog(), ListLog(fails_after=dies_after)
    polled(fred(vintages), source(), whole)
    try:
        polled(fred(vintages), source(page=page), log)
    except KilledError:
        polled(fred(vintages), source(page=page), log)
    assert log.ids == whole.ids and len(set(log.ids)) == len(log.ids)


def test_without_a_key_the_user_is_told_where_to_get_one() -> None:
    with pytest.raises(UserError, match="FRED must have a key, but FRED_API_KEY is not set"):
        Fred(environ={})


@pytest.mark.parametrize(("series", "key", "says"), [("NONE", "k" * 32, "does not exist"), ("GDP", "zzzz", "api_key")])
def test_a_refusal_at_the_start_ends_the_command_and_never_shows_the_key(series: str, key: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        polled(fred(GDP), source(series, key), ListLog())
    assert "zzz" not in str(caught.value) and "kkk" not in str(caught.value)


@pytest.mark.parametrize("answer", [
    b"<html>", {}, {"observations": [{"date": "2025-01-01"}], "count": 1},
    {"observations": [{"date": "2025-01-01", "value": "x", "realtime_start": "2025-01-02"}], "count": 1},
    {"observations": [{"date": "2025-01-01", "value": "1", "realtime_start": "soon"}], "count": 1}])
def test_an_answer_that_is_none_is_told_and_nothing_of_it_is_written(answer: Any) -> None:
    log, said = ListLog(), list[str]()
    polled(lambda asked: (200, {}, answer), source(), log, said=said)
    assert not log.records and len(said) == 1


def test_limits_and_faults_are_waited_out() -> None:
    replies: list[Reply] = [(429, {"retry-after": "0"}, {}), (503, {}, {}), (0, {}, {})]
    log = ListLog()
    host = polled(lambda asked: replies.pop(0) if replies else fred(GDP)(asked), source(), log)
    assert len(host.asked) == 4 and len(log.records) == 4
