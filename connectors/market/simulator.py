"""A market that never was: seeded, deterministic, for any number of symbols and any rate.

One loop makes one quote update after the other, so the result depends on the configuration alone and neither on the
clock nor on where a chunk is cut. What it imitates, and how:

- Arrivals cluster: a Hawkes process with exponential decay, simulated exactly (Dassios and Zhao 2013). Of all updates
  75 % are caused by an earlier one, so the variance of counts is up to 16 times that of a Poisson process; the mean
  rate is the configured one. A symbol that has just moved tends to move again.
- Volatility has three regimes (calm, normal, stressed: 0.5, 1 and 3 times `volatility`), one Markov chain for the whole
  market; two fifths of a symbol's variance are a common factor. Volatility is per unit of time, so a faster market has
  smaller steps, as real ones do.
- Jumps: a Poisson process for each symbol, normal with a standard deviation 8 times that of one second, and a wider
  spread afterwards.
- Spread in ticks: the exponential of a mean-reverting AR(1) whose mean depends on the regime, at least one tick.
- Order book: a latent pressure, AR(1) with 0.8 for each update of a symbol, moves the price and tilts the two sizes.
  `information` is the standard deviation of the move that pressure makes, over that of the rest, 0.3 by default.
  Measured with 10 symbols, 2,000 updates a second, a million updates, seeds 1, 2 and 7: the displayed imbalance
  (bid size - ask size) / (bid size + ask size) correlates 0.07 with the change of the symbol's mid at its next update
  (most updates leave the mid where it is), 0.12 with its sign where it changes, and 0.14 to 0.15 with the change over
  the next 10 updates: an R squared of 2 %. The mean move over 20 updates is 0.3 to 1.5 cents, the half spread 1.3 to
  1.8: what the book tells seldom pays for crossing it.
- Trades come with one update in four, on the side that the pressure favours, at the quote before the update.
- The receive time is the event time and a delay of 0.2 ms plus an exponential one of 0.3 ms; frames do not overtake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from connectors.market.columns import Instrument, Ticks
from connectors.market.faults import Faults, inject
from sigmaflow.errors import UserError

Array = NDArray[Any]

START_NS = 1_704_205_800_000_000_000
"""2024-01-02 14:30 UTC, where a simulation starts unless told otherwise."""

NAMES = ("ALPHA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOXTROT", "GOLF", "HOTEL", "INDIA", "JULIET")
FIRST_PRICES = (48, 62, 75, 90, 104, 121, 150, 183, 220, 270)
YEAR_S = 365.25 * 86_400

TICKS_PER_UNIT = 100.0
"""Prices are whole cents, computed by division so that they print as 48.01 and not 48.010000000000005."""

CLUSTERING = 0.75       # share of updates caused by an earlier one (the Hawkes branching ratio)
DECAY_PER_S = 10.0      # how fast the excitement of an update fades
SAME_SYMBOL = 0.3       # chance that an update is of the symbol of the update before
PRESSURE_MEMORY = 0.8   # for each update of a symbol
COMMON_SHARE = 0.8      # of a symbol's variance without pressure
TRADE_SHARE = 0.25      # updates that come with a trade
SPREAD_MEMORY = 0.98    # for each update of a symbol
JUMP = 8.0              # standard deviation of a jump, in those of one second
REGIME_SECONDS = 60.0   # mean stay in a regime
REGIME_VOLATILITY = np.array([0.5, 1.0, 3.0])
REGIME_LOG_SPREAD = np.log(np.array([1.3, 2.0, 5.0]))
REGIME_UP = np.array([1.0, 0.3, 0.0])  # chance that the next regime is the wilder one


@dataclass(frozen=True)
class Config:
    """One simulation; the same values give the same ticks.

    `rate` is updates a second of all symbols together, `count` the number of ticks before they stop (None: never),
    `volatility` a year's, as a fraction, in the normal regime, `information` as the module says, `jumps_per_hour` for
    each symbol, `first_seq` the seq of each symbol's first tick, `chunk` the most ticks in one chunk.
    """

    seed: int = 7
    symbols: int = 10
    rate: float = 2_000.0
    count: int | None = None
    start_ns: int = START_NS
    first_seq: int = 1
    volatility: float = 0.6
    information: float = 0.3
    jumps_per_hour: float = 12.0
    chunk: int = 8_192
    venue: str = "SIM"
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        for name, low, high in (("seed", 0, 2**63), ("symbols", 1, 100_000), ("rate", 1e-3, 1e7),
                                ("volatility", 0, 100), ("information", 0, 1), ("jumps_per_hour", 0, 1e6),
                                ("first_seq", 1, 2**62), ("chunk", 1, 10_000_000)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UserError("simulate", f"{name} must be from {low} to {high}", f"it is {value}",
                                f"give another {name}")


def symbol_names(count: int) -> list[str]:
    """Distinct names, the first ten from the alphabet.

    >>> symbol_names(12)[-3:]
    ['JULIET', 'ALPHA2', 'BRAVO2']
    """
    return [NAMES[i % 10] + (str(i // 10 + 1) if i >= 10 else "") for i in range(count)]


def generate(config: Config, tally: Counter[str] | None = None) -> Iterator[Ticks]:
    """Chunks of ticks in receive order. `tally` counts the injected faults by name."""
    instruments = tuple((config.venue, name) for name in symbol_names(config.symbols))
    rng = np.random.Generator(np.random.PCG64(config.seed))
    fault_rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([config.seed, 1])))
    state, cumulative = _first_state(config), np.cumsum(_activity(config.symbols))
    numbers = config.rate, config.volatility, config.information, config.jumps_per_hour / 3_600.0
    settings = tuple(map(float, numbers))  # one kernel, also where a rate is a whole number
    sent = 0
    while config.count is None or sent < config.count:
        whole, real = np.zeros((5, config.chunk), np.int64), np.zeros((6, config.chunk))
        _advance(rng, settings, cumulative, state.clock, state.market, state.symbol, state.seq, whole, real)
        ticks = inject(_ticks(instruments, config.start_ns, whole, real), config.faults, fault_rng, tally)
        if config.count is not None:
            ticks = ticks.take(slice(0, config.count - sent))
        sent += len(ticks)
        yield ticks


def _ticks(instruments: tuple[Instrument, ...], start_ns: int, whole: Array, real: Array) -> Ticks:
    instrument, seq, event, received, side = whole
    bid, ask, bid_size, ask_size, last_price, last_size = real
    return Ticks(instruments, instrument, seq, start_ns + event, start_ns + received, bid, ask, bid_size, ask_size,
                 last_price, last_size, side, np.zeros_like(side))


@dataclass(frozen=True)
class _State:
    """What the loop keeps between chunks, as arrays that it writes to."""

    clock: NDArray[np.int64]
    market: NDArray[np.float64]
    symbol: NDArray[np.float64]
    seq: NDArray[np.int64]


# Places in the arrays of _State.
ELAPSED_NS, RECEIVED_NS, REGIME, LAST = range(4)
FRACTION_NS, INTENSITY, FACTOR, REGIME_LEFT_S = range(4)
PRICE, SEEN_FACTOR, SEEN_S, PRESSURE, LOG_SPREAD, BID, ASK, TRADE_PRICE, TRADE_SIZE, TRADE_SIDE, SIZE = range(11)


def _first_state(config: Config) -> _State:
    n = config.symbols
    symbol = np.zeros((n, 11))
    symbol[:, PRICE] = [FIRST_PRICES[i % 10] for i in range(n)]
    symbol[:, LOG_SPREAD] = REGIME_LOG_SPREAD[1]
    symbol[:, BID] = symbol[:, PRICE] - 1 / TICKS_PER_UNIT
    symbol[:, ASK] = symbol[:, PRICE] + 1 / TICKS_PER_UNIT
    symbol[:, TRADE_PRICE] = symbol[:, TRADE_SIZE] = np.nan
    symbol[:, SIZE] = 40_000.0 / symbol[:, PRICE]
    clock = np.array([0, 0, 1, 0], np.int64)
    market = np.array([0.0, config.rate, 0.0, REGIME_SECONDS])
    return _State(clock, market, symbol, np.full(n, config.first_seq, np.int64))


def _activity(symbols: int) -> NDArray[np.float64]:
    weights = 1.0 / np.sqrt(np.arange(1, symbols + 1))
    return weights / weights.sum()


@numba.njit(cache=True)
def _advance(rng: Any, settings: Any, cumulative: Array, clock: Array, market: Array, symbol: Array, seq: Array,
             whole: Array, real: Array) -> None:
    """Fill the columns with the next updates and leave the state where they end."""
    rate, volatility, information, jumps_per_s = settings
    variance_s = volatility * volatility / YEAR_S
    for row in range(whole.shape[1]):
        wait = _wait_s(rng, rate * (1.0 - CLUSTERING), market)
        _market(rng, wait, variance_s, clock, market)
        i = _choose(rng, cumulative, clock)
        s = symbol[i]
        _trade(rng, s)
        jump = _move(rng, s, clock, market, variance_s, information, jumps_per_s)
        _quote(rng, s, clock[REGIME], jump)
        delay = np.int64(200_000 + 300_000 * rng.standard_exponential())
        clock[RECEIVED_NS] = max(clock[RECEIVED_NS] + 1, clock[ELAPSED_NS] + delay)
        whole[0, row], whole[1, row], whole[4, row] = i, seq[i], np.int64(s[TRADE_SIDE])
        whole[2, row], whole[3, row] = clock[ELAPSED_NS], clock[RECEIVED_NS]
        real[0, row], real[1, row] = s[BID], s[ASK]
        real[2, row] = _size(s[SIZE], 0.5 * s[PRESSURE] + 0.45 * rng.standard_normal())
        real[3, row] = _size(s[SIZE], -0.5 * s[PRESSURE] + 0.45 * rng.standard_normal())
        real[4, row], real[5, row] = s[TRADE_PRICE], s[TRADE_SIZE]
        seq[i] += 1


@numba.njit(cache=True)
def _move(rng: Any, s: Array, clock: Array, market: Array, variance_s: float, information: float,
          jumps_per_s: float) -> bool:
    """Move a symbol's price by what has passed since its last update, then its pressure; tell whether it jumped."""
    since = clock[ELAPSED_NS] * 1e-9 - s[SEEN_S]
    s[SEEN_S] = clock[ELAPSED_NS] * 1e-9
    sigma = np.sqrt(variance_s * since) * REGIME_VOLATILITY[clock[REGIME]]
    step = np.sqrt(COMMON_SHARE) * (market[FACTOR] - s[SEEN_FACTOR])
    step += np.sqrt(1.0 - COMMON_SHARE) * sigma * rng.standard_normal() + information * sigma * s[PRESSURE]
    # moves that pressure makes add up over its memory; without this the price would be wilder than configured
    step /= np.sqrt(1.0 + information * information * (1.0 + PRESSURE_MEMORY) / (1.0 - PRESSURE_MEMORY))
    s[SEEN_FACTOR] = market[FACTOR]
    jump = rng.random() < jumps_per_s * since
    if jump:
        step += JUMP * np.sqrt(variance_s) * REGIME_VOLATILITY[clock[REGIME]] * rng.standard_normal()
    s[PRICE] = max(s[PRICE] * np.exp(step), 100.0 / TICKS_PER_UNIT)
    own = np.sqrt(1.0 - PRESSURE_MEMORY * PRESSURE_MEMORY)
    s[PRESSURE] = PRESSURE_MEMORY * s[PRESSURE] + own * rng.standard_normal()
    return jump


