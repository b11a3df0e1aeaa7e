"""Coinbase on loopback: what the venue may do, and what comes of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.testing import assert_array_equal
from websockets.asyncio.server import ServerConnection

from connectors.market.columns import EVENT_TIME_IS_RECEIVE_TIME, GAP, SELL, UNKNOWN
from connectors.venues.coinbase import CHANNELS, Coinbase
from connectors.venues.feed import Feed
from sigmaflow.errors import UserError
from tests.venue_server import QUICK, List, Script, Server, hold, played, send, send_and_close

BTC, ETH = "BTC-USD", "ETH-USD"
TIME = "2026-08-09T21:05:48.25Z"


def level2(number: int, kind: str, *updates: tuple[str, str, str], product: str = BTC,
           time: str = TIME) -> dict[str, Any]:
    held = [{"side": side, "price_level": price, "new_quantity": size, "event_time": time}
            for side, price, size in updates]
    return {"channel": "l2_data", "sequence_num": number, "timestamp": TIME,
            "events": [{"type": kind, "product_id": product, "updates": held}]}


def snapshot(number: int, bid: str = "10", product: str = BTC) -> dict[str, Any]:
    return level2(number, "snapshot", ("bid", bid, "1"), ("bid", "5", "9"), ("offer", "12", "2"), product=product)


def heartbeat(number: int) -> dict[str, Any]:
    return {"channel": "heartbeats", "sequence_num": number, "timestamp": TIME,
            "events": [{"current_time": "2026-08-09 21:05:48 +0000 UTC m=+4", "heartbeat_counter": number}]}


def run(server: Server, ticks: int, symbols: tuple[str, ...] = (BTC,), **settings: Any) -> tuple[Feed, List]:
    return played(server, lambda s: Coinbase(s.ws), symbols, lambda feed, sink: sink.count >= ticks, **settings)


def test_every_channel_is_subscribed_and_the_snapshot_may_come_before_the_answer() -> None:
    async def script(socket: ServerConnection) -> None:
        for _ in CHANNELS:
            await server.next(socket)
        await send(snapshot(0), {"channel": "subscriptions", "sequence_num": 1, "events": []},
                   level2(2, "update", ("bid", "11", "3")))(socket)

    server = Server([script])
    feed, sink = run(server, 2)
    assert [message["channel"] for message in server.heard] == list(CHANNELS)
    assert all(message["type"] == "subscribe" and message["product_ids"] == [BTC] for message in server.heard)
    assert_array_equal(sink.ticks.bid, [10, 11])
    assert_array_equal(sink.ticks.seq, [1, 2])
    assert_array_equal(sink.ticks.flags, 0)
    assert feed.health.gaps == feed.health.reconnects == feed.health.rejected.total() == 0


def test_a_cut_connection_is_made_again_and_subscribed_again_and_the_first_tick_says_so() -> None:
    def subscribed(then: Script) -> Script:
        async def script(socket: ServerConnection) -> None:
            for _ in CHANNELS:
                await server.next(socket)
            await then(socket)

        return script

    server = Server([subscribed(send_and_close(snapshot(0), heartbeat(1))),
                     subscribed(send(snapshot(0, "11"), level2(1, "update", ("bid", "11.5", "3"))))])
    feed, sink = run(server, 3)
    assert [message["channel"] for message in server.heard] == 2 * list(CHANNELS)
    assert server.connections == 2 and feed.health.reconnects == 1
    assert_array_equal(sink.ticks.bid, [10, 11, 11.5])
    assert_array_equal(sink.ticks.seq, [1, 2, 3])
    assert_array_equal(sink.ticks.flags, [0, GAP, 0])


@pytest.mark.parametrize("seed", [1, 2])
def test_waits_between_connections_double_up_to_a_cap_with_jitter(seed: int) -> None:
    """Each wait is at least half of the whole one, which doubles from 20 to 160 ms, and its share is by chance."""
    server = Server([send(snapshot(0))], turned_away=[(503, {})] * 5)
    feed, _ = run(server, 1, patience=replace(QUICK, base_s=0.02, cap_s=0.16), rng=Random(seed))
    chance = Random(seed)
    waits = [whole * (0.5 + 0.5 * chance.random()) for whole in (0.02, 0.04, 0.08, 0.16, 0.16)]
    assert all(gap >= wait for gap, wait in zip(np.diff(server.knocks), waits, strict=True))
    assert server.knocks[-1] - server.knocks[0] < sum(waits) + 5 * 0.1              # and not much more
    assert feed.health.reconnects == 5


def test_a_missed_heartbeat_ends_the_connection_even_while_other_frames_come() -> None:
    async def silent(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(snapshot(0)).decode())
        for number in range(1, 1_000):
            await socket.send(orjson.dumps({"channel": "ticker", "sequence_num": number, "events": []}).decode())
            await asyncio.sleep(0.01)

    feed, sink = run(Server([silent, send(snapshot(0, "11"))]), 2)
    assert feed.health.reconnects == 1
    assert_array_equal(sink.ticks.flags, [0, GAP])


def test_heartbeats_keep_a_quiet_connection() -> None:
    async def quiet(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(snapshot(0)).decode())
        for number in range(1, 11):
            await socket.send(orjson.dumps(heartbeat(number)).decode())
            await asyncio.sleep(0.1)
        await send(level2(11, "update", ("bid", "11", "1")))(socket)

    feed, _ = run(Server([quiet]), 2)
    assert feed.health.reconnects == 0


def test_a_gap_is_repaired_from_a_snapshot_and_the_ticks_in_between_are_marked() -> None:
    async def script(socket: ServerConnection) -> None:
        for _ in CHANNELS:
            await server.next(socket)
        for frame in (snapshot(0), level2(1, "update", ("bid", "10.5", "1")),
                      heartbeat(3),                                   # 2 is lost, and might have been of the book
                      level2(4, "update", ("bid", "11", "1"))):
            await socket.send(orjson.dumps(frame).decode())
        assert [(await server.next(socket))["type"] for _ in range(2)] == ["unsubscribe", "subscribe"]
        await send(snapshot(5, "10.8"), level2(6, "update", ("bid", "10.9", "1")))(socket)

    server = Server([script])
    feed, sink = run(server, 5)
    assert_array_equal(sink.ticks.bid, [10, 10.5, 11, 10.8, 10.9])
    assert_array_equal(sink.ticks.flags, [0, 0, GAP, GAP, 0])
    assert (feed.health.gaps, feed.health.resyncs, feed.health.reconnects) == (1, 1, 0)
    assert server.heard[-1] == {"type": "subscribe", "product_ids": [BTC], "channel": "level2"}


def test_one_counter_over_all_channels_and_products() -> None:
    """A message of another channel, of another product or an answer does not look like a gap; its loss does."""
    frames = [snapshot(0), snapshot(1, product=ETH), {"channel": "candles", "sequence_num": 2, "events": []},
              {"channel": "subscriptions", "sequence_num": 3, "events": []}, heartbeat(4),
              level2(5, "update", ("bid", "11", "1")), level2(7, "update", ("bid", "11", "1"), product=ETH),
              level2(8, "update", ("bid", "11.5", "1"))]
    feed, sink = run(Server([send(*frames)]), 5, (BTC, ETH))
    assert feed.health.gaps == 1
    assert_array_equal(sink.ticks.flags, [0, 0, 0, GAP, GAP])
    assert feed.health.ignored == {"candles": 1}


def test_a_message_that_comes_again_or_late_changes_nothing() -> None:
    late = level2(1, "update", ("bid", "11.9", "1"))
    frames = [snapshot(0), level2(1, "update", ("bid", "11", "1")), level2(2, "update", ("bid", "11", "2")), late,
              level2(3, "update", ("bid", "11", "3"))]
    feed, sink = run(Server([send(*frames)]), 4)
    assert_array_equal(sink.ticks.bid, [10, 11, 11, 11])
    assert feed.health.ignored == {"old": 1} and feed.health.gaps == 0


@pytest.mark.parametrize(("bad", "reason"), [
    (level2(1, "update", ("bid", "11", "0.-10000")), "no_number"),
    (level2(1, "update", ("bid", "11", "-1")), "malformed"),
    (level2(1, "update", ("middle", "11", "1")), "malformed"),
    ({"channel": "l2_data", "sequence_num": 1, "events": [{"type": "update", "product_id": BTC, "updates": [
        {"side": "bid", "price_level": "11", "event_time": TIME}]}]}, "missing_field"),
    ({"channel": "l2_data", "sequence_num": 1, "events": [{"type": "update", "product_id": BTC}]}, "missing_field"),
    ({"channel": 5, "sequence_num": 1}, "malformed"),
    ('{"channel": "l2_data", "sequence_num": 1, "eve', "not_json"), (b"\x1f\x8b\x00", "not_json"),
    (b"\xff\xfe{}", "not_json"), ('"text"', "malformed"), ("", "not_json")])
def test_a_frame_that_cannot_be_read_is_counted_and_its_book_is_fetched_anew(bad: Any, reason: str) -> None:
    feed, sink = run(Server([send(snapshot(0), bad, heartbeat(2), level2(3, "update", ("bid", "11", "1")),
                                  snapshot(4, "11.5"), level2(5, "update", ("bid", "11.6", "1")))]), 4)
    assert feed.health.rejected == {reason: 1}
    assert_array_equal(sink.ticks.bid, [10, 11, 11.5, 11.6])
    assert sink.ticks.flags[-1] == 0 and feed.health.frames == 6
    if isinstance(bad, dict) and "sequence_num" in bad and bad["channel"] == "l2_data":
        assert_array_equal(sink.ticks.flags, [0, GAP, GAP, 0])


def test_binary_frames_and_frames_in_parts_are_read() -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(snapshot(0)))
        text = orjson.dumps(level2(1, "update", ("bid", "11", "1"))).decode()
        await socket.send([text[:40], text[40:41], text[41:]])
        await hold(socket)

    feed, sink = run(Server([script]), 2)
    assert_array_equal(sink.ticks.bid, [10, 11])
    assert feed.health.rejected.total() == 0


def test_a_crossed_or_empty_book_gives_no_tick_and_a_crossed_one_is_fetched_anew() -> None:
    async def script(socket: ServerConnection) -> None:
        for _ in CHANNELS:
            await server.next(socket)
        for frame in (snapshot(0), level2(1, "update", ("bid", "13", "1"))):               # crosses
            await socket.send(orjson.dumps(frame).decode())
        await server.next(socket)
        await send(snapshot(2, "11"), level2(3, "update", ("offer", "12", "0")),           # no ask is left
                   level2(4, "update", ("bid", "11.1", "1")), level2(5, "update", ("offer", "11.2", "1")))(socket)

    server = Server([script])
    feed, sink = run(server, 3)
    assert_array_equal(sink.ticks.bid, [10, 11, 11.1])
    assert_array_equal(sink.ticks.ask, [12, 12, 11.2])
    assert_array_equal(sink.ticks.flags, [0, GAP, 0])
    assert feed.health.resyncs == 1


def test_a_time_of_year_one_is_no_time() -> None:
    frames = [snapshot(0), level2(1, "update", ("bid", "11", "1"), time="0001-01-01T00:00:00.000000Z")]
    _, sink = run(Server([send(*frames)]), 2, now_ns=lambda: 1_786_309_548_500_000_000)
    assert_array_equal(sink.ticks.flags, [0, EVENT_TIME_IS_RECEIVE_TIME])
    assert_array_equal(sink.ticks.ts_event, [1_786_309_548_250_000_000, 1_786_309_548_500_000_000])


@pytest.mark.parametrize(("behind_s", "latencies", "ahead"), [(0.25, 2, 0), (-1.27, 0, 2), (3_600.0, 0, 0)])
def test_latency_is_measured_only_where_the_clocks_agree(behind_s: float, latencies: int, ahead: int) -> None:
    """A clock behind the venue's by 1.27 s, as the recorder's was, gives no negative latency; ticks go on."""
    now = 1_786_309_548_250_000_000 + int(behind_s * 1e9)
    feed, sink = run(Server([send(snapshot(0), level2(1, "update", ("bid", "11", "1")))]), 2, now_ns=lambda: now)
    assert sum(feed.health.latency.counts) == latencies
    assert feed.health.ahead == ahead
    assert feed.health.ahead_s == pytest.approx(1.27 if ahead else 0.0)
    assert_array_equal(sink.ticks.ts_event, 1_786_309_548_250_000_000)
    assert_array_equal(sink.ticks.ts_recv, now)


def test_trades_are_newest_first_and_by_the_makers_side() -> None:
    trades = [{"product_id": BTC, "price": "10.5", "size": "2", "side": "BUY", "time": TIME},
              {"product_id": BTC, "price": "10.4", "size": "1", "side": "SELL", "time": TIME}]
    frames = [snapshot(0), {"channel": "market_trades", "sequence_num": 1, "events": [{"type": "update",
                                                                                    "trades": trades}]},
              level2(2, "update", ("bid", "11", "1"))]
    _, sink = run(Server([send(*frames)]), 2)
    assert_array_equal(sink.ticks.last_price[1:], 10.5)
    assert_array_equal(sink.ticks.last_side, [UNKNOWN, SELL])


def test_a_refused_subscription_is_told_to_the_user() -> None:
    server = Server([send({"type": "error", "message": "XXX-USD is not a valid product"})])
    with pytest.raises(UserError, match="coinbase must accept the subscription, but it says: XXX-USD is not a valid"):
        run(server, 1, ("XXX-USD",))


def test_an_error_long_after_the_start_is_a_reason_to_connect_again() -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(snapshot(0)).decode())
        await asyncio.sleep(0.15)
        await send({"type": "error", "message": "internal"})(socket)

    feed, _ = run(Server([script, send(snapshot(0, "11"))]), 2, patience=replace(QUICK, steady_s=0.1))
    assert feed.health.reconnects == 1


def test_a_server_that_stops_reading_and_answering_is_left() -> None:
    async def deaf(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(snapshot(0)).decode())
        socket.transport.pause_reading()
        await asyncio.sleep(1)

    feed, sink = run(Server([deaf, send(snapshot(0, "11"))]), 2)
    assert feed.health.reconnects == 1
    assert_array_equal(sink.ticks.flags, [0, GAP])


@pytest.mark.parametrize("status", [429, 418])
def test_a_handshake_that_is_turned_away_is_not_repeated_too_soon(status: int) -> None:
    server = Server([send(snapshot(0))], turned_away=[(status, {"Retry-After": "1"}), (503, {})])

    async def timed() -> float:
        return asyncio.get_running_loop().time()

    began = asyncio.run(timed())
    feed, _ = run(server, 1)
    assert asyncio.run(timed()) - began >= 1.0
    assert feed.health.limited == 1 and feed.health.reconnects == 2


def test_numbering_goes_on_where_an_earlier_run_ended() -> None:
    first = {("COINBASE", BTC): 1_001}
    _, sink = run(Server([send(snapshot(0), level2(1, "update", ("bid", "11", "1")))]), 2,
                  first=lambda instrument: first[instrument], gap=True)
    assert_array_equal(sink.ticks.seq, [1_001, 1_002])
    assert_array_equal(sink.ticks.flags, [GAP, 0])


def endless() -> Script:
    async def script(socket: ServerConnection) -> None:
        await socket.send(orjson.dumps(snapshot(0)).decode())
        for number in range(1, 100_000):
            await socket.send(orjson.dumps(level2(number, "update", ("bid", "11", str(number)))).decode())

    return script


def test_stopping_in_the_middle_writes_and_flushes_all_that_was_read() -> None:
    feed, sink = run(Server([endless()]), 500)
    assert sink.flushed == sink.count == feed.health.ticks
    assert_array_equal(sink.ticks.seq, range(1, sink.count + 1))
    assert sink.count == feed.health.used["l2_data"]


class Refusing(List):
    def write(self, ticks: Any) -> None:
        raise UserError("ticks", "Kafka must answer", "it does not", "start it")


@pytest.mark.parametrize("count", [1, 2_000])
def test_a_sink_that_fails_ends_the_run(count: int) -> None:
    script = send(snapshot(0)) if count == 1 else endless()
    with pytest.raises(UserError, match="Kafka must answer"):
        run(Server([script]), count, sink=Refusing())
