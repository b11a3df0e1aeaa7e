"""Features of one symbol from its ticks: what the alphas read, and the regime that every later stage reads.

Definitions: bench/SEMANTICS.md of the reference strategy for mid to zscore; order flow after Cont, Kukanov and Stoikov
(2014), "The price impact of order book events"; micro-price as the size-weighted mid (Stoikov 2018, equation 1); regime
in `udfs/regimes.py`.

Windows are summed afresh at every tick: the sums then depend on nothing but the window. All other averages are
exponential: each step shrinks what came before, roundings too, so that an error is bounded however long the job runs.

The leader of a symbol is the symbol of the same shard with the most ticks so far, the second for the leader itself:
liquid instruments lead (Huth and Abergel 2014, "High frequency lead/lag relationships"). A shard is a partition of the
ticks topic: symbols that Kafka put elsewhere are not seen, and a symbol alone in its shard has no leader.
"""
from __future__ import annotations

import math

import numba
import numpy as np

from udfs.formulas import imbalance, micro_price, spread
from udfs.formulas import mid as middle
from udfs.profiles import NS, Profile
from udfs.regimes import START, next_regime
from udfs.stage import Columns, Stage, StageState

RETURNS, MIDS, FLOWS = 100, 50, 20
FAST, SLOW = 3, 6
BLOCK, BLOCKS = 16, 16
"""The channel is kept as the extremes of blocks of ticks: its window is the last 240 to 256 ticks before this one."""

SYMBOL = np.dtype([
    ("history", np.int64), ("ticks", np.int64), ("ts", np.int64), ("interval", np.float64), ("mid", np.float64),
    ("bid", np.float64), ("ask", np.float64), ("bid_size", np.float64), ("ask_size", np.float64),
    ("slow_variance", np.float64), ("fast_variance", np.float64), ("regime", np.int64),
    ("spread_mean", np.float64), ("spread_variance", np.float64), ("recent", np.float64),
    ("trade_price", np.float64), ("trade_size", np.float64), ("trade_side", np.int64),
    ("trade_net", np.float64), ("trade_volume", np.float64),
    ("returns", np.float64, RETURNS), ("mids", np.float64, MIDS), ("flows", np.float64, FLOWS),
    ("sizes", np.float64, FLOWS), ("high", np.float64, BLOCKS), ("low", np.float64, BLOCKS),
])

SHARED = np.dtype([("leader", np.int64), ("second", np.int64)])
"""Places within their part of the two symbols with the most ticks, counted from 1; 0 is none."""

FAST_DECAY, SLOW_DECAY = 1 / 32, 1 / 1024
"""Weights of the newest squared return in the fast and the slow variance; their ratio names the volatility state."""

SPREAD_DECAY = 1 / 256
"""Weight of the newest tick in the mean and variance of the spread."""

NET_DECAY, VOLUME_DECAY = 1 / 32, 1 / 256
"""Weights of the newest tick in net and total traded size. Their quotient bounds the trade flow by 8."""

RECENT_NS = float(NS)
"""Event time in which the recent return of a symbol fades to 1/e, ns."""

BUY, SELL = 1, 2
"""Values of `last_side`; 0 is unknown."""

OUT = ("mid", "spread", "log_return", "imbalance", "micro_price", "volatility", "mean_fast", "mean_slow", "zscore",
       "order_flow", "interval_ns", "trend", "volatility_fast", "volatility_slow", "spread_mean", "spread_deviation",
       "channel_high", "channel_low", "trade_flow", "recent_return", "leader_return", "second")


@numba.njit(cache=True, inline="always")
def _flow(s, bid, ask, bid_size, ask_size):
    """Signed size that one quote change added to the bid side, less what it added to the ask side."""
    flow = 0.0
    if bid >= s.bid:
        flow += bid_size
    if bid <= s.bid:
        flow -= s.bid_size
    if ask <= s.ask:
        flow -= ask_size
    if ask >= s.ask:
        flow += s.ask_size
    return flow