@numba.njit(cache=True)
def _wait_s(rng: Any, base: float, market: Array) -> float:
    """Seconds to the next update of a Hawkes process (Dassios and Zhao 2013, algorithm 3.1); moves its intensity."""
    excited = market[INTENSITY] - base
    wait = rng.standard_exponential() / base
    if excited > 0.0:
        left = 1.0 - DECAY_PER_S * rng.standard_exponential() / excited
        if left > 0.0:
            wait = min(wait, -np.log(left) / DECAY_PER_S)
    market[INTENSITY] = base + excited * np.exp(-DECAY_PER_S * wait) + CLUSTERING * DECAY_PER_S
    return wait


@numba.njit(cache=True)
def _market(rng: Any, wait: float, variance_s: float, clock: Array, market: Array) -> None:
    """Move the clock, the regime and the common factor."""
    exact = wait * 1e9 + market[FRACTION_NS]
    whole = max(np.int64(exact), np.int64(1))
    market[FRACTION_NS] = max(exact - whole, 0.0)
    clock[ELAPSED_NS] += whole
    regime = clock[REGIME]
    market[REGIME_LEFT_S] -= wait
    if market[REGIME_LEFT_S] <= 0.0:
        clock[REGIME] = regime + 1 if rng.random() < REGIME_UP[regime] else regime - 1
        market[REGIME_LEFT_S] = REGIME_SECONDS * rng.standard_exponential()
    market[FACTOR] += np.sqrt(variance_s * wait) * REGIME_VOLATILITY[clock[REGIME]] * rng.standard_normal()


