"""Value at risk and its tail mean against a sort, a minimisation, and published values."""
from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.kit import quotes, run, same, state
from udfs import profiles
from udfs.formulas import FORMULAS
from udfs.profiles import Risk
from udfs.risk import cornish_fisher
from udfs.risk.extreme import pareto_fit
from udfs.risk.laws import pareto_tail
from udfs.risk.tail import tail_mean
from udfs.stage import Stage
from udfs.stages import risk

REFERENCE = Path(__file__).parents[4] / "shared" / "data" / "reference"
LEVELS = {0.95: "95", 0.975: "975", 0.99: "99"}


def staged(settings: Risk) -> Stage:
    """The risk stage with settings of its own."""
    return risk.stage(profiles.DEFAULT.model_copy(update={"risk": settings}))


def stage(window: int, tail: str) -> Stage:
    """The risk stage with a window of its own."""
    return staged(Risk(window=window, tail=tail))  # type: ignore[arg-type]


def tail(returns: np.ndarray, beta: float, whole: bool = False) -> tuple[float, float]:
    """(VaR, CVaR) by sorting, as Rockafellar and Uryasev define them for a sample."""
    ordered, count = np.sort(returns), (1 - beta) * len(returns)
    last = int(np.ceil(count - 1e-9))
    if whole:
        return -ordered[last - 1], -ordered[:last].mean()
    rest = count - (last - 1)
    return -ordered[last - 1], -(ordered[:last - 1].sum() + rest * ordered[last - 1]) / count


def priced(columns: dict) -> dict:
    """Quotes with what risk needs of the stages before it."""
    return columns | {name: FORMULAS[name].over(columns["bid"], columns["ask"]) for name in ("mid", "spread")}


@pytest.mark.parametrize("rule", ["ceil", "rockafellar_uryasev"])
@pytest.mark.parametrize("window", [20, 130])
def test_every_prefix_against_a_sort(rule: str, window: int) -> None:
    ticks = priced(quotes(900, 2))
    found = run(stage(window, rule), ticks)
    for symbol in range(2):
        at = np.flatnonzero(found["slot"] == symbol)
        changes = np.diff(np.log(found["mid"][at]))
        for n, row in enumerate(at):
            assert found["warm"][row] == (n >= window)
            for beta, name in LEVELS.items():
                var, cvar = tail(changes[max(0, n - window):n], beta, rule == "ceil") if n else (0.0, 0.0)
                assert found[f"var_{name}"][row] == pytest.approx(var, rel=1e-9, abs=1e-15)
                assert found[f"cvar_{name}"][row] == pytest.approx(max(cvar, 1e-9), rel=1e-9)


def test_cvar_is_the_minimum_of_rockafellar_and_uryasev() -> None:
    """CVaR = min over c of c + E[(loss - c)+] / (1 - beta), at one of the losses (Rockafellar and Uryasev 2000)."""
    returns = np.sort(np.random.default_rng(3).standard_t(3, 487))
    for beta in LEVELS:
        least = min(c + np.maximum(-returns - c, 0).mean() / (1 - beta) for c in -returns)
        assert tail_mean(returns, len(returns), 1 - beta, False)[1] == pytest.approx(least, rel=1e-9)


def test_cuts_change_no_bit() -> None:
    ticks = priced(quotes(600, 2))
    s = stage(50, "rockafellar_uryasev")
    same(run(s, ticks, range(7, 600, 7)), run(s, ticks))


ALL = [(method, kind) for method in risk.METHODS for kind in risk.FILTERS]


def plain(changes: np.ndarray, n: int, s: Risk) -> tuple[list[tuple[float, float]], float, int]:
    """Tails, volatility and law's guard after `n` returns by a plain program that starts anew."""
    variance = long_run = deviation = 0.0
    scaled = []
    for k, change in enumerate(changes[:n], 1):
        scaled.append(change if s.filter == "none" else change / deviation if deviation > 0 else np.sign(change))
        long_run += max(1 / s.long_memory, 1 / k) * (change**2 - long_run)
        if s.filter == "garch":
            variance = ((1 - s.garch_alpha - s.garch_beta) * long_run + s.garch_alpha * change**2
                        + s.garch_beta * variance) if k > 1 else change**2
        else:
            variance += max(1 - s.decay, 1 / k) * (change**2 - variance)
        deviation = np.sqrt(long_run) if s.filter == "none" else max(
            np.sqrt(variance), s.least_volatility * np.sqrt(long_run))
    fitted = max(0, n - (n + 1) % s.every) if s.method != "historical" else n
    tails, guard = law(np.array(scaled[max(0, fitted - s.window):fitted]), s)
    scale = 1.0 if s.filter == "none" else deviation
    floor = max(s.floor, s.least_cvar * np.sqrt(long_run))
    return [(scale * var, max(scale * cvar, floor)) for var, cvar in tails], deviation, guard