@numba.njit(cache=True, inline="always")
def _change(s, mid, bid, ask, bid_size, ask_size, ts):
    """Take in one quote change: return, order flow, time. The log return."""
    change = math.log(mid / s.mid)
    s.returns[s.history % RETURNS] = change
    s.history += 1
    at = (s.ticks - 1) % FLOWS
    s.flows[at] = _flow(s, bid, ask, bid_size, ask_size)
    s.sizes[at] = (bid_size + ask_size + s.bid_size + s.ask_size) / 2
    passed = max(0, ts - s.ts)
    s.interval = passed if s.ticks == 1 else s.interval + (passed - s.interval) / 64
    s.recent = s.recent * math.exp(-passed / RECENT_NS) + change
    s.fast_variance += FAST_DECAY * (change * change - s.fast_variance)
    s.slow_variance += max(SLOW_DECAY, 1 / s.history) * (change * change - s.slow_variance)
    return change


@numba.njit(cache=True, inline="always")
def _trade(s, price, size, side):
    """Take in the last trade known at a tick; net traded size per tick over the usual size per tick.

    A tick repeats the trade before it until there is a new one, so that a trade equal to the one before, in price, size
    and side, is not seen. The venue's own side alone gives the sign: guessed by the quote it is wrong in almost half of
    the trades on Binance. What stood there at the first tick is of unknown age and does not count.
    """
    known = side != 0 and size > 0
    new = known and (price != s.trade_price or size != s.trade_size or side != s.trade_side)
    traded = size if new and s.ticks > 0 else 0.0
    if new:
        s.trade_price, s.trade_size, s.trade_side = price, size, side
    s.trade_net += NET_DECAY * ((traded if side == BUY else -traded) - s.trade_net)
    s.trade_volume += max(VOLUME_DECAY, 1 / (s.ticks + 1)) * (traded - s.trade_volume)
    return s.trade_net / s.trade_volume if s.trade_volume > 0 else 0.0


@numba.njit(cache=True, inline="always")
def _spread_moments(s, width):
    """Take in a spread: exponentially weighted mean and deviation (Finch 2009, "Incremental calculation …")."""
    weight = max(SPREAD_DECAY, 1 / (s.ticks + 1))
    beyond = width - s.spread_mean
    s.spread_mean += weight * beyond
    s.spread_variance = (1 - weight) * (s.spread_variance + weight * beyond * beyond)
    return s.spread_mean, math.sqrt(s.spread_variance)


