"""A small trading record as the fills job would write it, made by a seeded ledger: for tests of what reads it.

Amounts are plain numbers with nine decimals, as readers see them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas import units

START_NS = 1_723_161_600_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PRICES = (61_000.0, 2_650.0, 152.0)
ALPHAS = ("book_pressure", "momentum", "mean_reversion", "order_flow")
GATES = ("", "", "", "min_notional", "drawdown", "gross_limit")
Row = dict[str, Any]


@dataclass
class Ledger:
    """Cash and positions of one account, as the fills job keeps them."""

    start: float = 100_000.0
    cash: float = 100_000.0
    peak: float = 100_000.0
    orders: int = 0
    fills: int = 0
    positions: dict[str, float] = field(default_factory=dict)
    flows: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)

    def equity(self) -> float:
        """Cash plus positions at their marks."""
        return self.cash + sum(p * self.marks[s] for s, p in self.positions.items())

    def trade(self, symbol: str, quantity: float, price: float, fee: float) -> float:
        """Book a signed quantity and return what it realised against average cost."""
        held, cost = self.positions.get(symbol, 0.0), self.costs.get(symbol, 0.0)
        closed = min(abs(held), abs(quantity)) * (1 if held > 0 else -1) if held * quantity < 0 else 0.0
        after = held + quantity
        if held * quantity >= 0:
            self.costs[symbol] = (held * cost + quantity * price) / after if after else 0.0
        elif held * after < 0:
            self.costs[symbol] = price
        self.positions[symbol] = after
        self.cash -= quantity * price + fee
        self.flows[symbol] = self.flows.get(symbol, 0.0) - quantity * price - fee
        self.fills += 1
        return float(closed * (price - cost))


def make_record(
    rows: int = 2_000, seed: int = 7, start_ns: int = START_NS, account: str = "paper"
) -> tuple[list[Row], list[Row], list[Row]]:
    """Return equity, fill and decision messages: one mark a tick, a decision on about every tenth tick."""
    rng = np.random.default_rng(seed)
    ledger = Ledger(marks=dict(zip(SYMBOLS, PRICES, strict=True)))
    equity: list[Row] = []
    fills: list[Row] = []
    decisions: list[Row] = []
    ts = start_ns
    for number in range(1, rows + 1):
        ts += int(rng.exponential(200e6)) + 1
        symbol = SYMBOLS[number % 3]
        mid = ledger.marks[symbol] = ledger.marks[symbol] * float(np.exp(rng.normal(2e-6, 2e-4)))
        head = {"account": account, "account_seq": number, "venue": "BINANCE", "symbol": symbol, "seq": number // 3,
                "tick_id": number * 7919, "partition": 0, "offset": number, "ts_event": ts, "ts_order": ts}  # fmt: skip
        if rng.random() < 0.1:
            _decide(rng, ledger, head, mid, fills, decisions)
        equity.append(_mark(ledger, head, mid))
    return _decimal(equity, "equity"), _decimal(fills, "fill"), _decimal(decisions, "decision")


def _decimal(rows: list[Row], schema: str) -> list[Row]:
    """Messages whose amounts are whole units."""
    whole = units.names(schema)
    return [units.plain_row(units.whole_row(row, whole), whole) for row in rows]


def _decide(rng: Any, ledger: Ledger, head: Row, mid: float, fills: list[Row], decisions: list[Row]) -> None:
    number, symbol = head["account_seq"], head["symbol"]
    gate = GATES[int(rng.integers(len(GATES)))]
    target = float(rng.normal(0, 15_000)) / mid
    quantity = target - ledger.positions.get(symbol, 0.0)
    decisions.append(head | {
        "decision_id": number, "intent_id": number, "order_id": None if gate else number, "strategy": "default",
        "config_digest": "1f0c9a7e5b2d4486", "code_digest": "0" * 16, "model_digest": "", "mid": mid, "score": 0.2,
        "mu": 1e-4, "sigma": 1e-3, "cvar_975": 2e-4, "target_notional": target * mid, "target": target,
        "order_quantity": 0.0 if gate else quantity, "order_limit": None, "ended_order_id": None, "ended_as": "NONE",
        "command": "NONE", "state": "ACTIVE", "state_cause": "NONE",
        "equity": ledger.equity(), "failed_gate": gate,
        "binding_constraint": "kelly", "top_alpha": ALPHAS[0], "effects": number, "chain": f"{number:032x}",
        "spread": 0.0, "position": 0.0, "symbol_pnl": 0.0,
        "gates": [{"gate": "gross", "passed": gate != "gross", "value": 0.01, "limit": 0.05}],
    })  # fmt: skip
    if gate:
        return
    ledger.orders += 1
    price = mid * (1.00005 if quantity > 0 else 0.99995)
    fee = abs(quantity) * price * 2e-4
    realized = ledger.trade(symbol, quantity, price, fee)
    latency = int(rng.gamma(4.0, 9e6))
    fills.append(head | {
        "fill_id": number, "order_id": number, "intent_id": number, "side": "BUY" if quantity > 0 else "SELL",
        "quantity": abs(quantity), "price": price, "fee": fee, "part": 1, "remaining": 0.0, "liquidity": "TAKER",
        "ts_order_sent": head["ts_event"] - latency,
        "decision_mid": mid, "position": ledger.positions[symbol], "cash": ledger.cash, "realized_pnl": realized,
        "top_alpha": ALPHAS[int(rng.integers(len(ALPHAS)))],
    })  # fmt: skip


def _mark(ledger: Ledger, head: Row, mid: float) -> Row:
    symbol, equity = head["symbol"], ledger.equity()
    ledger.peak = max(ledger.peak, equity)
    values = [p * ledger.marks[s] for s, p in ledger.positions.items()]
    held = ledger.positions.get(symbol, 0.0)
    return head | {
        "mid": mid, "spread": mid * 1e-4, "position": held, "symbol_pnl": ledger.flows.get(symbol, 0.0) + held * mid,
        "cash": ledger.cash, "equity": equity, "peak_equity": ledger.peak, "drawdown": 1 - equity / ledger.peak,
        "gross": float(np.sum(np.abs(values))), "net": float(np.sum(values)),
        "account_cvar_975": 0.0 if head["account_seq"] < 300 else 42.0 + equity % 7, "state": "ACTIVE",
        "state_cause": "NONE", "orders": ledger.orders, "fills": ledger.fills,
    }  # fmt: skip