@numba.njit(cache=True)
def _choose(rng: Any, cumulative: Array, clock: Array) -> int:
    """Which symbol the update is of."""
    if rng.random() >= SAME_SYMBOL:
        clock[LAST] = min(np.searchsorted(cumulative, rng.random(), side="right"), cumulative.shape[0] - 1)
    return clock[LAST]


@numba.njit(cache=True)
def _trade(rng: Any, s: Array) -> None:
    """With one update in four a trade at the standing quote, more often on the side that pressure favours."""
    if rng.random() < TRADE_SHARE:
        buy = rng.random() < 1.0 / (1.0 + np.exp(-1.5 * s[PRESSURE]))
        s[TRADE_PRICE] = s[ASK] if buy else s[BID]
        s[TRADE_SIDE] = 1.0 if buy else 2.0
        s[TRADE_SIZE] = _size(0.1 * s[SIZE], rng.standard_normal())


@numba.njit(cache=True)
def _quote(rng: Any, s: Array, regime: int, jump: bool) -> None:
    """Bid and ask on the grid around the price, as far apart as the spread says."""
    mean = REGIME_LOG_SPREAD[regime]
    s[LOG_SPREAD] = mean + SPREAD_MEMORY * (s[LOG_SPREAD] - mean) + 0.06 * rng.standard_normal()
    if jump:
        s[LOG_SPREAD] += 1.0
    spread = max(1.0, np.rint(np.exp(min(s[LOG_SPREAD], 5.0))))
    bid = max(1.0, np.floor(s[PRICE] * TICKS_PER_UNIT - 0.5 * spread + 0.5))
    s[BID], s[ASK] = bid / TICKS_PER_UNIT, (bid + spread) / TICKS_PER_UNIT


@numba.njit(cache=True)
def _size(typical: float, log_tilt: float) -> float:
    """A displayed size, to three decimals, never zero."""
    return max(1.0, np.rint(1000.0 * typical * np.exp(log_tilt))) / 1000.0
