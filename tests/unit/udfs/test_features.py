"""Features against NumPy and plain Python after every prefix."""
from __future__ import annotations

import numpy as np
import pytest

import schemas
from tests.kit import quotes, run, same, untraded
from udfs import profiles, regimes
from udfs.formulas import FORMULAS
from udfs.stages import features

STAGE = features.stage(profiles.DEFAULT)
ROWS, SYMBOLS = 1_500, 3


@pytest.fixture(scope="module")
def ticks() -> dict:
    return quotes(ROWS, SYMBOLS)


@pytest.fixture(scope="module")
def found(ticks: dict) -> dict:
    return run(STAGE, ticks)


def of(columns: dict, symbol: int) -> dict:
    """One symbol's rows."""
    at = columns["slot"] == symbol
    return {name: values[at] for name, values in columns.items() if np.ndim(values)}


@pytest.mark.parametrize("symbol", range(SYMBOLS))
def test_windows_after_every_prefix(found: dict, symbol: int) -> None:
    f = of(found, symbol)
    mid = (f["bid"] + f["ask"]) / 2
    change = np.diff(np.log(mid))
    for n in range(1, len(mid) + 1):
        last, returns = mid[max(0, n - 50):n], change[max(0, n - 101):n - 1]
        at = n - 1
        deviation = last.std()
        z = (mid[at] - last.mean()) / deviation if np.ptp(last) else 0.0
        wanted = {"mid": mid[at], "volatility": returns.std() if n > 1 else 0.0, "zscore": z,
                  "mean_fast": mid[n - 3:n].mean() if n >= 3 else last.mean(),
                  "mean_slow": mid[n - 6:n].mean() if n >= 6 else last.mean(),
                  "log_return": change[at - 1] if at else 0.0, "history": at}
        for name, value in wanted.items():
            assert f[name][at] == pytest.approx(value, rel=1e-9, abs=1e-10), (name, n)


@pytest.mark.parametrize("symbol", range(SYMBOLS))
def test_order_flow_after_every_prefix(found: dict, symbol: int) -> None:
    f = of(found, symbol)
    bid, ask, bid_size, ask_size = (f[name] for name in ("bid", "ask", "bid_size", "ask_size"))
    flow = ((bid[1:] >= bid[:-1]) * bid_size[1:] - (bid[1:] <= bid[:-1]) * bid_size[:-1]
            - (ask[1:] <= ask[:-1]) * ask_size[1:] + (ask[1:] >= ask[:-1]) * ask_size[:-1])
    size = (bid_size[1:] + bid_size[:-1] + ask_size[1:] + ask_size[:-1]) / 2
    assert f["order_flow"][0] == 0.0
    for n in range(1, len(flow) + 1):
        last = slice(max(0, n - 20), n)
        wanted = np.clip(flow[last].sum() / size[last].sum(), -1, 1)
        assert f["order_flow"][n] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("symbol", range(SYMBOLS))
def test_regime_by_a_plain_loop(found: dict, symbol: int) -> None:
    f = of(found, symbol)
    change = np.diff(np.log(f["mid"]))
    fast = slow = 0.0
    regime, seen = regimes.START, set()
    for n in range(1, len(f["mid"])):
        square, last = change[n - 1] ** 2, change[max(0, n - 100):n]
        fast += (square - fast) / 32
        slow += (square - slow) * max(1 / 1024, 1 / n)
        trend = last.sum() / np.sqrt((last**2).sum()) if last.any() else 0.0
        ready = n >= features.RETURNS and slow
        regime = regimes.next_regime(regime, fast / slow, trend) if ready else regimes.START
        seen.add(regime)
        assert f["regime"][n] == regime
        wanted = {"trend": trend, "volatility_fast": np.sqrt(fast), "volatility_slow": np.sqrt(slow)}
        for name, value in wanted.items():
            assert f[name][n] == pytest.approx(value, rel=1e-9, abs=1e-11), name
    assert len(seen) >= 4


@pytest.mark.parametrize("symbol", range(SYMBOLS))
def test_times_and_recent_return_by_a_plain_loop(found: dict, symbol: int) -> None:
    f = of(found, symbol)
    interval = recent = 0.0
    for n in range(1, len(f["mid"])):
        passed = float(f["ts_order"][n] - f["ts_order"][n - 1])
        interval = passed if n == 1 else interval + (passed - interval) / 64
        recent = recent * np.exp(-passed / 1e9) + np.log(f["mid"][n] / f["mid"][n - 1])
        assert f["interval_ns"][n] == pytest.approx(interval, rel=1e-12)
        assert f["recent_return"][n] == pytest.approx(recent, rel=1e-9, abs=1e-15)
    np.testing.assert_allclose(f["second"], f["ts_order"] % (60 * 10**9) / 1e9, rtol=1e-15)


def average(values: np.ndarray, decay: float) -> np.ndarray:
    """Weights of an exponential average whose first 1 / decay values weigh alike."""
    weights = np.ones(len(values))
    for n in range(1, len(values)):
        step = max(decay, 1 / (n + 1))
        weights[:n] *= 1 - step
        weights[n] = step
    return weights


