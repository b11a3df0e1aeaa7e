"""Micro-alphas: each one function of features, registered by its decorator. Twelve of `default`, one of `reference`.

The parameters' names are the features it reads (columns of `features.v1`), so a function is its own declaration. It is
compiled to a NumPy ufunc: the same scalar code for every row, so a score cannot depend on where a batch was cut.

There are three forms, and to add an alpha is one function here and its name in the profile:

- `@alpha`: the function is the score in [-1, 1]. It needs no past beyond the features, and serves as a Pandas UDF too.
- `@slow(name)`: the score from a slow value (udfs/slow.py) of that name and `NAME_life`, what is left of its life in
  [0, 1]; where there is none that is public and fresh the score is 0, the confidence 0, and the signal says why.
- `@fitted(terms)`: the function gives the regressors, the first parameter telling which (0 to terms - 1). The alphas
  stage fits the return over the horizon to them tick by tick; the score is the fitted return over the usual size of
  such returns.

How a score becomes mu and sigma is learned online by the alphas stage. One that knows nothing is 0: no trade was sent,
no other symbol is in the partition, the price stands still.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from udfs.formulas import Ufunc


@dataclass(frozen=True)
class Alpha:
    """A registered alpha: `compiled` for columns named by `inputs`. `reads` names the slow value of a slow alpha."""

    name: str
    inputs: tuple[str, ...]
    compiled: Ufunc
    terms: int = 0
    reads: str = ""

    @property
    def over(self) -> np.ufunc:
        """The ufunc of the columns: the score, or with `terms` a regressor, whose number is then its first argument."""
        return self.compiled.over


REGISTRY: dict[str, Alpha] = {}


def alpha(function: Callable[..., float]) -> Ufunc:
    """Register a scalar function as an alpha under its own name."""
    return _register(function)


def fitted(terms: int) -> Callable[[Callable[..., float]], Ufunc]:
    """Register a function of a regressor's number and features as an alpha with `terms` regressors."""
    def register(function: Callable[..., float]) -> Ufunc:
        return _register(function, terms)
    return register


def slow(name: str) -> Callable[[Callable[..., float]], Ufunc]:
    """Register a function of a slow value and of its life as an alpha."""
    def register(function: Callable[..., float]) -> Ufunc:
        return _register(function, reads=name)
    return register


def _register(function: Callable[..., float], terms: int = 0, reads: str = "") -> Ufunc:
    made = Ufunc(function)
    inputs = made.inputs[1:] if terms else made.inputs
    REGISTRY[function.__name__] = Alpha(function.__name__, inputs, made, terms, reads)
    return made


@numba.njit(cache=True, inline="always")
def _clip(value):
    return min(1.0, max(-1.0, value))


@alpha
def book_pressure_vol(imbalance, micro_price, mid, volatility):
    """Logistic of imbalance and of micro-price over volatility: a1 of the reference strategy.

    >>> float(book_pressure_vol(0.0, 10.0, 10.0, 0.0))
    0.0
    """
    drift = (micro_price - mid) / (mid * volatility) if volatility > 0 else 0.0
    return 2 * (1 / (1 + math.exp(-(2.0 * imbalance + 1.0 * drift)))) - 1


@alpha
def book_pressure(imbalance):
    """Order-book pressure: the mid follows the larger side at the touch. A logistic of the size imbalance.

    Gould and Bonart (2016), "Queue imbalance as a one-tick-ahead price predictor in a limit order book".

    >>> round(float(book_pressure(0.5)), 4)
    0.4621
    """
    return 2 * (1 / (1 + math.exp(-2.0 * imbalance))) - 1


@alpha
def order_flow(order_flow):
    """Order-flow imbalance: what the last 20 quote changes added to the bid side less the ask side moves the price.

    Cont, Kukanov and Stoikov (2014), "The price impact of order book events".

    >>> round(float(order_flow(0.1)), 4)
    0.2913
    """
    return math.tanh(3.0 * order_flow)


@fitted(terms=3)
def micro_price_gap(term, imbalance, spread, spread_mean):
    """Micro-price: the gap from the mid to where it is expected, as an odd function of imbalance that the spread bends.

    Stoikov (2018), "The micro-price: a high-frequency estimator of future prices", finds the gap from how often states
    of (imbalance, spread) follow each other; here it is fitted on I, I^3 and I times the spread's excess over its mean.

    >>> [float(micro_price_gap(term, 0.5, 3.0, 2.0)) for term in range(3)]
    [0.5, 0.125, 0.25]
    """
    if term == 0:
        return imbalance
    if term == 1:
        return imbalance * imbalance * imbalance
    return imbalance * _clip(spread / spread_mean - 1) if spread_mean > 0 else 0.0


@alpha
def trade_flow(trade_flow):
    """Trade-sign flow: aggressors split large orders, so buying is followed by buying.

    Lillo and Farmer (2004), "The long memory of the efficient market". By the venue's own sides; 0 without trades.

    >>> float(trade_flow(0.0)), round(float(trade_flow(-0.5)), 4)
    (0.0, -0.4621)
    """
    return math.tanh(trade_flow)


@alpha
def momentum_3_6(mid, volatility, mean_fast, mean_slow):
    """Moving-average momentum: fast mean of 3 mids over slow mean of 6, in units of volatility.

    Brock, Lakonishok and LeBaron (1992), "Simple technical trading rules and the stochastic properties of stock
    returns"; a2 of the reference strategy.

    >>> round(float(momentum_3_6(100.0, 1e-4, 100.01, 100.0)), 4)
    0.4621
    """
    return math.tanh(0.5 * (mean_fast - mean_slow) / (mid * volatility)) if volatility > 0 else 0.0


