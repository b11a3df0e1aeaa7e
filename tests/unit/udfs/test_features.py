"""Features against NumPy and plain Python after every prefix."""
from __future__ import annotations

import numpy as np
import pytest

from tests.kit import quotes, run, same
from udfs import profiles
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
def test_regime_and_interval_by_a_plain_loop(found: dict, symbol: int) -> None:
    f = of(found, symbol)
    fast = slow = interval = 0.0
    regime, seen = features.NORMAL, set()
    for n in range(1, len(f["mid"])):
        passed = float(f["ts_order"][n] - f["ts_order"][n - 1])
        interval = passed if n == 1 else interval + (passed - interval) / 64
        square = np.log(f["mid"][n] / f["mid"][n - 1]) ** 2
        fast += (square - fast) / 32
        slow += (square - slow) * max(1 / 1024, 1 / n)
        ratio = fast / slow if slow else 0.0
        if n < features.RETURNS or not slow:
            regime = features.NORMAL
        elif regime == features.STRESSED:
            regime = features.STRESSED if ratio >= 2.0 else features.NORMAL
        elif regime == features.CALM:
            regime = features.CALM if ratio <= 0.6 else features.NORMAL
        else:
            regime = features.STRESSED if ratio > 3.0 else features.CALM if ratio < 0.4 else features.NORMAL
        seen.add(regime)
        assert f["regime"][n] == regime
        assert f["interval_ns"][n] == pytest.approx(interval, rel=1e-12)
    assert seen == {features.CALM, features.NORMAL, features.STRESSED}


def test_cuts_change_no_bit(ticks: dict, found: dict) -> None:
    cuts = np.random.default_rng(2).choice(ROWS, 60, replace=False)
    same(run(STAGE, ticks, cuts), found)
    same(run(STAGE, ticks, range(1, ROWS)), found)


@pytest.mark.parametrize("price", [0.1, 100.015, 2_650.335, 61_234.565])
def test_a_price_that_stands_still_has_no_zscore_and_no_volatility(price: float) -> None:
    still = quotes(200, 1) | {"bid": np.full(200, price - 0.005), "ask": np.full(200, price + 0.005)}
    found = run(STAGE, still)
    assert not found["zscore"].any() and not found["volatility"].any()


def test_formulas_of_one_quote(found: dict) -> None:
    bid, ask, bid_size, ask_size = (found[name] for name in ("bid", "ask", "bid_size", "ask_size"))
    wanted = {"mid": (bid + ask) / 2, "spread": ask - bid, "imbalance": (bid_size - ask_size) / (bid_size + ask_size),
              "micro_price": (bid * ask_size + ask * bid_size) / (bid_size + ask_size)}
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)
        np.testing.assert_array_equal(FORMULAS[name].over(*(found[i] for i in FORMULAS[name].inputs)), values)