@pytest.mark.parametrize("n", [1, 2, 100, 400])
def test_spread_moments_are_those_of_the_weights(found: dict, n: int) -> None:
    f = of(found, 0)
    spread, weights = f["spread"][:n], average(f["spread"][:n], 1 / 256)
    mean = (weights * spread).sum()
    assert f["spread_mean"][n - 1] == pytest.approx(mean, rel=1e-12)
    deviation = np.sqrt((weights * (spread - mean) ** 2).sum())
    assert f["spread_deviation"][n - 1] == pytest.approx(deviation, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("symbol", range(SYMBOLS))
def test_channel_is_the_range_of_the_ticks_before(found: dict, symbol: int) -> None:
    f = of(found, symbol)
    assert f["channel_high"][0] == f["channel_low"][0] == f["mid"][0]
    for n in range(1, len(f["mid"])):
        window = f["mid"][max(0, (n - 1) // 16 * 16 - 240 if n % 16 else n - 256):n]
        assert (f["channel_high"][n], f["channel_low"][n]) == (window.max(), window.min()), n


def test_trade_flow_is_net_over_usual_size(found: dict) -> None:
    f = of(found, 1)
    side, size, price = f["last_side"], f["last_size"], f["last_price"]
    trade: tuple[float, ...] = ()
    sizes, signed = np.zeros(len(side)), np.zeros(len(side))
    for n in range(len(side)):
        now = float(price[n]), float(size[n]), int(side[n])
        if side[n] and now != trade:
            sizes[n] = size[n] if n else 0.0
            signed[n], trade = sizes[n] * (1 if side[n] == 1 else -1), now
        net = (signed[:n + 1] * (1 / 32) * (31 / 32) ** np.arange(n, -1, -1)).sum()
        usual = (average(sizes[:n + 1], 1 / 256) * sizes[:n + 1]).sum() if n in (0, 1, 50, 300, 450) else None
        if usual is not None:
            assert f["trade_flow"][n] == pytest.approx(net / usual if usual else 0.0, rel=1e-9, abs=1e-15)
    assert np.abs(f["trade_flow"]).max() <= 8


def test_without_trades_the_flow_knows_nothing(ticks: dict) -> None:
    assert not run(STAGE, ticks | untraded(ROWS))["trade_flow"].any()
    unsigned = run(STAGE, ticks | {"last_side": np.zeros(ROWS, np.int64)})
    assert not unsigned["trade_flow"].any(), "a side is never guessed"


def test_a_trade_that_stands_there_for_long_is_one_trade(ticks: dict) -> None:
    same_trade = {"last_price": np.full(ROWS, 9.0), "last_size": np.full(ROWS, 1.0), "last_side": np.full(ROWS, 1)}
    assert not run(STAGE, ticks | same_trade)["trade_flow"].any(), "of unknown age at the first tick"


def test_leader_is_the_other_symbol_with_most_ticks(found: dict) -> None:
    slot, ts, mid = found["slot"], found["ts_order"], found["mid"]
    count, last, recent = [0] * SYMBOLS, [0] * SYMBOLS, [0.0] * SYMBOLS
    order: list[int] = []
    for n in range(ROWS):
        s = int(slot[n])
        others = [other for other in order if other != s]
        faded = recent[others[0]] * np.exp((last[others[0]] - ts[n]) / 1e9) if others else 0.0
        assert found["leader_return"][n] == pytest.approx(faded, rel=1e-9, abs=1e-15)
        recent[s], last[s] = found["recent_return"][n], int(ts[n])
        count[s] += 1
        first = order[0] if order else None
        if first is None or (s != first and count[s] > count[first]):
            order = [s] if first is None else [s, first]
        elif s != first and (len(order) < 2 or count[s] > count[order[1]]):
            order = [first, s]
    assert mid[0] > 0 and len(set(slot.tolist())) == SYMBOLS


def test_a_symbol_alone_has_no_leader() -> None:
    assert not run(STAGE, quotes(300, 1))["leader_return"].any()


def test_cuts_change_no_bit(ticks: dict, found: dict) -> None:
    cuts = np.random.default_rng(2).choice(ROWS, 60, replace=False)
    same(run(STAGE, ticks, cuts), found)
    same(run(STAGE, ticks, range(1, ROWS)), found)


@pytest.mark.parametrize("price", [0.1, 100.015, 2_650.335, 61_234.565])
def test_a_price_that_stands_still_has_no_zscore_and_no_volatility(price: float) -> None:
    still = quotes(200, 1) | {"bid": np.full(200, price - 0.005), "ask": np.full(200, price + 0.005)}
    found = run(STAGE, still)
    known = ("zscore", "volatility", "trend", "volatility_fast", "volatility_slow", "recent_return", "spread_deviation")
    assert not any(found[name].any() for name in known)
    assert (found["regime"] == regimes.START).all()
    assert (found["channel_high"] == found["channel_low"]).all()


def test_one_tick_and_none() -> None:
    one = {name: values[:1] if np.ndim(values) else values for name, values in quotes(5, 1).items()}
    found = run(STAGE, one)
    assert all(np.isfinite(found[name]).all() for name in features.OUT)
    none = {name: values[:0] if np.ndim(values) else values for name, values in one.items()}
    assert all(len(run(STAGE, none)[name]) == 0 for name in features.OUT)


def test_every_feature_is_in_the_contract_and_finite(found: dict) -> None:
    fields = {field["name"] for field in schemas.load("features")["fields"]}
    assert set(features.OUT) <= fields
    assert all(np.isfinite(found[name]).all() for name in features.OUT)


def test_formulas_of_one_quote(found: dict) -> None:
    bid, ask, bid_size, ask_size = (found[name] for name in ("bid", "ask", "bid_size", "ask_size"))
    wanted = {"mid": (bid + ask) / 2, "spread": ask - bid, "imbalance": (bid_size - ask_size) / (bid_size + ask_size),
              "micro_price": (bid * ask_size + ask * bid_size) / (bid_size + ask_size)}
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)
        np.testing.assert_array_equal(FORMULAS[name].over(*(found[i] for i in FORMULAS[name].inputs)), values)