@alpha
def breakout(mid, channel_high, channel_low):
    """Breakout: a mid that leaves the channel of the last 240 ticks goes on. Cube of the place in it: edges count.

    Donchian's channel; trading-range break-out in Brock, Lakonishok and LeBaron (1992).

    >>> [float(breakout(mid, 12.0, 8.0)) for mid in (10.0, 11.0, 12.0, 15.0)]
    [0.0, 0.125, 1.0, 1.0]
    """
    width = channel_high - channel_low
    if width <= 0:
        return 1.0 if mid > channel_high else -1.0 if mid < channel_low else 0.0
    place = _clip((2 * mid - channel_high - channel_low) / width)
    return place * place * place


@alpha
def mean_reversion_50(zscore):
    """Mean reversion: against the distance from the mean of 50 mids; a3 of the reference strategy.

    Lehmann (1990), "Fads, martingales, and market efficiency", over ticks instead of weeks.

    >>> float(mean_reversion_50(6.0))
    -1.0
    """
    return -min(1.0, max(-1.0, zscore / 3))


@alpha
def volatility_regime(trend, volatility_fast, volatility_slow):
    """Volatility regime: with the trend while volatility is below its usual level, against it while above.

    LeBaron (1992), "Some relations between volatility and serial correlations in stock market returns": serial
    correlation falls as volatility rises.

    >>> float(volatility_regime(2.0, 1e-4, 1e-4)), float(volatility_regime(2.0, 2e-4, 1e-4)) < 0
    (0.0, True)
    """
    if volatility_fast <= 0 or volatility_slow <= 0:
        return 0.0
    return math.tanh(trend / 2) * math.tanh(math.log(volatility_slow / volatility_fast))


@alpha
def lead_lag(leader_return, volatility, interval_ns):
    """Cross-symbol lead-lag: the symbol follows what the partition's most liquid one did in the last second.

    Huth and Abergel (2014), "High frequency lead/lag relationships". In volatilities of a second; it fades with the age
    of the leader's last move, and a symbol alone in its partition has no leader and scores 0.

    >>> round(float(lead_lag(1e-4, 1e-4, 1e9)), 4), float(lead_lag(0.0, 1e-4, 1e9))
    (0.7616, 0.0)
    """
    if volatility <= 0 or interval_ns <= 0:
        return 0.0
    return math.tanh(leader_return / volatility * math.sqrt(interval_ns / 1e9))


@alpha
def spread_dynamics(mid, mean_slow, spread, spread_mean, spread_deviation):
    """Spread dynamics: a move that opened the spread beyond its usual width goes on, as the side left behind follows.

    Biais, Hillion and Spatt (1995), "An empirical analysis of the limit order book and the order flow in the Paris
    Bourse": a price change starts on one side of the book. The move is the mid's distance from the mean of 6, in
    spreads; at the usual spread and below the score is 0.

    >>> [round(float(spread_dynamics(101.0, 100.0, spread, 2.0, 1.0)), 4) for spread in (1.0, 2.0, 3.0)]
    [0.0, 0.0, 0.3519]
    """
    if spread_mean <= 0 or spread_deviation <= 0:
        return 0.0
    return math.tanh((mid - mean_slow) / spread_mean) * math.tanh(max(0.0, (spread - spread_mean) / spread_deviation))


@fitted(terms=4)
def seasonality(term, second):
    """Seasonality within the minute: programs trade on the clock. Two harmonics of the second, sine and cosine of each.

    Flexible Fourier form of Andersen and Bollerslev (1997), "Intraday periodicity and volatility persistence"; trading
    at whole minutes: Muravyev and Picard (2022), "Does trade clustering reduce trading costs?".

    >>> [round(float(seasonality(term, 15.0)), 9) + 0.0 for term in range(4)]
    [1.0, 0.0, 0.0, -1.0]
    """
    angle = 2 * math.pi * (1 if term < 2 else 2) * second / 60
    return math.sin(angle) if term == 0 or term == 2 else math.cos(angle)


@fitted(terms=7)
def learned_linear(term, imbalance, order_flow, trade_flow, zscore, trend, recent_return, leader_return, volatility):
    """The learned model: a ridge regression on seven features at once, which sees what they share.

    Hoerl and Kennard (1970), "Ridge regression"; recursive with exponential forgetting as in Ljung (1999), "System
    Identification", chapter 11.

    >>> [float(learned_linear(term, 0.5, 0.1, 0.0, 1.5, 0.0, 0.0, 0.0, 1e-4)) for term in range(7)]
    [0.5, 0.1, 0.0, 0.5, 0.0, 0.0, 0.0]
    """
    if term == 0:
        return imbalance
    if term == 1:
        return order_flow
    if term == 2:
        return math.tanh(trade_flow)
    if term == 3:
        return _clip(zscore / 3)
    if term == 4:
        return math.tanh(trend / 2)
    if volatility <= 0:
        return 0.0
    return math.tanh((recent_return if term == 5 else leader_return) / (10 * volatility))


@slow("macro")
def macro_gauge(macro):
    """Macro: the state of the economy as vintages of its series tell it, good above 0.

    Chen, Roll and Ross (1986), "Economic forces and the stock market". It stands for days: what is learned from it is
    how returns went while it stood so.

    >>> float(macro_gauge(0.25))
    0.25
    """
    return _clip(macro)


@slow("sentiment")
def news_sentiment(sentiment, sentiment_life):
    """Sentiment of news and posts, which counts less as it grows old.

    Tetlock (2007), "Giving content to investor sentiment: the role of media in the stock market".

    >>> float(news_sentiment(0.5, 0.5))
    0.25
    """
    return _clip(sentiment) * _clip(sentiment_life)
