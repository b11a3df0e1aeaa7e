"""How an order under way meets a quote: price, size and place in the queue. Whole units (udfs/money.py).

A market order takes the far side, at most its displayed size a tick where the profile says so; the rest stays open.
Its price moves by impact_bps * sqrt(quantity / displayed size): the square-root law in the size that is seen (Almgren,
Thum, Hauptmann and Li 2005 have an exponent of 3/5 and Toth et al. 2011 of 1/2, in daily volume).

A limit order that finds the far side at its price or better takes it like a market order. Otherwise it rests, and pays
or earns the maker's fee at its own price when
- the far side comes to its price: all that is displayed there;
- a trade prints beyond its price: all of that trade;
- a trade prints at its price: what is left of the trade behind the queue ahead.

The queue ahead is the displayed size when the order joins its level; trades take it from the front. What else leaves
the level is cancelled ahead of the order or behind it: a part behind^n / (ahead^n + behind^n) behind (the probability
queue model, E. Rigtorp, https://rigtorp.se/2013/06/08/estimating-order-queue-position.html, with the power function of
hftbacktest, https://hftbacktest.readthedocs.io/en/latest/order_fill.html), in expectation, so nothing is drawn. Where a
venue sends no trades, `depth_traded` of every fall of the level's size counts as traded. A level better than the touch
has nobody ahead; one behind the touch waits. A tick's last trade is new where price, size or side differ from before.
"""
from __future__ import annotations

import math

import numba
import numpy as np

from udfs.money import MOST, OVER, UNIT, plain, times, units

ORDER = [("open", np.int64), ("rest", np.int64), ("limit", np.int64), ("due", np.int64), ("expires", np.int64),
         ("sent", np.int64), ("sent_mid", np.int64), ("order", np.int64), ("intent", np.int64), ("alpha", np.int64),
         ("parts", np.int64), ("watch", np.int64), ("ahead", np.int64), ("seen", np.int64), ("rested", np.int64)]
"""A symbol's open order. `rest`: signed quantity not filled; `limit`: its price, 0 for a market order; `parts`: fills
so far; `watch`: how often the account had left ACTIVE when it was sent; `rested`: 1 once it was in the book; `ahead`:
the queue before it, `seen`: size of its level when it was last the touch, both -1 before that."""

TRADE = [("trade_price", np.float64), ("trade_size", np.float64), ("trade_side", np.int64), ("trades", np.int64)]
"""A symbol's last trade as its ticks told it, and 1 in `trades` once one did."""

BUY, SELL = 1, 2
"""Sides of a trade as tick.avsc numbers them."""

QUOTE = np.dtype([("bid", np.float64), ("ask", np.float64), ("bid_size", np.float64), ("ask_size", np.float64),
                  ("mark", np.int64), ("traded_price", np.int64), ("traded_size", np.int64), ("traded_side", np.int64),
                  ("taken_bid", np.int64), ("taken_ask", np.int64)])
"""One tick: the quote, its mark, the trade that is new in it (size 0: none), and what was taken of each side so far."""

RULES = [("cross", np.int64), ("displayed", np.int64), ("limit_order", np.int64), ("offset", np.float64),
         ("life", np.int64), ("latency", np.int64), ("power", np.float64), ("depth_traded", np.int64),
         ("impact", np.float64)]
"""The profile's numbers that are read here; rates are units."""


@numba.njit(cache=True)
def new_trade(s, price, size, side, quote):
    """Note in the quote the trade that a tick tells, where it is new."""
    quote.traded_size = 0
    if not (price > 0 and size > 0):
        return
    if price != s.trade_price or size != s.trade_size or side != s.trade_side:
        quote.traded_price, quote.traded_size, quote.traded_side = units(price), min(units(size), MOST), side
    s.trade_price, s.trade_size, s.trade_side, s.trades = price, size, side, 1


@numba.njit(cache=True)
def limit_price(buys, bid, ask, rule):
    """Price of a new limit order, units, at least 1; 0 for a market order."""
    if not rule.limit_order:
        return np.int64(0)
    near = bid if buys else ask
    return max(np.int64(1), units(near * (1.0 + (-rule.offset if buys else rule.offset))))