def law(values: np.ndarray, s: Risk) -> tuple[list[tuple[float, float]], int]:
    """(VaR, CVaR) at each level and which guard refused."""
    levels = [1 - beta for beta in LEVELS]
    if len(values) == 0:
        return [(0.0, 0.0)] * 3, 0
    own = [tail(values, 1 - level) for level in levels]
    if s.method == "historical" or np.ptp(values) == 0:
        return own, 0
    if s.method == "cornish_fisher":
        mean, deviation = values.mean(), values.std()
        skew, kurt, found = cornish_fisher.parameters(stats.skew(values), stats.kurtosis(values))
        tails = [cornish_fisher.expansion_tail(mean, deviation, skew, kurt, stats.norm.ppf(a), a) for a in levels]
        return (tails, 0) if found else (own, risk.NOT_MONOTONE)
    count = int(np.ceil(s.threshold * len(values)))
    losses = np.sort(-values)[::-1]
    if count < risk.LEAST_BEYOND or count >= len(values):
        return own, risk.NO_MEAN
    shape, scale = pareto_fit(losses[:count][::-1] - losses[count])
    if not -np.inf < shape < s.shape_limit:
        return own, risk.NO_MEAN
    return [pareto_tail(losses[count], shape, scale, count / len(values), a) for a in levels], 0


