"""Bybit on loopback: a fourth venue is one parser and one file of addresses."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from numpy.testing import assert_array_equal
from websockets.asyncio.server import ServerConnection

from connectors.market.columns import BUY, GAP
from connectors.venues.bybit import Bybit
from connectors.venues.command import VENUES
from connectors.venues.feed import Feed
from sigmaflow.errors import UserError
from tests.venue_server import List, Server, played, send

BTC = "BTCUSDT"


def orderbook(number: int, kind: str, bid: str, size: str = "1") -> dict[str, Any]:
    asks = [["12", "2"]] if kind == "snapshot" else []
    return {"topic": f"orderbook.50.{BTC}", "type": kind, "ts": 1_700_000_000_010, "cts": 1_700_000_000_005,
            "data": {"s": BTC, "b": [[bid, size]], "a": asks, "u": number, "seq": 1}}


TRADE = {"topic": f"publicTrade.{BTC}", "type": "snapshot", "ts": 1, "data": [
    {"T": 1, "s": BTC, "S": "Sell", "v": "1", "p": "10.4", "i": "a"},
    {"T": 2, "s": BTC, "S": "Buy", "v": "2", "p": "10.5", "i": "b"}]}
ANSWER = {"success": True, "ret_msg": "", "op": "subscribe"}


def run(server: Server, ticks: int) -> tuple[Feed, List]:
    return played(server, lambda s: Bybit(s.ws), (BTC,), lambda feed, sink: sink.count >= ticks)


def test_snapshot_deltas_and_trades() -> None:
    frames = [ANSWER, orderbook(1, "snapshot", "10"), TRADE, orderbook(2, "delta", "11"),
              {"topic": f"tickers.{BTC}", "ts": 1, "data": {}}, orderbook(2, "delta", "11.5"),
              orderbook(3, "delta", "11", "0"), orderbook(1, "snapshot", "9")]
    feed, sink = run(Server([send(*frames)]), 4)
    assert sink.ticks.instruments == (("BYBIT-SPOT", BTC),)
    assert_array_equal(sink.ticks.bid, [10, 11, 10, 9])
    assert_array_equal(sink.ticks.last_price[1:], 10.5)
    assert_array_equal(sink.ticks.last_side[1:], BUY)
    assert_array_equal(sink.ticks.ts_event, 1_700_000_000_005_000_000)
    assert_array_equal(sink.ticks.flags, 0)
    assert feed.health.ignored == {"tickers": 1} and feed.health.gaps == 0


def test_linear_futures_are_a_venue_of_their_own() -> None:
    server = Server([send(ANSWER, orderbook(1, "snapshot", "10"), orderbook(2, "delta", "11"))])
    feed, sink = played(server, lambda s: VENUES["bybit-linear"](s.ws), (BTC,), lambda feed, sink: sink.count >= 1)
    assert sink.ticks.instruments == (("BYBIT-LINEAR", BTC),) and feed.health.venue == "bybit-linear"
    assert feed.venue.address((BTC,)).endswith("/linear")


def test_a_gap_is_repaired_by_subscribing_anew() -> None:
    async def script(socket: ServerConnection) -> None:
        await server.next(socket)
        for frame in (orderbook(1, "snapshot", "10"), orderbook(3, "delta", "11")):
            await socket.send(orjson.dumps(frame).decode())
        assert [(await server.next(socket))["op"] for _ in range(2)] == ["unsubscribe", "subscribe"]
        await send(orderbook(7, "snapshot", "11"), orderbook(8, "delta", "11.5"), orderbook(9, "delta", "11.6"))(socket)

    server = Server([script])
    feed, sink = run(server, 4)
    assert_array_equal(sink.ticks.bid, [10, 11, 11.5, 11.6])
    assert_array_equal(sink.ticks.flags, [0, GAP, GAP, 0])          # the snapshot says what was known: no tick
    assert feed.health.gaps == 1
    assert server.heard[0]["args"] == [f"orderbook.50.{BTC}", f"publicTrade.{BTC}"]


def test_the_venue_gets_its_ping() -> None:
    async def script(socket: ServerConnection) -> None:
        await server.next(socket)
        while (await server.next(socket)) != {"op": "ping"}:
            pass
        await send({"success": True, "ret_msg": "pong", "op": "ping"}, orderbook(1, "snapshot", "10"))(socket)

    server = Server([script])
    feed, _ = run(server, 1)
    assert feed.health.used["pong"] == 1


def test_a_refused_subscription_is_told_to_the_user() -> None:
    refusal = {"success": False, "ret_msg": "error:handler not found,topic:orderbook.50.NOPE", "op": "subscribe"}
    with pytest.raises(UserError, match="handler not found"):
        run(Server([send(refusal)]), 1)
