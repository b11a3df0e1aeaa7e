"""Cash and positions of one account, kept from its fills by the same floating-point operations as the ledger's."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from sigmaflow.audit.decisions import Name


@dataclass
class Book:
    """What one account holds. Prices, cash and values are in quote currency, positions in base units."""

    cash: float
    peak: float
    orders: int = 0
    fills: int = 0
    state: str = "ACTIVE"
    positions: dict[Name, float] = field(default_factory=lambda: defaultdict(float))
    flows: dict[Name, float] = field(default_factory=lambda: defaultdict(float))
    averages: dict[Name, float] = field(default_factory=lambda: defaultdict(float))
    mids: dict[Name, float] = field(default_factory=dict)
    value: float = 0.0
    """Sum of positions at their marks."""
    gross: float = 0.0
    """The same of absolute values."""
    opened: dict[Name, float] = field(default_factory=dict)
    """Signed quantities of open orders."""
    committed: float = 0.0
    """Sum of absolute values of positions, or of what open orders would make of them where that is more."""

    @property
    def equity(self) -> float:
        """Cash plus positions at their marks."""
        return self.cash + self.value

    def mark(self, name: Name, mid: float) -> None:
        """An instrument has a new mark."""
        self._revalue(name, self.positions[name], mid)

    def open(self, name: Name, quantity: float) -> None:
        """An order of a signed quantity waits; 0 where none does."""
        before = self._commitment(name)
        self.opened[name] = quantity
        self.committed += self._commitment(name) - before

    def trade(self, name: Name, quantity: float, price: float, fee: float) -> float:
        """Book a signed quantity; gives the profit realised against average cost, before the fee."""
        held, realized = self.positions[name], 0.0
        if held * quantity < 0:
            realized = min(abs(quantity), abs(held)) * (price - self.averages[name]) * (1.0 if held > 0 else -1.0)
            if abs(quantity) > abs(held):
                self.averages[name] = price
        elif quantity != 0:
            cost = abs(held) * self.averages[name] + abs(quantity) * price
            self.averages[name] = cost / (abs(held) + abs(quantity))
        flow = -(quantity * price) - fee
        self.flows[name] += flow
        self.cash += flow
        self.fills += 1
        self._revalue(name, held + quantity, self.mids[name])
        return realized

    def hold(self, name: Name, position: float) -> None:
        """Take a position as given, where a record says another one: what follows is then judged by itself."""
        self._revalue(name, position, self.mids[name])

    def gross_with(self, name: Name, target: float) -> float:
        """Gross value to commit to if an instrument had this target."""
        return self.committed - self._commitment(name) + abs(target * self.mids[name])

    def _commitment(self, name: Name) -> float:
        held, mid = self.positions[name], self.mids.get(name, 0.0)
        return max(abs(held * mid), abs((held + self.opened.get(name, 0.0)) * mid))

    def _revalue(self, name: Name, position: float, mid: float) -> None:
        before, after = self.positions[name] * self.mids.get(name, 0.0), position * mid
        committed = self._commitment(name)
        self.value += after - before
        self.gross += abs(after) - abs(before)
        self.positions[name], self.mids[name] = position, mid
        self.committed += self._commitment(name) - committed
