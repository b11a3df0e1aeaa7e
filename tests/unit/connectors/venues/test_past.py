"""Alpaca's past on loopback, by HTTP as it documents it: pages, limits, keys, and files that a replay reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from numpy.testing import assert_array_equal

from connectors.market.bars import SPREAD
from connectors.market.columns import BUY, Ticks, concat
from connectors.market.recordings import open_recording
from connectors.venues import past
from sigmaflow.errors import Failed, UserError

ENV = {"APCA_API_KEY_ID": "a-key", "APCA_API_SECRET_KEY": "a-secret"}
Reply = tuple[int, dict[str, str], Any]


@dataclass
class Past:
    """A server that answers by path and query, and what it was asked."""

    reply: Callable[[str, dict[str, str]], Reply]
    paths: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    keys: set[tuple[str, str]] = field(default_factory=set)
    address: str = ""


@contextmanager
def serving(reply: Callable[[str, dict[str, str]], Reply]) -> Iterator[Past]:
    held = Past(reply)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            held.paths.append(parts.path)
            held.asked.append({name: values[0] for name, values in parse_qs(parts.query).items()})
            held.keys.add((self.headers["APCA-API-KEY-ID"], self.headers["APCA-API-SECRET-KEY"]))
            status, headers, body = held.reply(parts.path, held.asked[-1])
            self.send_response(status)
            payload = orjson.dumps(body)
            for name, value in ({"Content-Length": str(len(payload))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    held.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield held
    server.shutdown()


def bar(minute: int, close: float) -> dict[str, Any]:
    return {"t": f"2024-01-02T14:{minute:02}:00Z", "o": 1, "h": 2, "l": 1, "c": close, "v": 100 + minute, "n": 7,
            "vw": 1.5}


def bars(symbol: str, minutes: list[int], token: str | None = None) -> Reply:
    return 200, {}, {"bars": {symbol: [bar(minute, 100.0 + minute) for minute in minutes]}, "next_page_token": token}


def fetched(server: Past, out: Path, symbols: str = "AAPL", kinds: str = "bars", **more: Any) -> list[dict[str, Any]]:
    return past.fetch(symbols.split(","), kinds.split(","), "2024-01-02T14:30", "2024-01-02T14:34", out,
                      address=server.address, environ=ENV, spacing_s=0.0, base_s=0.01, say=lambda text: None, **more)


def ticks(found: list[dict[str, Any]]) -> Ticks:
    return concat(open_recording([Path(row["file"]) for row in found]).ticks())


def test_bars_are_fetched_page_by_page_into_a_file_that_a_replay_reads(tmp_path: Path) -> None:
    pages = {"": bars("AAPL", [30, 31], "x=="), "x==": bars("AAPL", [32, 33, 34])}
    with serving(lambda path, query: pages[query.get("page_token", "")]) as server:
        found = fetched(server, tmp_path)
    assert server.paths == ["/v2/stocks/bars"] * 2 and server.keys == {("a-key", "a-secret")}
    assert server.asked[0] == {"symbols": "AAPL", "start": "2024-01-02T14:30:00Z", "end": "2024-01-02T14:34:00Z",
                               "limit": "10000", "timeframe": "1Min", "feed": "iex"}
    assert server.asked[1] == server.asked[0] | {"page_token": "x=="}
    assert found == [{"symbol": "AAPL", "kind": "bars", "events": 4, "new": True, "file":
                      str(tmp_path / "alpaca_AAPL_bars_20240102T143000_20240102T143400.zst")}]
    read = ticks(found)
    assert read.instruments == (("ALPACA", "AAPL"),)
    assert_array_equal(read.last_price, [130.0, 131.0, 132.0, 133.0])              # 14:34 is not before --until
    assert_array_equal(read.last_size, [130, 131, 132, 133])
    assert_array_equal(read.ts_event, 1_704_205_800_000_000_000 + 60_000_000_000 * (read.seq))    # when a bar is over
    assert_array_equal(read.ts_recv, read.ts_event)
    assert (read.ask - read.bid)[0] == pytest.approx(130 * SPREAD)


def test_symbols_are_files_of_their_own_and_are_merged_in_time(tmp_path: Path) -> None:
    with serving(lambda path, query: bars(query["symbols"], [30, 31])) as server:
        read = ticks(fetched(server, tmp_path, "AAPL,MSFT"))
    assert [query["symbols"] for query in server.asked] == ["AAPL", "MSFT"]
    assert [read.instruments[at][1] for at in read.instrument] == ["AAPL", "MSFT", "AAPL", "MSFT"]


def test_quotes_and_trades_of_crypto_fill_each_other(tmp_path: Path) -> None:
    quotes = [{"t": f"2024-01-02T14:3{n}:00.5Z", "bp": 10 + n, "bs": 0.5, "ap": 20, "as": 3.25} for n in range(3)]
    trades = [{"t": "2024-01-02T14:31:00.25Z", "p": 15.5, "s": 0.125, "tks": "B", "i": 1}]
    answers = {"quotes": quotes, "trades": trades}

    def reply(path: str, query: dict[str, str]) -> Reply:
        kind = path.rsplit("/", 1)[1]
        return 200, {}, {kind: {"BTC/USD": answers[kind]}, "next_page_token": None}

    with serving(reply) as server:
        read = ticks(fetched(server, tmp_path, "BTC/USD", "trades,quotes", market="crypto"))
    assert server.paths == ["/v1beta3/crypto/us/trades", "/v1beta3/crypto/us/quotes"] and "feed" not in server.asked[0]
    assert_array_equal(read.bid, [10, 11, 12])
    assert_array_equal(read.last_price[1:], 15.5)
    assert_array_equal(read.last_side, [0, BUY, BUY])


def test_limits_and_faults_are_waited_out_as_the_venue_says(tmp_path: Path) -> None:
    """Alpaca tells by X-RateLimit-Reset, a moment, when it takes requests again."""
    times: list[float] = []

    def reply(path: str, query: dict[str, str]) -> Reply:
        times.append(time.time())
        if len(times) == 1:
            return 429, {"X-RateLimit-Reset": str(int(times[0]) + 2)}, {"message": "too many requests."}
        return (503, {}, {}) if len(times) == 2 else bars("AAPL", [30])

    with serving(reply) as server:
        assert fetched(server, tmp_path)[0]["events"] == 1
    assert times[1] >= int(times[0]) + 2 and len(times) == 3


def test_what_is_there_is_not_asked_for_again_and_half_a_file_is_none(tmp_path: Path) -> None:
    pages: list[Reply] = [bars("AAPL", [30, 31], "x=="), *[(503, {}, {})] * 5]
    with serving(lambda path, query: pages.pop(0)) as server, pytest.raises(Failed, match="start it again later"):
        fetched(server, tmp_path)
    assert [file.suffix for file in tmp_path.iterdir()] == [".part"]
    with serving(lambda path, query: bars(query["symbols"], [30])) as server:
        first, again = fetched(server, tmp_path), fetched(server, tmp_path)
    assert len(server.paths) == 1 and first[0]["new"] and again == [first[0] | {"new": False}]
    assert [file.suffix for file in tmp_path.iterdir()] == [".zst"]


def test_no_events_are_no_file(tmp_path: Path) -> None:
    with serving(lambda path, query: (200, {}, {"bars": {}, "next_page_token": None})) as server:
        assert fetched(server, tmp_path)[0]["events"] == 0
    assert not list(tmp_path.iterdir())


def test_what_the_venue_refuses_is_told_without_the_key(tmp_path: Path) -> None:
    with serving(lambda path, query: (403, {}, {"message": "subscription does not permit querying recent SIP data"})) \
            as server, pytest.raises(UserError, match="does not permit querying recent SIP data") as told:
        fetched(server, tmp_path, source="sip")
    assert "a-secret" not in str(told.value) and server.asked[0]["feed"] == "sip"


@pytest.mark.parametrize(("wrong", "rule"), [
    ({"kinds": ["ticks"]}, "--kinds"), ({"kinds": []}, "--kinds"), ({"since": "noon"}, "times"),
    ({"until": "2024-01-02"}, "before"), ({"market": "bonds"}, "--market"), ({"environ": {}}, "must have a key")])
def test_wrong_arguments_are_told_before_anything_is_asked(wrong: dict[str, Any], rule: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"symbols": ["AAPL"], "kinds": ["bars"], "since": "2024-01-02", "until": "2024-01-03",
                             "out": tmp_path / "past", "environ": ENV}
    with pytest.raises(UserError, match=rule):
        past.fetch(**given | wrong)
    assert not (tmp_path / "past").exists()
