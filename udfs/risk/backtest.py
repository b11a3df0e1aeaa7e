"""Backtests of value at risk and CVaR forecasts: coverage, independence, size of the tail, a loss to rank by.

    rows = aligned(mid, var_975, cvar_975, warm)     # columns of risk.v1, one symbol's
    report = backtest(*rows, tail=0.025)
    print("\\n".join(report.lines()))

Each forecast was made before its return; losses are positive in `var` and `cvar`, negative in `returns`. Forecasts of
overlapping horizons break the tests' independence: use one row for each horizon.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, special, stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Statistic:
    """A test's statistic and the probability of one at least as extreme if the forecasts are right."""

    value: float
    p_value: float


def aligned(mid: Array, var: Array, cvar: Array, warm: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Returns of one symbol and the VaR and CVaR that were known before each: forecasts of a tick meet the next one.

    Rows whose forecast was not warm are left out.

    >>> mid, forecast = np.array([100.0, 99.0, 98.0]), np.array([0.1, 0.2, 0.3])
    >>> changes, var, _ = aligned(mid, forecast, forecast, np.array([True, True, True]))
    >>> changes.round(4).tolist(), var.tolist()
    ([-0.0101, -0.0102], [0.1, 0.2])
    """
    held = np.asarray(warm[:-1], bool)
    return np.diff(np.log(mid))[held], var[:-1][held], cvar[:-1][held]


def _log_likelihood(hits: int, misses: int, probability: float) -> float:
    """Of a Bernoulli sample; what did not happen adds nothing even at probability 0 or 1."""
    total = hits * math.log(probability) if hits else 0.0
    return total + (misses * math.log1p(-probability) if misses else 0.0)


def _ratio(free: float, bound: float, freedom: int) -> Statistic:
    statistic = max(0.0, 2 * (free - bound))
    return Statistic(statistic, float(stats.chi2.sf(statistic, freedom)))


def kupiec(hits: NDArray[np.bool_], tail: float) -> Statistic:
    """Proportion of failures: are there as many hits as the tail says (Kupiec 1995)? Likelihood ratio, chi2(1).

    >>> test = kupiec(np.arange(252) < 20, 0.05)  # J.P. Morgan 1998, Jorion (2006), "Value at Risk", chapter 6
    >>> round(test.value, 2), round(test.p_value, 3)
    (3.91, 0.048)
    """
    count, hit = len(hits), int(np.sum(hits))
    return _ratio(_log_likelihood(hit, count - hit, hit / count), _log_likelihood(hit, count - hit, tail), 1)


def independence(hits: NDArray[np.bool_]) -> Statistic:
    """Is a hit as likely after a hit as after none (Christoffersen 1998)? Likelihood ratio, chi2(1).

    A sample with fewer than two rows or no hit says nothing: statistic 0.
    """
    before, after = np.asarray(hits[:-1], bool), np.asarray(hits[1:], bool)
    n01, n11 = int(np.sum(~before & after)), int(np.sum(before & after))
    n00, n10 = int(np.sum(~before & ~after)), int(np.sum(before & ~after))
    return _from_transitions(n00, n01, n10, n11)


def _from_transitions(n00: int, n01: int, n10: int, n11: int) -> Statistic:
    """From counts of misses and hits after a miss, and after a hit.

    >>> round(_from_transitions(218, 14, 14, 6).value, 2)  # J.P. Morgan 1998, Jorion (2006), chapter 6
    9.53
    """
    count, hit = n00 + n01 + n10 + n11, n01 + n11
    if hit == 0 or n10 + n11 == 0 or n00 + n01 == 0:
        return Statistic(0.0, 1.0)
    free = (_log_likelihood(n01, n00, n01 / (n00 + n01)) + _log_likelihood(n11, n10, n11 / (n10 + n11)))
    return _ratio(free, _log_likelihood(hit, count - hit, hit / count), 1)


def conditional_coverage(hits: NDArray[np.bool_], tail: float) -> Statistic:
    """Both at once (Christoffersen 1998): sum of the two statistics, chi2(2)."""
    statistic = kupiec(hits, tail).value + independence(hits).value
    return Statistic(statistic, float(stats.chi2.sf(statistic, 2)))


def z1(returns: Array, var: Array, cvar: Array) -> float:
    """Mean over the hits of return over CVaR, plus 1 (Acerbi and Szekely 2014, test 1): 0 expected, negative where
    losses beyond VaR are larger than CVaR says. NaN without a hit.
    """
    hits = returns < -var
    return float(np.mean(returns[hits] / cvar[hits]) + 1) if hits.any() else math.nan


def z2(returns: Array, var: Array, cvar: Array, tail: float) -> Statistic:
    """Acerbi and Szekely (2014), test 2, of VaR and CVaR at once: mean of hit * return / (tail * CVaR), plus 1.

    0 expected, negative where risk is understated. The p-value is of risk being understated (one side), by the normal
    limit of the mean of the rows' terms, which are independent with mean 0 if the forecasts are right.
    """
    terms = np.where(returns < -var, returns / (tail * cvar), 0.0) + 1
    statistic, error = float(np.mean(terms)), float(np.std(terms)) / math.sqrt(len(terms))
    return Statistic(statistic, float(stats.norm.cdf(statistic / error)) if error > 0 else float(statistic >= 0))


def z3(ranks: Array, tail: float, quantile: Callable[[Any], Any]) -> float:
    """Acerbi and Szekely (2014), test 3: CVaR of the ranks' own quantiles over its mean for uniform ranks, from 1.

    `ranks` are the forecast distribution functions at the returns (PIT); `quantile` is the forecasts' quantile function
    up to a scale of each row, which cancels. 0 expected, negative where risk is understated. ValueError where the tail
    holds no whole row.
    """
    count = len(ranks)
    worst = math.floor(count * tail + 1e-9)
    if worst < 1:
        raise ValueError(f"risk: {count} rows have none in a tail of {tail:g}; Z3 needs at least {math.ceil(1 / tail)}")
    found = float(np.mean(quantile(np.sort(ranks)[:worst])))
    weighted = integrate.quad(lambda p: special.betainc(count - worst, worst, 1 - p) * quantile(p), 0, 1, limit=200)[0]
    return 1 - found / (count / worst * weighted)


def fissler_ziegel(returns: Array, var: Array, cvar: Array, tail: float) -> Array:
    """FZ0 loss of each row, lower is better: strictly consistent for the pair VaR and CVaR (Fissler and Ziegel 2016),
    homogeneous of degree 0 (Patton, Ziegel and Chen 2019, equation 6). ValueError unless every CVaR is positive.
    """
    if not (cvar > 0).all():
        raise ValueError(f"risk: FZ0 needs CVaR above 0, found {np.min(cvar):g}; floor it (risk.floor)")
    beyond = np.maximum(-var - returns, 0.0)
    return beyond / (tail * cvar) + var / cvar + np.log(cvar) - 1


@dataclass(frozen=True)
class Backtest:
    """What forecasts of one tail were worth on `count` rows."""

    tail: float
    count: int
    hits: int
    kupiec: Statistic
    independence: Statistic
    coverage: Statistic
    z1: float
    z2: Statistic
    loss: float

    def lines(self) -> list[str]:
        """One plain line a figure, for a report."""
        return [
            f"hits {self.hits} of {self.count}, {self.hits / self.count:.2%} against {self.tail:.2%} wanted",
            f"Kupiec LR {self.kupiec.value:.2f}, p {self.kupiec.p_value:.3f}",
            f"Christoffersen independence LR {self.independence.value:.2f}, p {self.independence.p_value:.3f}; "
            f"conditional coverage LR {self.coverage.value:.2f}, p {self.coverage.p_value:.3f}",
            f"Acerbi-Szekely Z1 {self.z1:+.3f}, Z2 {self.z2.value:+.3f}, p {self.z2.p_value:.3f} "
            "(negative: risk understated)",
            f"Fissler-Ziegel FZ0 loss {self.loss:.4f} (lower is better)",
        ]


def backtest(returns: Array, var: Array, cvar: Array, tail: float) -> Backtest:
    """All tests over rows of equal length. ValueError where there is no row, or a value is not finite."""
    if len(returns) == 0 or not np.isfinite([returns, var, cvar]).all():
        raise ValueError("risk: a backtest needs at least one row of finite returns and forecasts")
    loss = float(np.mean(fissler_ziegel(returns, var, cvar, tail)))
    hits = returns < -var
    return Backtest(tail, len(returns), int(hits.sum()), kupiec(hits, tail), independence(hits),
                    conditional_coverage(hits, tail), z1(returns, var, cvar), z2(returns, var, cvar, tail),
                    loss)
