"""How orders meet quotes, under the settings of the run: due times, prices, sizes and fees, once more from the rules.

Where an order rests in the book, when and how much it is filled is the queue model's and is not recomputed here; its
price and fee are.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from sigmaflow.audit.book import MOST, UNIT, times, units
from sigmaflow.audit.config import Config
from sigmaflow.audit.decode import Message, Row

OPEN, FILLED = "open", "filled"


@dataclass
class Order:
    """An order that a decision sent. `rest` is what is left of its signed quantity, `parts` its fills so far, `left`
    how often the account had left ACTIVE when it was sent.
    """

    decision: Message
    rest: int
    mark: int
    left: int
    config: Config
    state: str = OPEN
    parts: int = 0

    @property
    def limit(self) -> int | None:
        """Its price, None for a market order."""
        found: int | None = self.decision.row["order_limit"]
        return found

    @property
    def due(self) -> int:
        """Least event time of a fill."""
        return int(self.decision.row["ts_order"] + self.config.fills["latency_ns"])

    @property
    def expires(self) -> int | None:
        """Event time from which it is over; None for never."""
        life = self.config.fills["order_life_ns"]
        return self.due + life if life > 0 else None


def limit_price(config: Config, quantity: int, quote: Row) -> int | None:
    """Price of a new order; None for a market order."""
    if not config.limited:
        return None
    offset = config.fills["limit_offset_bps"] / 10_000
    buys = quantity > 0
    return max(1, units((quote["bid"] if buys else quote["ask"]) * (1.0 + (-offset if buys else offset))))


def displayed(order: Order, quote: Row, taken: int, config: Config) -> int:
    """Size that the far side has for an order, of which this tick has taken some already."""
    if config.fills["size"] != "displayed":
        return abs(order.rest)
    size = quote["ask_size"] if order.rest > 0 else quote["bid_size"]
    return min(abs(order.rest), max(0, min(units(size), MOST) - taken))


def price(config: Config, order: Order, quantity: int, mark: int, quote: Row) -> int:
    """Price of a fill that takes: mid, or the far side and the impact of the quantity, not worse than the limit."""
    buys = quantity > 0
    if config.fills["price"] == "mid":
        found = mark
    else:
        far = quote["ask"] if buys else quote["bid"]
        moved = config.fills["impact_bps"] / 10_000
        if moved:
            moved *= math.sqrt(abs(quantity) / UNIT / (quote["ask_size"] if buys else quote["bid_size"]))
        found = units(far * (1.0 + moved if buys else max(0.0, 1.0 - moved)))
    if order.limit is None:
        return found
    return min(found, order.limit) if buys else max(found, order.limit)


def fee(config: Config, liquidity: str, quantity: int, paid: int) -> int:
    """Fee of a fill."""
    return times(abs(times(quantity, paid)), config.units["maker_fee_bps" if liquidity == "MAKER" else "fee_bps"])
