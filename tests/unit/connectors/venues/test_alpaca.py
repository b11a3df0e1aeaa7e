"""Alpaca on loopback: the key, the stream, and REST pages; payloads are the recorded ones where they are there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from numpy.testing import assert_array_equal
from websockets.asyncio.server import ServerConnection, serve

from connectors.market.alpaca import Session
from connectors.market.bars import SPREAD
from connectors.market.columns import BUY, GAP, concat
from connectors.market.frames import Frame
from connectors.market.recordings import open_recording
from connectors.market.records import Quote, Trade
from connectors.venues.alpaca import Alpaca
from connectors.venues.backoff import Backoff
from connectors.venues.rest import Rest
from sigmaflow.errors import UserError
from tests.venue_server import QUICK, Server, hold, played, send

PAYLOADS = Path(__file__).parents[5] / "shared" / "data" / "alpaca_payloads.json"
ENV = {"APCA_API_KEY_ID": "a-key", "APCA_API_SECRET_KEY": "a-secret"}
T = "2022-03-18T14:02:43.651613184Z"


def quote(bid: float, symbol: str = "AAPL", **more: Any) -> dict[str, Any]:
    return {"T": "q", "S": symbol, "bx": "K", "bp": bid, "bs": 2, "ax": "P", "ap": 161.11, "as": 13, "t": T} | more


def bar(close: float, symbol: str = "AAPL") -> dict[str, Any]:
    return {"T": "b", "S": symbol, "o": 1, "h": 1, "l": 1, "c": close, "v": 2100, "t": "2022-03-18T14:01:00Z"}


def nothing(path: str) -> Any:
    return 200, {}, {}


def recorded(case: str) -> Any:
    if not PAYLOADS.exists():
        pytest.skip(f"the payloads are not at {PAYLOADS}")
    return next(held["payload"] for held in json.loads(PAYLOADS.read_text()) if held["case"] == case)


def login(server: Server, *frames: Any) -> Any:
    async def script(socket: ServerConnection) -> None:
        await socket.send('[{"T":"success","msg":"connected"}]')
        if (await server.next(socket))["key"] != "a-key":
            await socket.send('[{"T":"error","code":402,"msg":"auth failed"}]')
            return await hold(socket)
        await socket.send('[{"T":"success","msg":"authenticated"}]')
        await server.next(socket)
        return await send([{"T": "subscription", "quotes": ["AAPL"]}], *frames)(socket)

    return script


def test_the_key_the_subscription_quotes_and_bars() -> None:
    server = Server([], answers=nothing)
    server.scripts = [login(server, [quote(161.0)], [bar(160.5)], [quote(161.05), quote(161.06)])]
    feed, sink = played(server, lambda s: Alpaca(s.ws, s.http, environ=ENV), ("AAPL",),
                        lambda feed, sink: sink.count >= 3 and len(server.paths) >= 2)
    assert server.heard == [{"action": "auth", "key": "a-key", "secret": "a-secret"},
                            {"action": "subscribe", "quotes": ["AAPL"], "bars": ["AAPL"]}]
    assert sorted(server.paths) == ["/v2/stocks/bars/latest?symbols=AAPL", "/v2/stocks/quotes/latest?symbols=AAPL"]
    assert_array_equal(sink.ticks.bid, [161.0, 161.05, 161.06])
    assert_array_equal(sink.ticks.last_price[1:], 160.5)
    assert_array_equal(sink.ticks.last_size[1:], 2100)
    assert_array_equal(sink.ticks.ts_event, 1_647_612_163_651_613_184)
    assert feed.health.rejected.total() == 0


def test_the_newest_quotes_come_by_rest_so_that_a_quiet_symbol_has_one() -> None:
    answer = recorded("test_get_latest_quote")
    server = Server([], answers=lambda path: (200, {}, answer if "quotes" in path else {"bars": {}}))
    server.scripts = [login(server)]
    _, sink = played(server, lambda s: Alpaca(s.ws, s.http, environ=ENV), ("AAPL",), lambda feed, sink: sink.count == 1)
    assert (sink.ticks.bid[0], sink.ticks.ask[0]) == (161.1, 161.11)


def test_bars_alone_make_quotes_of_a_stated_spread() -> None:
    server = Server([], answers=nothing)
    server.scripts = [login(server, [bar(160.0)])]
    _, sink = played(server, lambda s: Alpaca(s.ws, s.http, channels=("bars",), environ=ENV), ("AAPL",),
                     lambda feed, sink: sink.count == 1)
    assert (sink.ticks.ask - sink.ticks.bid)[0] == pytest.approx(160 * SPREAD)
    assert sink.ticks.ts_event[0] == 1_647_612_120_000_000_000                     # 14:02, when the bar is over


@pytest.mark.parametrize("env", [{}, {"APCA_API_KEY_ID": "x"}])
def test_a_key_that_is_missing_is_told_before_anything_is_asked(env: dict[str, str]) -> None:
    with pytest.raises(UserError, match="APCA_API_SECRET_KEY is not set"):
        Alpaca(environ=env)


def test_a_key_that_is_wrong_is_told_to_the_user_and_not_printed() -> None:
    server = Server([], answers=nothing)
    server.scripts = [login(server)]
    venue = Alpaca("ws://x", "http://x", environ={"APCA_API_KEY_ID": "wrong", "APCA_API_SECRET_KEY": "hidden"})
    assert "hidden" not in repr(vars(venue))
    with pytest.raises(UserError, match="402 auth failed") as told:
        played(server, lambda s: Alpaca(s.ws, s.http, environ=ENV | {"APCA_API_KEY_ID": "wrong"}), ("AAPL",),
               lambda feed, sink: False)
    assert "a-secret" not in str(told.value)


def test_a_lost_connection_marks_the_first_quote_and_one_side_alone_is_no_quote() -> None:
    session = Session(["AAPL"], gap=True)
    flags = [record.flags for bid in (0.0, 161.0, 161.1)
             for record in session.frame(1, {"messages": [quote(bid)]})[1] if isinstance(record, Quote)]
    assert flags == [GAP, 0]


def test_kinds_of_events_and_a_second_login_elsewhere() -> None:
    session = Session(["X"])
    assert session.frame(1, {"messages": [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]}) == (
        "error", [])
    assert not session.refusals
    trade = {"T": "t", "S": "BTC/USD", "p": 5, "s": 2, "tks": "B", "t": T}
    assert session.frame(1, {"messages": [quote(1.0), trade]})[0] == "mixed"
    assert session.frame(1, {"messages": [trade]})[1] == [Trade(1, "ALPACA", "BTC/USD", 5.0, 2.0, BUY)]
    assert session.frame(1, {"messages": []}) == ("mixed", [])


def pages(server: Server, kind: str, symbols: tuple[str, ...]) -> list[Frame]:
    async def read() -> list[Frame]:
        async with serve(server.talk, "127.0.0.1", 0, process_request=server.request) as listening:
            server.port = next(iter(listening.sockets)).getsockname()[1]
            alpaca = Alpaca(server.ws, server.http, environ=ENV)
            rest = Rest(server.http, Backoff(Random(1), QUICK.base_s, QUICK.cap_s), alpaca.headers())
            found = [frame async for frame in alpaca.history(rest, kind, symbols, "2022-02-01", "2022-02-03")]
            await rest.close()
            return found

    return asyncio.run(asyncio.wait_for(read(), 10))


def test_history_is_read_page_by_page_with_retries() -> None:
    first, last = recorded("test_get_bars"), recorded("test_multisymbol_get_bars")
    left: list[Any] = [(200, {}, first), (503, {}, {}), (429, {"Retry-After": "0"}, {}), (200, {}, last)]
    server = Server([], answers=lambda path: left.pop(0))
    found = pages(server, "b", ("AAPL", "TSLA"))
    assert [[event["S"] for event in frame["messages"]] for frame in found] == [["AAPL", "AAPL"], ["AAPL", "TSLA"]]
    asked = [parse_qs(urlsplit(path).query) for path in server.paths]
    assert asked[0]["timeframe"] == ["1Min"] and "page_token" not in asked[0]
    assert all(query["page_token"] == [first["next_page_token"]] for query in asked[1:])
    records = [record for frame in found for record in Session(quotes=False).frame(1, frame)[1]]
    assert [type(record) for record in records] == [Trade, Quote] * 4


@pytest.mark.parametrize("case", ["test_get_bars_single_empty_response", "test_get_quotes_multi_empty_response"])
def test_an_empty_answer_is_no_page(case: str) -> None:
    payload = recorded(case)
    assert pages(Server([], answers=lambda path: (200, {}, payload)), "b" if "bars" in case else "q", ("X",)) == []


@pytest.mark.parametrize(("case", "kind", "count"), [
    ("test_get_quotes", "q", 2), ("test_multisymbol_quotes", "q", 2), ("test_get_trades", "t", 2),
    ("test_get_crypto_quotes", "q", 2), ("test_get_crypto_trades", "t", 2), ("test_get_latest_trade", "t", 1),
    ("test_multi_stock_latest_bar", "b", 2), ("test_crypto_latest_bar", "b", 1), ("test_get_bars_desc", "b", 3)])
def test_recorded_answers_are_read_in_the_order_of_time(case: str, kind: str, count: int) -> None:
    payload = recorded(case) | {"next_page_token": None}
    (frame,) = pages(Server([], answers=lambda path: (200, {}, payload)), kind, ("X",))
    times = [event["t"] for event in frame["messages"]]
    assert len(times) == count and times == sorted(times)
    _, records = Session().frame(1, frame)
    assert len(records) == count


def test_a_recorded_stream_is_read_as_the_live_one(tmp_path: Path) -> None:
    """Arrays of several events; with quotes among them a bar is the last trade alone; a login is no market data."""
    frames = [[{"T": "success", "msg": "authenticated"}], [quote(161.0), quote(30.0, "TSLA", ap=31)], [bar(160.5)],
              [quote(161.05)]]
    path = tmp_path / "alpaca.jsonl"
    path.write_text("".join(f"{1_700_000_000_000_000_000 + n} {json.dumps(frame)}\n" for n, frame in enumerate(frames))
                    + "1700000000000000009 [1]\n")
    recording = open_recording([path])
    ticks = concat(recording.ticks())
    assert ticks.instruments == (("ALPACA", "AAPL"), ("ALPACA", "TSLA"))
    assert_array_equal(ticks.bid, [161.0, 30.0, 161.05])
    assert ticks.last_price[2] == 160.5 and ticks.ts_recv[2] == 1_700_000_000_000_000_003
    assert recording.frames == {"success": 1, "quotes": 2, "bars": 1} and recording.rejected == 1
