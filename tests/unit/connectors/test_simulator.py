"""The simulated market: the same for the same seed, however it is cut, and with the properties it promises."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from connectors.market.columns import BUY, COLUMNS, SELL, Ticks, concat
from connectors.market.faults import STALE_NS, Faults
from connectors.market.simulator import Config, generate, symbol_names
from connectors.simulate import from_now
from sigmaflow.errors import UserError

Array = NDArray[np.float64]
COUNT = 300_000


@pytest.fixture(scope="module")
def market() -> Ticks:
    """A market of ten symbols at 2,000 ticks a second, two and a half minutes of it."""
    return concat(generate(Config(count=COUNT)))


def assert_same(one: Ticks, other: Ticks) -> None:
    assert one.instruments == other.instruments
    for name in COLUMNS:
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def symbol(ticks: Ticks, index: int) -> Ticks:
    return ticks.take(np.flatnonzero(ticks.instrument == index))


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    config = Config(count=20_000, faults=Faults(0.01, 0.01, 0.01, 0.01))
    first = concat(generate(config))
    assert_same(first, concat(generate(config)))
    assert (first.bid != concat(generate(replace(config, seed=8))).bid).any()


@pytest.mark.parametrize("chunk", [1, 7, 4_096])
def test_the_market_does_not_depend_on_where_chunks_are_cut(chunk: int) -> None:
    config = Config(count=3_000, faults=Faults(0.02, 0.02, 0.02, 0.02))
    assert_same(concat(generate(config)), concat(generate(replace(config, chunk=chunk))))


def test_start_time_and_first_seq_only_shift() -> None:
    early = concat(generate(Config(count=5_000)))
    late = concat(generate(Config(count=5_000, start_ns=0, first_seq=100)))
    assert_array_equal(early.bid, late.bid)
    assert_array_equal(early.seq + 99, late.seq)
    assert len(set((early.ts_recv - late.ts_recv).tolist())) == 1


def test_seq_rises_by_one_for_each_symbol(market: Ticks) -> None:
    for i in range(10):
        seq = symbol(market, i).seq
        assert_array_equal(seq, np.arange(1, len(seq) + 1))


def test_times_rise_and_frames_arrive_after_their_event(market: Ticks) -> None:
    assert (np.diff(market.ts_event) > 0).all()
    assert (np.diff(market.ts_recv) > 0).all()
    assert (market.ts_recv > market.ts_event).all()


def test_quotes_are_sound(market: Ticks) -> None:
    assert (market.bid < market.ask).all() and (market.bid > 0).all()
    assert (market.bid_size > 0).all() and (market.ask_size > 0).all()
    assert_array_equal(market.bid, np.round(market.bid, 2))


def test_the_rate_is_the_configured_one_and_arrivals_cluster(market: Ticks) -> None:
    seconds = (market.ts_event - market.ts_event[0]) / 1e9
    assert COUNT / seconds[-1] == pytest.approx(2_000, rel=0.05)
    counts = np.bincount(seconds.astype(int))[:-1]
    assert counts.var() / counts.mean() > 4  # a Poisson process has 1
    gaps = np.diff(seconds)
    assert gaps.std() > gaps.mean()


def test_a_slow_market_is_as_long_as_it_should_be() -> None:
    ticks = concat(generate(Config(count=2_000, rate=1.0, symbols=3)))
    assert 2_000 / ((ticks.ts_event[-1] - ticks.ts_event[0]) / 1e9) == pytest.approx(1.0, rel=0.3)


def test_the_spread_reverts_to_its_mean(market: Ticks) -> None:
    spread = (symbol(market, 0).ask - symbol(market, 0).bid) * 100
    wide = np.flatnonzero(spread > spread.mean() + spread.std())
    wide = wide[wide < len(spread) - 500]
    assert spread[wide + 500].mean() < spread[wide].mean()
    assert correlation(spread[:-1], spread[1:]) > 0.8
    assert spread.min() >= 0.99


def test_imbalance_says_something_about_the_next_move_but_not_much(market: Ticks) -> None:
    assert 0.05 < information(market, 1) < 0.1
    assert 0.12 < information(market, 10) < 0.18


def test_without_information_imbalance_says_nothing() -> None:
    assert abs(information(concat(generate(Config(count=COUNT, information=0.0))), 10)) < 0.03


def test_symbols_move_together_and_volatility_has_regimes() -> None:
    ticks = concat(generate(Config(count=180_000, symbols=3, rate=100.0, jumps_per_hour=0.0)))
    seconds = np.arange(ticks.ts_event[0] + 10**9, ticks.ts_event[-1], 10**9)

    def returns(index: int) -> Array:
        of = symbol(ticks, index)
        return np.diff(np.log((of.bid + of.ask)[np.searchsorted(of.ts_event, seconds, side="right") - 1]))

    assert correlation(returns(0), returns(1)) > 0.25
    z = returns(1) / returns(1).std()
    assert (z**4).mean() > 5  # a constant volatility gives 3
    assert correlation(np.abs(z[:-1]), np.abs(z[1:])) > 0.15


def test_jumps_are_rare_and_large() -> None:
    config = Config(count=COUNT, symbols=1, rate=100.0, jumps_per_hour=60.0)
    move = np.abs(np.diff(np.log(concat(generate(config)).bid)))
    calm = np.abs(np.diff(np.log(concat(generate(replace(config, jumps_per_hour=0.0))).bid)))
    assert move.max() > 2 * calm.max()


def test_trades_stand_at_the_touch_and_follow_the_pressure(market: Ticks) -> None:
    ticks = symbol(market, 0)
    ticks = ticks.take(np.flatnonzero(~np.isnan(ticks.last_price)))
    new = np.flatnonzero(np.diff(ticks.last_price) != 0) + 1
    assert set(ticks.last_side[new].tolist()) == {BUY, SELL}
    assert_array_equal(np.where(ticks.last_side[new] == BUY, ticks.ask[new - 1], ticks.bid[new - 1]),
                       ticks.last_price[new])
    imbalance = (ticks.bid_size - ticks.ask_size) / (ticks.bid_size + ticks.ask_size)
    assert imbalance[new - 1][ticks.last_side[new] == BUY].mean() > 0.1


def test_no_trade_is_known_at_the_very_start() -> None:
    first = next(generate(Config(chunk=1)))
    assert np.isnan(first.last_price[0]) == (first.last_side[0] == 0)


def test_count_is_exact_and_no_count_goes_on() -> None:
    assert len(concat(generate(Config(count=12_345, faults=Faults(gaps=0.1, duplicates=0.1))))) == 12_345
    assert len(concat(islice(generate(Config(chunk=1_000)), 5))) == 5_000


def test_from_now_starts_now_and_keeps_distances() -> None:
    ticks = concat(generate(Config(count=1_000, chunk=300)))
    moved = concat(from_now(generate(Config(count=1_000, chunk=300)), lambda: 5_000_000_000))
    assert moved.ts_recv[0] == 5_000_000_000
    assert_array_equal(np.diff(moved.ts_recv), np.diff(ticks.ts_recv))
    assert_array_equal(moved.ts_recv - moved.ts_event, ticks.ts_recv - ticks.ts_event)


def test_names_are_distinct() -> None:
    assert len(set(symbol_names(1_000))) == 1_000


def test_a_bad_setting_is_named() -> None:
    with pytest.raises(UserError, match="rate must be from"):
        Config(rate=0.0)
    with pytest.raises(UserError, match="crossed must be a probability"):
        Faults(crossed=1.5)


# ---------------------------------------------------------------------------------------------------------- faults


def with_faults(**probabilities: float) -> tuple[Ticks, Ticks, Counter[str]]:
    clean = concat(generate(Config(count=8_192)))
    tally: Counter[str] = Counter()
    faulty = next(generate(Config(faults=Faults(**probabilities)), tally))
    return clean, faulty, tally


def test_gaps_leave_holes_in_seq() -> None:
    clean, faulty, tally = with_faults(gaps=0.05)
    assert 200 < tally["gaps"] < 700 and len(faulty) == len(clean) - tally["gaps"]
    missing = sum(int((np.diff(symbol(faulty, i).seq) - 1).sum()) for i in range(10))
    ends = sum(len(symbol(clean, i)) - int(symbol(faulty, i).seq[-1]) + int(symbol(faulty, i).seq[0]) - 1
               for i in range(10))
    assert missing + ends == tally["gaps"]


def test_duplicates_come_twice_in_a_row() -> None:
    clean, faulty, tally = with_faults(duplicates=0.05)
    again = np.flatnonzero((np.diff(faulty.instrument) == 0) & (np.diff(faulty.seq) == 0)) + 1
    assert len(again) == tally["duplicates"] > 200
    assert_same(faulty.take(np.delete(np.arange(len(faulty)), again)), clean)


def test_crossed_books_have_their_sides_swapped() -> None:
    clean, faulty, tally = with_faults(crossed=0.05)
    swapped = faulty.bid > faulty.ask
    assert swapped.sum() == tally["crossed"] > 200
    assert_array_equal(faulty.bid[swapped], clean.ask[swapped])


def test_stale_clocks_stand_a_minute_behind() -> None:
    clean, faulty, tally = with_faults(stale_clock=0.05)
    behind = clean.ts_event - faulty.ts_event
    assert set(behind.tolist()) == {0, STALE_NS}
    assert (behind == STALE_NS).sum() == tally["stale_clock"] > 200
    assert_array_equal(clean.ts_recv, faulty.ts_recv)


def test_no_fault_changes_nothing() -> None:
    clean, faulty, tally = with_faults()
    assert_same(clean, faulty)
    assert not tally


# ------------------------------------------------------------------------------------------------------------ help


def correlation(one: Array, other: Array) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def information(ticks: Ticks, ahead: int) -> float:
    """Mean over symbols of the correlation of imbalance with the change of mid so many updates ahead."""
    found = []
    for i in range(len(ticks.instruments)):
        of = symbol(ticks, i)
        mid = (of.bid + of.ask) / 2
        imbalance = (of.bid_size - of.ask_size) / (of.bid_size + of.ask_size)
        found.append(correlation(imbalance[:-ahead], mid[ahead:] - mid[:-ahead]))
    return float(np.mean(found))