@pytest.mark.parametrize("method, kind", ALL)
def test_every_method_and_filter_against_a_plain_program(method: str, kind: str) -> None:
    settings = Risk(window=120, method=method, filter=kind, every=7, long_memory=150,  # type: ignore[arg-type]
                    least_cvar=1.5)
    found = run(staged(settings), priced(quotes(700, 2)))
    for symbol in range(2):
        at = np.flatnonzero(found["slot"] == symbol)
        changes = np.diff(np.log(found["mid"][at]))
        for n in range(0, len(at), 5):
            tails, deviation, guard = plain(changes, n, settings)
            row = at[n]
            assert found["conditional_volatility"][row] == pytest.approx(deviation, rel=1e-9)
            assert found["risk_flags"][row] & 3 == guard, n
            for (var, cvar), name in zip(tails, LEVELS.values(), strict=True):
                assert found[f"var_{name}"][row] == pytest.approx(var, rel=1e-6, abs=1e-12)
                assert found[f"cvar_{name}"][row] == pytest.approx(cvar, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("method, kind", ALL)
def test_cuts_and_restarts_change_no_bit(method: str, kind: str) -> None:
    """State taken out and put back between any two pieces, as bytes."""
    s = staged(Risk(window=60, method=method, filter=kind))  # type: ignore[arg-type]
    ticks = priced(quotes(500, 2))
    whole, held = run(s, ticks), state(s)
    for a, b in pairwise([0, 1, 2, 9, 100, 101, 353, 500]):
        part = run(s, {name: v[a:b] if np.ndim(v) else v for name, v in ticks.items()}, held=held)
        for name in (*risk.OUT, "conditional_volatility", "risk_flags", "warm"):
            assert np.array_equal(part[name], whole[name][a:b]), name
        held = type(held)(np.frombuffer(held.symbols.tobytes(), held.symbols.dtype).copy(), held.shared)


@pytest.mark.parametrize("method, kind", ALL)
def test_a_price_that_stands_still_has_the_least_risk_and_says_so(method: str, kind: str) -> None:
    s = staged(Risk(window=50, method=method, filter=kind))  # type: ignore[arg-type]
    found = run(s, {"slot": np.zeros(80, int), "mid": np.full(80, 100.0)})
    assert (found["cvar_975"] == 1e-9).all() and not found["var_975"].any()
    assert not found["conditional_volatility"].any()
    assert found["warm"].tolist() == [0] * 50 + [1] * 30
    assert (found["risk_flags"][1:] & risk.STILL).all() and found["risk_flags"][0] == 0
    moved = run(s, {"slot": np.zeros(130, int), "mid": np.r_[np.full(80, 100.0), np.full(50, 99.0)]})
    assert np.isfinite(moved["cvar_975"]).all() and moved["cvar_975"][90:].min() > 1e-9


@pytest.mark.parametrize("method, kind", ALL)
def test_one_tick_and_one_return(method: str, kind: str) -> None:
    s = staged(Risk(window=50, method=method, filter=kind, every=1))  # type: ignore[arg-type]
    one, two = (run(s, {"slot": np.zeros(n, int), "mid": np.array([100.0, 99.0][:n])}) for n in (1, 2))
    assert one["var_975"].tolist() == [0] and one["cvar_975"].tolist() == [1e-9]
    change = -np.log(0.99)
    assert two["cvar_975"][1] == pytest.approx(change) and two["conditional_volatility"][1] == pytest.approx(change)


def test_no_tick_at_all() -> None:
    found = run(staged(Risk()), {"slot": np.zeros(0, int), "mid": np.zeros(0)})
    assert all(len(found[name]) == 0 for name in (*risk.OUT, "risk_flags", "warm"))


@pytest.mark.parametrize("mid", [np.nan, np.inf, 0.0, -1.0])
def test_a_mid_that_is_no_price_is_refused(mid: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        run(staged(Risk()), {"slot": np.zeros(3, int), "mid": np.array([100.0, mid, 100.0])})


def test_a_pareto_tail_without_a_mean_gives_way_to_the_window() -> None:
    """One crash among small losses: the fitted shape is next to 1."""
    changes = np.r_[np.tile([1e-4, -1e-4], 100), -0.4, np.tile([1e-4, -1e-4], 20)]
    ticks = {"slot": np.zeros(len(changes) + 1, int), "mid": 100 * np.exp(np.r_[0, np.cumsum(changes)])}
    found = run(staged(Risk(window=100, method="extreme", every=1)), ticks)
    assert found["risk_flags"][-1] & risk.NO_MEAN
    assert found["cvar_99"][-1] == pytest.approx(0.4)


def test_filtered_risk_follows_a_doubling_of_volatility() -> None:
    """Within 100 ticks filtered CVaR is near the new level; the plain window of 500 is not."""
    rng = np.random.default_rng(5)
    changes = np.r_[rng.normal(0, 1e-3, 1_000), rng.normal(0, 2e-3, 100)]
    ticks = {"slot": np.zeros(len(changes) + 1, int), "mid": 100 * np.exp(np.r_[0, np.cumsum(changes)])}
    wanted = 2e-3 * 2.3378
    for kind in ("ewma", "garch"):
        found = run(staged(Risk(filter=kind)), ticks)["cvar_975"]  # type: ignore[arg-type]
        assert found[-50:].mean() == pytest.approx(wanted, rel=0.3)
    assert run(staged(Risk()), ticks)["cvar_975"][-50:].mean() < 0.85 * wanted


def test_a_price_that_stood_still_for_a_window_keeps_the_risk_it_had() -> None:
    """Without a floor a quiet minute says there is no risk, and the first move is a loss of 1e5 times the CVaR."""
    rng = np.random.default_rng(5)
    changes = np.r_[rng.normal(0, 1e-4, 2_000), np.zeros(600)]
    ticks = {"slot": np.zeros(len(changes) + 1, int), "mid": 100 * np.exp(np.r_[0, np.cumsum(changes)])}
    bare, floored = run(staged(Risk()), ticks), run(staged(Risk(least_cvar=1.0)), ticks)
    assert bare["cvar_975"][-1] == 1e-9
    assert 0.5e-4 < floored["cvar_975"][-1] < 1e-4 and floored["risk_flags"][-1] & risk.AT_FLOOR


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="below 1"):
        Risk(garch_alpha=0.1, garch_beta=0.9)
    with pytest.raises(ValueError, match="at most window"):
        Risk(window=20, every=50)


def vectors() -> dict:
    """The published values; the test is skipped where they are not beside the project."""
    file = REFERENCE / "reference_vectors.json"
    if not file.exists():
        pytest.skip(f"{file} is not there: published values lie beside the project, not in it")
    return json.loads(file.read_text())


@pytest.mark.parametrize("place", range(3))
def test_published_values_of_skfolio(place: int) -> None:
    case = vectors()["cvar"][place]
    if isinstance(case["data"], str):
        column = "AAPL" if "AAPL" in case["data"] else "AMD"
        with gzip.open(REFERENCE / "sp500_dataset.csv.gz") as file:
            returns = pd.read_csv(file, index_col=0)[column].pct_change().dropna().to_numpy()
    else:
        returns = np.array(case["data"])
    var, cvar = tail_mean(np.sort(returns), len(returns), 1 - case["beta"], False)
    wanted = case.get("recomputed", [case["VaR"], case["CVaR"]])
    assert (var, cvar) == pytest.approx(wanted, rel=1e-9)
    assert (var, cvar) == pytest.approx((case["VaR"], case["CVaR"]), abs=2e-8)


def test_published_values_of_a_fractional_tail() -> None:
    case = vectors()["cvar_closed_form"]["returns_-0.05..0.04_step_0.01"]
    returns = np.arange(-5, 5) / 100
    for beta in (0.80, 0.85, 0.90):
        assert tail_mean(returns, 10, 1 - beta, False)[1] == pytest.approx(case[f"{beta:.2f}"], abs=1e-9)
