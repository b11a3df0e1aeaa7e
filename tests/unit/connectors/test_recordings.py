"""Recorded files by hand-made examples of every format; what real ones hold is in test_recorded_facts.py."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from connectors.market.bars import SIZE, SPREAD
from connectors.market.columns import BUY, EVENT_TIME_IS_RECEIVE_TIME, SELL, UNKNOWN, Ticks, concat
from connectors.market.recordings import open_recording
from connectors.replay import play
from sigmaflow.errors import UserError

NS = 1_700_000_000_000_000_000


def book_ticker(symbol: str = "BTCUSDT", bid: Any = "100.0", ask: Any = "100.1", **more: Any) -> dict[str, Any]:
    return {"stream": f"{symbol.lower()}@bookTicker",
            "data": {"u": 1, "s": symbol, "b": bid, "B": "2.5", "a": ask, "A": "3.5"} | more}


def trade(symbol: str = "BTCUSDT", price: str = "100.1", maker_bought: Any = False, number: int = 1) -> dict[str, Any]:
    return {"stream": f"{symbol.lower()}@trade",
            "data": {"e": "trade", "E": 1, "s": symbol, "t": number, "p": price, "q": "0.5", "T": 1, "m": maker_bought}}


def binance(path: Path, *frames: tuple[int, Any]) -> Path:
    lines = [f"{NS + at} {frame if isinstance(frame, str) else json.dumps(frame)}\n" for at, frame in frames]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def read(*paths: Path) -> Ticks:
    return concat(open_recording(list(paths)).ticks())


# --------------------------------------------------------------------------------------------------------- Binance


def test_binance_one_tick_for_each_book_ticker_and_trades_fill_those_that_follow(tmp_path: Path) -> None:
    depth = {"stream": "btcusdt@depth@100ms", "data": {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 1,
                                                       "u": 2, "b": [], "a": []}}
    ticker = {"stream": "btcusdt@ticker", "data": {"e": "24hrTicker", "s": "BTCUSDT", "b": "1", "B": "1", "a": "2",
                                                   "A": "1", "u": 3}}
    path = binance(tmp_path / "a", (0, book_ticker()), (1, trade()), (2, depth),
                   (3, {"lastUpdateId": 1, "bids": [], "asks": []}), (4, book_ticker(bid="100.05")),
                   (5, trade(maker_bought=True, price="99", number=2)), (6, trade("ETHUSDT")), (7, ticker),
                   (8, {"result": None, "id": 1}), (9, book_ticker(ask="100.2")))
    recording = open_recording([path])
    ticks = concat(recording.ticks())
    assert recording.frames == {"bookTicker": 3, "trade": 3, "depthUpdate": 1, "snapshot": 1, "other": 2}
    assert recording.rejected == 0
    assert ticks.instruments[0] == ("BINANCE", "BTCUSDT")
    assert_array_equal(ticks.seq, [1, 2, 3])
    assert_array_equal(ticks.ts_recv, [NS, NS + 4, NS + 9])
    assert_array_equal(ticks.ts_event, ticks.ts_recv)
    assert_array_equal(ticks.flags, EVENT_TIME_IS_RECEIVE_TIME)
    assert_array_equal(ticks.bid, [100.0, 100.05, 100.0])
    assert_array_equal(ticks.ask_size, 3.5)
    assert_array_equal(ticks.last_price, [np.nan, 100.1, 99.0])
    assert_array_equal(ticks.last_side, [UNKNOWN, BUY, SELL])


def test_binance_futures_book_ticker_has_an_event_time(tmp_path: Path) -> None:
    ticks = read(binance(tmp_path / "a", (0, book_ticker(e="bookTicker", E=1_699_999_999_999, T=1_699_999_999_998))))
    assert ticks.ts_event[0] == 1_699_999_999_999_000_000
    assert ticks.flags[0] == 0


def test_files_are_merged_in_the_order_of_receipt(tmp_path: Path) -> None:
    one = binance(tmp_path / "a", (0, book_ticker()), (5, trade()), (20, book_ticker()))
    two = binance(tmp_path / "b", (10, book_ticker("ETHUSDT")), (15, book_ticker()), (25, book_ticker("ETHUSDT")))
    ticks = read(two, one)
    assert_array_equal(ticks.ts_recv - NS, [0, 10, 15, 20, 25])
    assert [ticks.instruments[i][1][:3] for i in ticks.instrument] == ["BTC", "ETH", "BTC", "BTC", "ETH"]
    assert_array_equal(ticks.seq, [1, 1, 2, 3, 2])
    assert_array_equal(ticks.last_price, [np.nan, np.nan, 100.1, 100.1, np.nan])


@pytest.mark.parametrize("bad", [
    "{", "", "[1]", "null", '{"stream": 5}', json.dumps(book_ticker(bid="0.-10000")), json.dumps(book_ticker(bid=None)),
    json.dumps({"stream": "x@bookTicker", "data": {"s": "X"}}), json.dumps(trade(price="nan")),
    json.dumps(trade(maker_bought="no")), '{"data": [], "stream": "x"}', '{"stream": "\\ud800"}'])
def test_a_malformed_frame_is_counted_with_its_line_and_the_rest_is_read(bad: str, tmp_path: Path) -> None:
    path = binance(tmp_path / "a", (0, book_ticker()), (1, bad), (2, book_ticker()))
    recording = open_recording([path])
    assert len(concat(recording.ticks())) == 2
    assert recording.rejected == 1
    assert [(refused.path, refused.line) for refused in recording.refused] == [(path, 2)]


def test_lines_without_a_sound_time_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a"
    frame = json.dumps(book_ticker())
    times = (f"{NS} ", "noon ", f"{2**70} ", "-5 ", "", None, f"{NS + 1} ")
    path.write_text("\n".join("" if at is None else f"{at}{frame}" for at in times) + f"\n{NS + 2} {{")
    recording = open_recording([path])
    assert len(concat(recording.ticks())) == 2
    assert [refused.line for refused in recording.refused] == [2, 3, 4, 5, 8]


def test_what_a_quote_says_is_left_to_admission(tmp_path: Path) -> None:
    ticks = read(binance(tmp_path / "a", (0, book_ticker(bid="-1", ask="nan")), (1, book_ticker(bid="9e9"))))
    assert_array_equal(ticks.bid, [-1.0, 9e9])
    assert np.isnan(ticks.ask[0])


# -------------------------------------------------------------------------------------------------------- Coinbase


def advanced(path: Path, *frames: dict[str, Any]) -> Path:
    lines = [{"t": "header", "exchange": "COINBASE"}, {"t": "send", "ts": 1.0, "data": "{}"}]
    lines += [{"t": "recv", "ts": 1_700_000_000.5 + i, "data": json.dumps({"sequence_num": i} | frame)}
              for i, frame in enumerate(frames)]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def level2(kind: str, *updates: tuple[str, str, str]) -> dict[str, Any]:
    held = [{"side": side, "price_level": price, "new_quantity": size, "event_time": "2023-11-14T22:13:20.25Z"}
            for side, price, size in updates]
    return {"channel": "l2_data", "events": [{"type": kind, "product_id": "BTC-USD", "updates": held}]}


def test_coinbase_advanced_gives_a_tick_where_the_touch_changes(tmp_path: Path) -> None:
    trades = [{"product_id": "BTC-USD", "price": "10.5", "size": "2", "side": "SELL"},
              {"product_id": "BTC-USD", "price": "10.4", "size": "1", "side": "BUY"}]
    path = advanced(
        tmp_path / "a",
        level2("snapshot", ("bid", "10", "1"), ("bid", "9", "5"), ("offer", "11", "2")),
        {"channel": "subscriptions", "events": []},
        level2("update", ("bid", "9", "4")),                          # behind the touch: no tick
        {"channel": "market_trades", "events": [{"type": "update", "trades": trades}]},
        level2("update", ("bid", "10", "0"), ("offer", "10.8", "7")),
        {"channel": "heartbeats", "events": [{"current_time": "2026-08-09 21:05:48 +0000 UTC m=+4"}]})
    recording = open_recording([path])
    ticks = concat(recording.ticks())
    assert ticks.instruments == (("COINBASE", "BTC-USD"),)
    assert_array_equal([ticks.bid, ticks.ask, ticks.bid_size, ticks.ask_size], [[10, 9], [11, 10.8], [1, 4], [2, 7]])
    assert_array_equal(ticks.ts_event, 1_700_000_000_250_000_000)
    assert_array_equal(ticks.ts_recv, [1_700_000_000_500_000_000, 1_700_000_004_500_000_000])
    assert_array_equal(ticks.flags, 0)
    assert_array_equal(ticks.last_price, [np.nan, 10.5])              # the newest trade is the first in the message
    assert_array_equal(ticks.last_side, [UNKNOWN, BUY])               # SELL is the maker's side
    assert recording.frames == {"l2_data": 3, "subscriptions": 1, "market_trades": 1, "heartbeats": 1}
    assert recording.rejected == 0


def test_coinbase_exchange_and_its_year_one(tmp_path: Path) -> None:
    frames = [
        {"type": "subscriptions", "channels": []},
        {"type": "snapshot", "product_id": "X", "bids": [["9202.70", "1"]], "asks": [["9222.39", "2"]]},
        {"type": "ticker", "product_id": "X", "best_bid": "1", "best_ask": "2"},
        {"type": "match", "product_id": "X", "price": "9210", "size": "3", "side": "buy", "time": "x"},
        {"type": "l2update", "product_id": "X", "changes": [["sell", "9215", "4"]], "time": "0001-01-01T00:00:00.0Z"},
        {"type": "l2update", "product_id": "X", "changes": [["buy", "9203", "5"]], "time": "2023-11-14T22:13:20.25Z"},
        {"type": "l2update", "product_id": "Y", "changes": [["buy", "9203", "5"]], "time": "2023-11-14T22:13:20.25Z"},
        {"type": "snapshot", "product_id": "X", "asks": [["40584.89", "1"]], "bids": [["40531.19", "0.-10000"]]},
    ]
    path = tmp_path / "a"
    path.write_text("wss://host <-> 1700000000.5\n" + "".join(
        f"{1_700_000_000.5 + i}: {json.dumps(frame)}\n" for i, frame in enumerate(frames)))
    recording = open_recording([path])
    ticks = concat(recording.ticks())
    assert_array_equal(ticks.ask, [9222.39, 9215, 9215])
    assert_array_equal(ticks.bid, [9202.70, 9202.70, 9203])
    assert_array_equal(ticks.flags, [1, 1, 0])
    assert_array_equal(ticks.ts_event[1:], [1_700_000_004_500_000_000, 1_700_000_000_250_000_000])
    assert_array_equal(ticks.last_side, [UNKNOWN, SELL, SELL])
    assert [refused.line for refused in recording.refused] == [9]


# ---------------------------------------------------------------------------------------------------------- tables


def test_tardis_quotes_and_trades(tmp_path: Path) -> None:
    quotes, trades = tmp_path / "q", tmp_path / "t"
    quotes.write_text("exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
                      "binance-futures,BTCUSDT,1000000,1000100,0.84,9682,9681.92,0.67\n"
                      "binance-futures,BTCUSDT,1000200,1000300,,,9681.92,0.67\n"
                      "binance-futures,BTCUSDT,1000400,1000500,0.84,9682,9681.93,0.67\n")
    trades.write_text("exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
                      "binance-futures,BTCUSDT,1000000,1000400,1,sell,9682,0.132\n")
    recording = open_recording([quotes, trades])
    ticks = concat(recording.ticks())
    assert ticks.instruments == (("BINANCE-FUTURES", "BTCUSDT"),)
    assert_array_equal(ticks.ts_event, [1_000_000_000, 1_000_400_000])
    assert_array_equal(ticks.ts_recv, [1_000_100_000, 1_000_500_000])
    assert_array_equal(ticks.bid, [9681.92, 9681.93])
    assert_array_equal(ticks.last_side, [UNKNOWN, SELL])
    assert recording.frames == {"quote": 2, "trade": 1}
    assert [refused.line for refused in recording.refused] == [3]


def zipped(path: Path, name: str, text: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text)
    return path


def test_bars_become_quotes_when_they_are_over(tmp_path: Path) -> None:
    equity = zipped(tmp_path / "e", "20131004_spy_minute_quote.csv",
                    "34200000,1,1,1,1675600,300,1,1,1,1676000,400\n34260000,,,,,,1,1,1,1676000,400\n")
    trades = zipped(tmp_path / "t", "20131004_spy_minute_trade.csv", "34200000,1,1,1,1675700,700\n")
    crypto = zipped(tmp_path / "c", "20180404_btcusd_minute_quote.csv",
                    "0,7424.9,7424.9,7424.9,7424.9,1.5,7424.91,7424.91,7424.91,7424.91,33.25\n")
    ticks = read(equity, trades, crypto)
    assert ticks.instruments == (("BARS", "SPY"), ("BARS", "BTCUSD"))
    assert_array_equal(ticks.ts_event, [1_380_893_460_000_000_000, 1_522_800_060_000_000_000])  # 09:31 New York, 00:01
    assert_array_equal([ticks.bid, ticks.ask], [[167.56, 7424.9], [167.6, 7424.91]])
    assert_array_equal([ticks.bid_size, ticks.ask_size], [[300, 1.5], [400, 33.25]])
    assert_array_equal(ticks.last_price, [167.57, np.nan])


def test_bars_without_quotes_get_a_stated_spread(tmp_path: Path) -> None:
    path = tmp_path / "btc-perp-20211231_1m.csv"
    path.write_text("timestamp,open,high,low,close,volume\n2021-12-31 23:01:00.000000,1,1,1,46377.0,9\n"
                    "2021-12-31 23:02:00.000000,1,1,1,46411.0,9\n")
    ticks = read(path)
    assert ticks.instruments == (("BARS", "BTC-PERP"),)
    assert ticks.ts_event[0] == 1_640_991_720_000_000_000  # 23:02, when the first bar is over
    assert (ticks.bid + ticks.ask) / 2 == pytest.approx([46377.0, 46411.0])
    assert (ticks.ask - ticks.bid) / ticks.bid == pytest.approx(SPREAD, rel=1e-3)
    assert_array_equal(ticks.bid_size, SIZE)


def test_daily_bars_end_with_their_day_in_new_york(tmp_path: Path) -> None:
    path = tmp_path / "spy.csv"
    path.write_text("19980102 00:00,973100,975300,965300,973600,2150000\n19980703 00:00,1,1,1,1146000,9\n")
    ticks = read(path)
    assert ticks.instruments == (("BARS", "SPY"),)
    assert ticks.ts_event.tolist() == [883_803_600 * 10**9, 899_524_800 * 10**9]  # midnight is 05:00 UTC, then 04:00
    assert (ticks.bid + ticks.ask) / 2 == pytest.approx([97.36, 114.6])


# ------------------------------------------------------------------------------------------------------------ edges


EXCHANGE = '{"type": "snapshot", "product_id": "X", "bids": [["10", "1"]], "asks": [["11", "2"]]}'


@pytest.mark.parametrize("bad", [
    "1e999: {}",                                                       # no such time, met when the format is told
    '1.5: {"type": [], "product_id": "X"}',                            # a type that cannot be looked up
    f"1e17: {EXCHANGE}",                                               # a time past 64 bits, known when it was read
    '1.5: {"type": 5}', '1.5: {"type": ""}',
    '1.5: {"type": "match", "product_id": null, "price": "1", "size": "1", "side": "buy"}',
    '1.5: {"type": "match", "product_id": "X", "price": "inf", "size": "1", "side": "buy"}'])
def test_a_line_is_counted_once_whatever_it_holds(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(f"{bad}\n1.5: {EXCHANGE}\n")
    recording = open_recording([path])
    assert len(concat(recording.ticks())) == 1
    assert recording.frames == {"snapshot": 1}
    assert recording.rejected == 1


@pytest.mark.parametrize("odd", ['{"data": 5}', '{"data": "x", "stream": "y"}', '{"data": [1], "e": "trade"}'])
def test_a_frame_whose_data_is_no_object_does_not_tell_the_format(odd: str, tmp_path: Path) -> None:
    recording = open_recording([binance(tmp_path / "a", (0, odd), (1, book_ticker()))])
    assert len(concat(recording.ticks())) == 1
    assert recording.rejected == 1


def test_a_day_that_is_none_is_no_lean_file(tmp_path: Path) -> None:
    path = tmp_path / "20181304_btcusd_minute_quote.csv"
    path.write_text("0,1,1,1,1.0,1,1,1,1,1.0,1\n")
    with pytest.raises(UserError, match="must be a known recording"):
        open_recording([path])


def test_the_length_of_bars_is_told_by_those_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x_1h.csv"
    path.write_text("timestamp,open,high,low,close,volume\nno time,1,1,1,1,1\n\n2021-12-31 20:00:00,1,1,1,2,1\n"
                    "2021-12-31 21:00:00,1,1,1,2,1\n")
    recording = open_recording([path])
    ticks = concat(recording.ticks())
    assert_array_equal(np.diff(ticks.ts_event), 3_600_000_000_000)
    assert ticks.ts_event[0] == 1_640_984_400_000_000_000  # 21:00, when the bar that began at 20:00 is over
    assert recording.rejected == 1



def test_unknown_files_are_refused_with_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("hello\nworld\n")
    with pytest.raises(UserError, match=r"known recording, but line 1 starts 'hello'; known are .*Binance frames"):
        open_recording([path])


def test_a_recording_without_quotes_is_refused(tmp_path: Path) -> None:
    recording = open_recording([binance(tmp_path / "a", (0, trade()))])
    with pytest.raises(UserError, match="gave 1 trade"):
        concat(recording.ticks())


def test_no_file_and_a_file_twice_are_refused(tmp_path: Path) -> None:
    path = binance(tmp_path / "a", (0, book_ticker()))
    for paths in ([], [path, path]):
        with pytest.raises(UserError):
            open_recording(paths)


def test_reading_again_gives_the_same_and_chunks_do_not_matter(tmp_path: Path) -> None:
    recording = open_recording([binance(tmp_path / "a", *((i, book_ticker()) for i in range(10)))])
    first = concat(recording.ticks(chunk=3))
    assert_array_equal(first.seq, concat(recording.ticks()).seq)
    assert recording.frames["bookTicker"] == recording.lines_read == recording.line_count == 10


class Collector:
    """A writer that keeps what it gets."""

    def __init__(self) -> None:
        self.chunks: list[Ticks] = []

    def write(self, ticks: Ticks) -> None:
        self.chunks.append(ticks)


def test_play_sends_everything_and_tells_what_it_met(tmp_path: Path) -> None:
    path = binance(tmp_path / "a", (0, book_ticker()), (1, "{"), (2, trade()), (3, book_ticker()))
    recording = open_recording([path])
    collector = Collector()
    played = play(recording, collector)
    assert len(concat(collector.chunks)) == played.ticks == 2
    assert played.frames == {"bookTicker": 2, "trade": 1, "depthUpdate": 0, "snapshot": 0, "other": 0}
    assert played.rejected_at_edge == 1
    with pytest.raises(UserError, match="SPEED must be above 0"):
        play(recording, collector, speed=0)