@numba.njit(cache=True)
def match(s, quote, rule):
    """(signed quantity, price, rested) that this tick fills of the symbol's open order; quantity 0 for none."""
    buys = s.rest > 0
    far = units(quote.ask if buys else quote.bid)
    if s.limit == 0:
        quantity = _displayed(s, quote, rule)
        return quantity, _taken_price(quantity, quote, rule), False
    beyond = far <= s.limit if buys else far >= s.limit
    if beyond and not s.rested:
        quantity = _displayed(s, quote, rule)
        price = _taken_price(quantity, quote, rule)
        s.rested, s.ahead, s.seen = 1, 0, 0
        return quantity, min(price, s.limit) if buys else max(price, s.limit), False
    s.rested = 1
    if beyond:
        s.ahead = 0
        return _displayed(s, quote, rule), s.limit, True
    size = min(_resting(s, quote, rule, buys), abs(s.rest))
    return (size if buys else -size), s.limit, True


@numba.njit(cache=True)
def _displayed(s, quote, rule):
    """Signed quantity that the far side has for an order: what is left of its displayed size, where that bounds."""
    if not rule.displayed:
        return s.rest
    if s.rest > 0:
        return min(s.rest, max(np.int64(0), min(units(quote.ask_size), MOST) - quote.taken_ask))
    return -min(-s.rest, max(np.int64(0), min(units(quote.bid_size), MOST) - quote.taken_bid))


@numba.njit(cache=True)
def _taken_price(quantity, quote, rule):
    """Price of a fill that takes: mid, or the far side and the impact of the quantity."""
    if not rule.cross:
        return quote.mark
    buys = quantity > 0
    far = quote.ask if buys else quote.bid
    if rule.impact == 0.0:
        return units(far)
    share = plain(abs(quantity)) / (quote.ask_size if buys else quote.bid_size)
    moved = rule.impact * math.sqrt(share)
    return units(far * (1.0 + moved if buys else max(0.0, 1.0 - moved)))


@numba.njit(cache=True)
def _resting(s, quote, rule, buys):
    """Size that this tick brings to an order in the book, before it is cut to what the order wants."""
    touch = units(quote.bid if buys else quote.ask)
    worse = touch < s.limit if buys else touch > s.limit
    traded = quote.traded_size if quote.traded_side == (SELL if buys else BUY) else np.int64(0)
    through = quote.traded_price < s.limit if buys else quote.traded_price > s.limit
    if traded and through:
        s.ahead = 0
        return traded
    traded = traded if quote.traded_price == s.limit else np.int64(0)
    if worse:                                                 # ours is the best price: nobody is ahead
        s.ahead, s.seen = 0, 0
        return traded
    size = min(units(quote.bid_size if buys else quote.ask_size), MOST)
    if touch != s.limit:
        size = np.int64(-1)
    return _queue(s, size, traded, rule)


@numba.njit(cache=True)
def _queue(s, size, traded, rule):
    """Move an order's place for a trade at its level and the level's new size, -1 where it is not the touch.

    What the trade has left behind the queue ahead.
    """
    if s.ahead < 0:                                           # joins the level at its end
        if size >= 0:
            s.ahead = s.seen = size
        return np.int64(0)
    fallen = s.seen - size - traded if size >= 0 and s.seen >= 0 else np.int64(0)
    if fallen > 0 and not s.trades:
        traded = times(fallen, rule.depth_traded)
        fallen -= traded
    passed = min(s.ahead, traded)
    s.ahead -= passed
    if fallen > 0 and s.ahead > 0:
        s.ahead -= min(s.ahead, times(fallen, UNIT - _behind(s.ahead, max(s.seen - s.ahead, np.int64(0)), rule.power)))
    if size >= 0:
        s.ahead, s.seen = min(s.ahead, size), size
    return traded - passed


@numba.njit(cache=True)
def _behind(ahead, behind, power):
    """Part, units, of what is cancelled at a level that lies behind an order."""
    if behind == 0:
        return np.int64(0)
    ratio = math.pow(plain(ahead) / plain(behind), power) if power != 1.0 else plain(ahead) / plain(behind)
    return min(units(1.0 / (1.0 + ratio)), np.int64(OVER))
