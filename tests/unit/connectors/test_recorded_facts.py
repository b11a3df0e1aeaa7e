"""Facts of the real recordings (../shared/data/README.md). Skipped where that folder is absent."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from connectors.market import binance, coinbase, frames
from connectors.market.columns import Ticks, concat
from connectors.market.lines import lines
from connectors.market.recordings import Recording, open_recording
from connectors.market.records import Malformed, Quote

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"the recordings are not at {DATA}")

EVERY = [
    ("binance_spot/btcusdt_20240808.gz", 28_040), ("binance_spot/ethusdt_20240808.gz", 24_077),
    ("binance_old/BINANCE.ws.1.0", 84), ("binance_old/BINANCE.jsonl.zst", 84), ("coinbase/COINBASE.jsonl.zst", 204),
    ("coinbase/COINBASE.ws.28.0", 1_778), ("tardis/tardis_quotes.csv", 9_999),
    ("bars/btc-perp-20211231-20220201_1m.csv", 45_031), ("bars/spy_minute/20131004_quote.zip", 855),
    ("bars/spy_minute/20230803_quote.zip", 961), ("bars/aapl_minute/20140605_quote.zip", 830),
    ("crypto_minute/btcusd_20180404_quote.zip", 1_437), ("crypto_minute/ethusd_20180405_quote.zip", 1_438),
]


def opened(*names: str) -> tuple[Recording, Ticks]:
    recording = open_recording([DATA / name for name in names])
    return recording, concat(recording.ticks())


@pytest.mark.parametrize(("name", "count"), EVERY)
def test_every_file_is_read_to_the_end_in_order(name: str, count: int) -> None:
    recording, ticks = opened(name)
    assert len(ticks) == count
    assert recording.rejected == 0
    assert recording.lines_read == recording.line_count
    assert (np.diff(ticks.ts_recv) >= 0).all()
    assert (ticks.bid > 0).all() and (ticks.bid <= ticks.ask).all()
    assert (ticks.bid_size > 0).all() and (ticks.ask_size > 0).all()


def test_binance_spot_both_symbols() -> None:
    recording, ticks = opened("binance_spot/btcusdt_20240808.gz", "binance_spot/ethusdt_20240808.gz")
    assert recording.frames == {"bookTicker": 52_117, "trade": 15_863, "depthUpdate": 6_885, "snapshot": 2, "other": 0}
    assert len(ticks) == 52_117
    assert (np.diff(ticks.ts_recv) >= 0).all()
    assert np.isnan(ticks.last_price).sum() == 12
    for i in range(2):
        seq = ticks.seq[ticks.instrument == i]
        assert (seq == np.arange(1, len(seq) + 1)).all()


def test_the_book_that_is_kept_is_the_venues_own_best_bid_and_offer() -> None:
    """Fact 6, as of every depth update that a later bookTicker can confirm: price and size, no exception."""
    checked = Counter[str]()
    for name in ("btcusdt", "ethusdt"):
        session = binance.Session()
        for line in lines_of(f"binance_spot/{name}_20240808.gz"):
            held = frames.unwrap(line)
            assert held is not None
            session.frame(*held)
        assert session.gaps == 0 and not session.books.lost
        checked += session.checks
    assert checked == {"equal": 6_881}


def test_coinbase_is_followed_to_its_last_frame_without_a_gap() -> None:
    session, count = coinbase.AdvancedSession(), 0
    for line in lines_of("coinbase/COINBASE.jsonl.zst"):
        held = frames.unwrap(line)
        if held is not None:
            session.frame(*held)
            count += 1
    assert count == 1_030
    assert session.gaps == 0 and not session.books.lost


def test_bybit_spot_and_linear_are_two_venues_without_a_gap() -> None:
    recording, ticks = opened("bybit/BYBIT.jsonl.zst")
    assert {venue for venue, _ in ticks.instruments} == {"BYBIT-SPOT", "BYBIT-LINEAR"}
    assert ("BYBIT-LINEAR", "SOLUSDT") in ticks.instruments and len(ticks) == 911
    assert recording.frames["orderbook"] == 2_148 and recording.rejected == 0
    assert (ticks.flags == 0).all()
    assert sum(recording.frames.values()) == 3_227                      # every frame received is counted


def test_one_sided_quotes_are_carried_forward() -> None:
    recording, ticks = opened("equity_ticks/20131007_quote.zip", "equity_ticks/20131007_trade.zip")
    assert ticks.instruments == (("CONSOLIDATED", "IBM"),)
    assert recording.frames["quote"] == 109_067 and recording.rejected == 0
    assert len(ticks) == 109_065                    # one suspicious, and the first tells one side
    assert (ticks.bid > 0).all() and (ticks.ask > 0).all() and (ticks.bid_size > 0).all()
    locked, crossed = (ticks.bid == ticks.ask).sum(), (ticks.bid > ticks.ask).sum()
    assert (locked, crossed) == (658, 89)           # of two exchanges, and real
    assert np.nanmedian(ticks.ask - ticks.bid) == pytest.approx(0.05, abs=0.05)


def test_signing_trades_by_the_last_quote_would_be_wrong() -> None:
    """Fact 2: the venue's flag, not the last seen quote, tells the aggressor."""
    _, ticks = opened("binance_spot/btcusdt_20240808.gz")
    new = np.flatnonzero(np.diff(ticks.last_price, prepend=np.nan) != 0)
    new = new[~np.isnan(ticks.last_price[new]) & (new > 0)]
    by_quote = np.where(ticks.last_price[new] >= (ticks.bid[new - 1] + ticks.ask[new - 1]) / 2, 1, 2)
    assert 0.1 < (by_quote != ticks.last_side[new]).mean() < 0.6