@numba.njit(cache=True, inline="always")
def _channel(s, mid):
    """Highest and lowest mid of the ticks before this one (Donchian's channel); then this one is one of them."""
    high = low = mid
    for k in range(min(BLOCKS, (s.ticks + BLOCK - 1) // BLOCK)):
        high, low = (s.high[k], s.low[k]) if k == 0 else (max(high, s.high[k]), min(low, s.low[k]))
    at = s.ticks // BLOCK % BLOCKS
    fresh = s.ticks % BLOCK == 0
    s.high[at] = mid if fresh else max(s.high[at], mid)
    s.low[at] = mid if fresh else min(s.low[at], mid)
    return high, low


@numba.njit(cache=True, inline="always")
def _lead(symbols, shared, slot, now):
    """Recent return of the leader, faded to now; 0 without one. Then the tick counts, and may make a new leader.

    `symbols` and `slot` are those of the part alone.
    """
    leader = shared.second if shared.leader == slot + 1 else shared.leader
    found = 0.0
    if leader > 0:
        other = symbols[leader - 1]
        found = other.recent * math.exp(min(0, other.ts - now) / RECENT_NS)
    if shared.leader == 0 or symbols[slot].ticks > symbols[shared.leader - 1].ticks:
        shared.leader, shared.second = slot + 1, shared.leader
    elif shared.leader != slot + 1 and (shared.second == 0 or symbols[slot].ticks > symbols[shared.second - 1].ticks):
        shared.second = slot + 1
    return found


@numba.njit(cache=True, inline="always")
def _return_moments(s):
    """Population standard deviation of the last returns, and their sum over the root of their squares' sum."""
    held = min(s.history, RETURNS)
    if held == 0:
        return 0.0, 0.0
    total = 0.0
    for k in range(held):
        total += s.returns[k]
    mean = total / held
    squares = 0.0
    for k in range(held):
        squares += (s.returns[k] - mean) ** 2
    around_zero = squares + total * mean
    return math.sqrt(squares / held), total / math.sqrt(around_zero) if around_zero > 0 else 0.0


@numba.njit(cache=True, inline="always")
def _mid_moments(s, mid):
    """Fast and slow mean of the last mids, and how many deviations the mid is from the mean of all held."""
    held = min(s.ticks, MIDS)
    fast = slow = total = 0.0
    for k in range(held):
        total += s.mids[(s.ticks - 1 - k) % MIDS]
        if k == FAST - 1:
            fast = total
        if k == SLOW - 1:
            slow = total
    mean = total / held
    total, moved = 0.0, False
    for k in range(held):
        total += (s.mids[k] - mean) ** 2
        moved = moved or s.mids[k] != mid
    deviation = math.sqrt(total / held) if moved else 0.0  # the mean of equal mids may be off by a rounding
    zscore = (mid - mean) / deviation if deviation > 0 else 0.0
    return fast / FAST if held >= FAST else mean, slow / SLOW if held >= SLOW else mean, zscore


@numba.njit(cache=True, inline="always")
def _window_flow(s):
    """Order flow of the last quote changes over their size."""
    flow = size = 0.0
    for k in range(min(s.ticks - 1, FLOWS)):
        flow += s.flows[k]
        size += s.sizes[k]
    return max(-1.0, min(1.0, flow / size)) if size > 0 else 0.0


@numba.njit(cache=True)
def _kernel(symbols, shared, slot, ts, bids, asks, bid_sizes, ask_sizes, prices, sizes, sides, out, history, regime):
    room = symbols.shape[0] // shared.shape[0]
    for row in range(slot.shape[0]):
        s, part = symbols[slot[row]], slot[row] // room
        bid, ask, bid_size, ask_size = bids[row], asks[row], bid_sizes[row], ask_sizes[row]
        mid, width = middle(bid, ask), spread(bid, ask)
        change = _change(s, mid, bid, ask, bid_size, ask_size, ts[row]) if s.ticks > 0 else 0.0
        out[14, row], out[15, row] = _spread_moments(s, width)
        out[16, row], out[17, row] = _channel(s, mid)
        out[18, row] = _trade(s, prices[row], sizes[row], sides[row])
        s.mids[s.ticks % MIDS] = mid
        s.ticks += 1
        s.mid, s.bid, s.ask, s.bid_size, s.ask_size, s.ts = mid, bid, ask, bid_size, ask_size, ts[row]
        out[19, row], out[20, row] = s.recent, _lead(
            symbols[part * room:(part + 1) * room], shared[part], slot[row] - part * room, ts[row])

        volatility, trend = _return_moments(s)
        ready = s.history >= RETURNS and s.slow_variance > 0
        s.regime = next_regime(s.regime, s.fast_variance / s.slow_variance, trend) if ready else START
        out[0, row], out[1, row], out[2, row] = mid, width, change
        out[3, row] = imbalance(bid_size, ask_size)
        out[4, row] = micro_price(bid, ask, bid_size, ask_size)
        out[5, row] = volatility
        out[6, row], out[7, row], out[8, row] = _mid_moments(s, mid)
        out[9, row], out[10, row] = _window_flow(s), s.interval
        out[11, row], out[12, row], out[13, row] = trend, math.sqrt(s.fast_variance), math.sqrt(s.slow_variance)
        out[21, row] = ts[row] % (60 * NS) / NS
        history[row], regime[row] = s.history, s.regime


def step(state: StageState, columns: Columns) -> Columns:
    """Add the columns of `features.v1` to those of accepted ticks."""
    rows = len(columns["slot"])
    out = np.empty((len(OUT), rows))
    history, regime = np.empty(rows, np.int64), np.empty(rows, np.int64)
    _kernel(state.symbols, state.shared, columns["slot"], columns["ts_order"], columns["bid"], columns["ask"],
            columns["bid_size"], columns["ask_size"], columns["last_price"], columns["last_size"],
            columns["last_side"], out, history, regime)
    return columns | dict(zip(OUT, out, strict=True)) | {"history": history, "regime": regime}


def stage(profile: Profile) -> Stage:
    """The features stage; the same for every profile."""
    return Stage("features", step, SYMBOL, SHARED)
