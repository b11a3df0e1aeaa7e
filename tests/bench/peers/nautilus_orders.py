"""The strategy on NautilusTrader: ticks in memory, market orders through its risk and matching engines.

It has no Kafka: reading, decoding and writing cost it nothing here. Its exchange fills at the touch; the strategy books
the filled quantity at mid, as bench/SEMANTICS.md says.

    python nautilus_orders.py --ticks FILE.parquet --count N
"""
from __future__ import annotations

from decimal import Decimal

import numba
import numpy as np
import pyarrow.parquet as pq
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from strategy import STATE, Clock, arguments, book, mark, wanted

VENUE = Venue("REF")
GRID = 128.0
"""Prices are multiples of 1/128; from the engine's decimal they come a rounding error off."""


@numba.njit(cache=True)
def decide(states, slot, bid, ask, bid_size, ask_size):
    """Take in a tick; whether to trade, and the signed quantity."""
    st = states[slot]
    bid, ask = np.rint(bid * GRID) / GRID, np.rint(ask * GRID) / GRID
    trade, target = wanted(st, bid, ask, bid_size, ask_size)
    mark(st)  # a fill at mid moves no profit
    return trade, target - st.position


@numba.njit(cache=True)
def filled(states, slot, quantity):
    """Book a fill of the engine."""
    book(states[slot], quantity)


class Reference(Strategy):
    """Ten symbols, one state each."""

    def __init__(self, instruments):
        super().__init__()
        self.slots = {instrument.id: n for n, instrument in enumerate(instruments)}
        self.states = np.zeros(len(instruments), STATE)

    def on_start(self):
        for instrument_id in self.slots:
            self.subscribe_quote_ticks(instrument_id)

    def on_quote_tick(self, tick):
        slot = self.slots[tick.instrument_id]
        trade, quantity = decide(self.states, slot, tick.bid_price.as_double(), tick.ask_price.as_double(),
                                 tick.bid_size.as_double(), tick.ask_size.as_double())
        if trade and quantity:
            side = OrderSide.BUY if quantity > 0 else OrderSide.SELL
            self.submit_order(self.order_factory.market(tick.instrument_id, side, Quantity.from_int(abs(quantity))))
        elif trade:
            filled(self.states, slot, 0)

    def on_order_filled(self, event):
        quantity = int(event.last_qty.as_double())
        filled(self.states, self.slots[event.instrument_id], quantity if event.order_side == OrderSide.BUY
               else -quantity)


def equity(name: str) -> Equity:
    return Equity(InstrumentId(Symbol(name), VENUE), Symbol(name), USD, 7, Price.from_str("0.0078125"),
                  Quantity.from_int(1), 0, 0, margin_init=Decimal(0), margin_maint=Decimal(0),
                  maker_fee=Decimal(0), taker_fee=Decimal(0))


def main() -> None:
    a = arguments("nautilus")
    table = pq.read_table(a.ticks).slice(0, a.count)
    names, slots = np.unique(table["symbol"].to_numpy(zero_copy_only=False), return_inverse=True)
    columns = [table[name].to_numpy().astype(np.float64) for name in ("bid", "ask", "bid_size", "ask_size")]
    ts = table["ts"].to_numpy().astype(np.uint64)
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False,
                                                 risk_engine=RiskEngineConfig(bypass=True)))
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000_000_000, USD)], USD)
    instruments = [equity(str(name)) for name in names]
    quotes: list[QuoteTick] = []
    for slot, instrument in enumerate(instruments):
        engine.add_instrument(instrument)
        own = [np.ascontiguousarray(column[slots == slot]) for column in columns]
        times = np.ascontiguousarray(ts[slots == slot])
        quotes += QuoteTick.from_raw_arrays_to_list(instrument.id, 7, 0, *own, times, times)
    engine.add_data(sorted(quotes, key=lambda quote: quote.ts_init))
    strategy = Reference(instruments)
    scratch = np.zeros(1, STATE)
    decide(scratch, 0, 1.0, 1.0, 1.0, 1.0)
    filled(scratch, 0, 0)
    engine.add_strategy(strategy)
    clock = Clock()
    clock.start()
    engine.run()
    clock.stop()
    clock.report(strategy.states, ["nautilus_trader", "numba"],
                 "ticks in memory: no Kafka in or out, no checkpoint; orders through its engines")


if __name__ == "__main__":
    main()