def test_coinbase_ticker_lags_the_book_that_is_built() -> None:
    """Fact 4: 132 of 154 ticker frames equal the book's touch, counting those that follow the first book."""
    session, touch = coinbase.AdvancedSession(), {}
    equal = count = 0
    for line in lines_of("coinbase/COINBASE.jsonl.zst"):
        held = frames.unwrap(line)
        if held is None:
            continue
        for record in session.frame(*held)[1]:
            if isinstance(record, Quote):
                touch[record.symbol] = (record.bid, record.ask)
        if held[1]["channel"] == "ticker":
            for ticker in held[1]["events"][0]["tickers"]:
                if ticker["product_id"] in touch:
                    count += 1
                    equal += touch[ticker["product_id"]] == (float(ticker["best_bid"]), float(ticker["best_ask"]))
    assert (equal, count) == (132, 154)


def test_tardis_event_time_is_before_receive_time() -> None:
    _, ticks = opened("tardis/tardis_quotes.csv", "tardis/tardis_trades.csv")
    assert (ticks.ts_event < ticks.ts_recv).all()
    assert not np.isnan(ticks.last_price).any()


@pytest.mark.parametrize("name", ["binance", "coinbase"])
def test_odd_frames_are_read_or_counted_and_never_crash(name: str) -> None:
    session: frames.Session = binance.Session() if name == "binance" else coinbase.ExchangeSession()
    kinds, refused, quotes = Counter[str](), 0, []
    for line in lines_of(f"odd_frames/{name}.jsonl"):
        try:
            kind, made = session.frame(1, json.loads(line))
        except (Malformed, KeyError, TypeError, ValueError):
            refused += 1
            continue
        kinds[kind] += 1
        quotes += [record for record in made if isinstance(record, Quote)]
    if name == "binance":
        assert (len(quotes), refused) == (1, 0)
        assert kinds["other"] == 1  # the 24 hour ticker is no quote
    else:
        assert refused == 1                # the size 0.-10000


def lines_of(name: str) -> list[bytes]:
    return [line for line in lines(DATA / name) if line]
