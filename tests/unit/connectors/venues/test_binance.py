"""Binance on loopback: streams and the REST snapshot that starts a book."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.testing import assert_array_equal
from websockets.asyncio.server import ServerConnection

from connectors.market.binance import DIFFERENT, Session
from connectors.market.columns import EVENT_TIME_IS_RECEIVE_TIME, GAP, SELL
from connectors.venues.binance import Binance
from connectors.venues.feed import Feed
from sigmaflow.errors import UserError
from tests.venue_server import List, Server, played, send

BTC = "BTCUSDT"
RECEIVED = EVENT_TIME_IS_RECEIVE_TIME


def quote(number: int, bid: str = "100.0", symbol: str = BTC, size: str = "1") -> dict[str, Any]:
    return {"stream": f"{symbol.lower()}@bookTicker",
            "data": {"u": number, "s": symbol, "b": bid, "B": size, "a": "101.0", "A": "2"}}


def trade(number: int, price: str = "100.5") -> dict[str, Any]:
    return {"stream": "btcusdt@trade", "data": {"e": "trade", "E": 1_700_000_000_000, "s": BTC, "t": number, "p": price,
                                                "q": "1", "T": 1, "m": True}}


def depth(first: int, last: int, bid: str = "100.0", size: str = "1") -> dict[str, Any]:
    return {"stream": "btcusdt@depth@100ms", "data": {"e": "depthUpdate", "E": 1_700_000_000_000, "s": BTC, "U": first,
                                                      "u": last, "b": [[bid, size]], "a": []}}


def book(number: int, bid: str = "100.0") -> dict[str, Any]:
    return {"lastUpdateId": number, "bids": [[bid, "1"], ["90", "1"]], "asks": [["101.0", "2"], ["110", "1"]]}


def snapshots(*numbers: int) -> Any:
    """Answers with these ids one after another, the last one again."""
    left = list(numbers)
    return lambda path: (200, {}, book(left.pop(0) if len(left) > 1 else left[0]))


def venue(server: Server) -> Binance:
    return Binance(server.ws, server.http, settle_s=0.02)


def run(server: Server, ticks: int, symbols: tuple[str, ...] = (BTC,), **settings: Any) -> tuple[Feed, List]:
    return played(server, venue, symbols, lambda feed, sink: sink.count >= ticks, **settings)


def asking(server: Server, times: int) -> Any:
    """Waits until so many snapshots have been asked for, and a moment for the answer."""
    async def wait() -> None:
        while len(server.paths) < times:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)

    return wait()


def test_quotes_trades_and_a_book_that_is_started_by_a_snapshot() -> None:
    async def script(socket: ServerConnection) -> None:
        for frame in (depth(1, 5), quote(4), trade(7), depth(6, 12)):
            await socket.send(orjson.dumps(frame).decode())
        await asking(server, 1)
        await send(quote(13, "100.1"), depth(13, 14, "100.1"), quote(15, "100.2"))(socket)

    server = Server([script], answers=snapshots(8))
    feed, sink = run(server, 3)
    assert server.paths == [f"/api/v3/depth?symbol={BTC}&limit=1000"]
    assert_array_equal(sink.ticks.bid, [100.0, 100.1, 100.2])
    assert_array_equal(sink.ticks.last_price, [np.nan, 100.5, 100.5])
    assert_array_equal(sink.ticks.last_side[1:], SELL)
    assert_array_equal(sink.ticks.flags, RECEIVED)
    assert feed.health.checks == {"equal": 2}
    assert (feed.health.gaps, feed.health.resyncs, feed.health.rejected.total()) == (0, 1, 0)


def test_a_snapshot_older_than_all_updates_is_asked_for_again() -> None:
    server = Server([send(depth(10, 12), quote(12), quote(13))], answers=snapshots(5, 11))
    feed, _ = played(server, venue, (BTC,), lambda feed, sink: len(server.paths) == 2)
    assert feed.health.gaps == 0


def test_updates_older_than_the_snapshot_are_passed_over_and_one_that_overlaps_is_not() -> None:
    session = Session([BTC])
    for frame in (depth(1, 5, "100.3"), depth(6, 12, "100.2"), {"stream": "btcusdt@depthSnapshot", "data": book(8)}):
        session.frame(1, frame)
    held = session.books.book(BTC)
    assert held is not None and held.top(2)[0] == [(100.2, 1.0), (100.0, 1.0)]
    assert not session.wanting


def test_a_gap_is_repaired_from_a_snapshot_and_the_ticks_in_between_are_marked() -> None:
    async def script(socket: ServerConnection) -> None:
        await asking(server, 1)
        for frame in (depth(1, 12), quote(12), depth(15, 16), quote(17)):          # 13 and 14 are lost
            await socket.send(orjson.dumps(frame).decode())
        await asking(server, 2)
        await send(quote(31), depth(31, 32), quote(33))(socket)

    server = Server([script], answers=snapshots(8, 30))
    feed, sink = run(server, 4)
    assert_array_equal(sink.ticks.flags, [RECEIVED, RECEIVED | GAP, RECEIVED | GAP, RECEIVED])
    assert (feed.health.gaps, feed.health.reconnects) == (1, 0)


def test_a_trade_that_is_lost_marks_the_next_tick() -> None:
    server = Server([send(quote(1), trade(7), quote(2), trade(9), quote(3), trade(9, "1"), quote(4))],
                    answers=snapshots(8))
    feed, sink = run(server, 4)
    assert_array_equal(sink.ticks.flags & GAP, [0, 0, GAP, 0])
    assert sink.ticks.last_price[-1] == 100.5                                       # the same trade again is none
    assert feed.health.gaps == 1


@pytest.mark.parametrize("wrong", [{"B": None}, {"A": "0.-10000"}, {"b": "nothing"}, {"u": None}])
def test_a_quote_without_a_size_or_with_one_that_is_no_number_is_counted_and_no_tick(wrong: dict[str, Any]) -> None:
    bad = quote(2, "100.1")
    bad["data"] = {name: value for name, value in (bad["data"] | wrong).items() if value is not None}
    feed, sink = run(Server([send(quote(1), bad, quote(3, "100.2"))], answers=snapshots(8)), 2)
    assert_array_equal(sink.ticks.bid, [100.0, 100.2])
    assert feed.health.rejected == {"no_number" if None not in wrong.values() else "missing_field": 1}


def test_a_quote_older_than_the_last_one_is_no_tick() -> None:
    _, sink = run(Server([send(quote(5), quote(4, "99"), quote(6))], answers=snapshots(8)), 2)
    assert_array_equal(sink.ticks.bid, 100.0)


def test_a_book_that_differs_from_the_venues_quote_is_taken_for_wrong() -> None:
    session = Session([BTC])
    session.frame(1, {"stream": "btcusdt@depthSnapshot", "data": book(8)})
    for number in range(9, 9 + 2 * DIFFERENT + 2, 2):
        session.frame(1, depth(number, number + 1, size="3"))
        session.frame(1, quote(number))
    assert session.wanting == {BTC}
    assert session.checks == {"different": DIFFERENT}
    _, (marked,) = session.frame(1, quote(50))
    assert marked.flags & GAP


def test_levels_that_the_snapshot_did_not_reach_are_fetched_before_they_are_the_touch() -> None:
    session = Session([BTC])
    session.frame(1, {"stream": "btcusdt@depthSnapshot", "data": book(8)})
    session.frame(1, depth(9, 9, "80"))
    assert not session.wanting
    for i, price in enumerate(("100.0", "90")):
        session.frame(1, depth(10 + i, 10 + i, price, "0"))
    assert session.wanting == {BTC}
    _, (quoted,) = session.frame(1, quote(12))
    assert not quoted.flags & GAP                                                   # nothing was lost


def test_a_crossed_book_is_fetched_anew() -> None:
    session = Session([BTC])
    session.frame(1, {"stream": "btcusdt@depthSnapshot", "data": book(8)})
    session.frame(1, depth(9, 9, "101.5"))
    assert session.wanting == {BTC}


@pytest.mark.parametrize("empty", [{"bids": [], "asks": []}, {"bids": [["1", "1"]], "asks": []}])
def test_an_empty_snapshot_is_none(empty: dict[str, Any]) -> None:
    session = Session([BTC])
    session.frame(1, {"stream": "btcusdt@depthSnapshot", "data": {"lastUpdateId": 8} | empty})
    assert session.wanting == {BTC}


def test_a_cut_connection_marks_the_first_tick_of_each_symbol() -> None:
    async def cut(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(quote(1)).decode())

    server = Server([cut, send(quote(5), quote(5, symbol="ETHUSDT"), quote(6))], answers=snapshots(8))
    feed, sink = run(server, 4, (BTC, "ETHUSDT"))
    assert_array_equal(sink.ticks.flags & GAP, [0, GAP, GAP, 0])
    assert feed.health.reconnects == 1


def test_a_quiet_market_is_not_a_dead_connection_since_pings_are_answered() -> None:
    async def quiet(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(quote(1)).decode())
        await asyncio.sleep(1.0)
        await send(quote(2))(socket)

    feed, _ = run(Server([quiet], answers=snapshots(8)), 2)
    assert feed.health.reconnects == 0


def test_a_server_that_answers_no_ping_is_left() -> None:
    async def deaf(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(quote(1)).decode())
        socket.transport.pause_reading()
        await asyncio.sleep(1.5)

    feed, sink = run(Server([deaf, send(quote(2))], answers=snapshots(8)), 2)
    assert feed.health.reconnects == 1
    assert_array_equal(sink.ticks.flags & GAP, [0, GAP])


def test_a_symbol_that_does_not_exist_is_told_to_the_user() -> None:
    server = Server([send()], answers=lambda path: (400, {}, {"code": -1121, "msg": "Invalid symbol."}))
    with pytest.raises(UserError, match="Invalid symbol"):
        run(server, 1, ("NOPE",))


@pytest.mark.parametrize("status", [429, 418])
def test_a_limit_of_the_rest_interface_is_heeded_while_quotes_go_on(status: int) -> None:
    answers = [(status, {"Retry-After": "1"}, {}), (500, {}, {}), (200, {}, book(8))]
    times: list[float] = []

    def answer(path: str) -> Any:
        times.append(asyncio.get_running_loop().time())
        return answers[len(times) - 1]

    async def script(socket: ServerConnection) -> None:
        for number in range(9, 10_000):
            await socket.send(orjson.dumps(quote(number)).decode())
            await asyncio.sleep(0.01)

    feed, sink = played(Server([script], answers=answer), venue, (BTC,), lambda feed, sink: len(times) == 3)
    assert times[1] - times[0] >= 1.0
    assert sink.count > 50 and feed.health.reconnects == 0


def test_a_long_ban_is_not_sat_out_in_silence() -> None:
    said: list[str] = []
    server = Server([send(quote(1))], answers=lambda path: (418, {"Retry-After": "259200"}, {}))
    feed, _ = played(server, venue, (BTC,), lambda feed, sink: feed.health.limited == 1)
    assert len(server.paths) == 1 and feed.health.reconnects == 0 and not said


def test_an_error_frame_ends_the_run_at_the_start() -> None:
    server = Server([send({"error": {"code": 2, "msg": "Invalid request"}, "id": 1})], answers=snapshots(8))
    with pytest.raises(UserError, match="Invalid request"):
        run(server, 1)
