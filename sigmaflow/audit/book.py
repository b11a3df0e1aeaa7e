"""Cash and positions of one account, kept from its fills in whole numbers: units of 1e-9, as the ledger's topics have.

Written once more from the rules, over Python's integers: a product is exact and is rounded half to even to one unit.
"""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

Name = tuple[str, str]
"""Venue and symbol."""

UNIT = 10**9
MOST = 1 << 60
"""Largest amount a ledger may hold; what is more is told as one unit above."""


def rounded(numerator: int, denominator: int) -> int:
    """The nearest whole number to a fraction, half to even.

    >>> [rounded(n, 2) for n in (-3, -1, 1, 3, 4)]
    [-2, 0, 0, 2, 2]
    """
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


def times(a: int, b: int) -> int:
    """Product of two amounts in units, within the range."""
    return max(-MOST - 1, min(MOST + 1, rounded(a * b, UNIT)))


def units(value: float) -> int:
    """The nearest number of units to a float; of those with as many decimals as a float of its size tells apart.

    >>> units(0.25), units(float("inf")) == MOST + 1, units(8_700_157.44)
    (250000000, True, 8700157440000000)
    """
    if not abs(value) <= 2 * MOST / UNIT:
        return -MOST - 1 if value < 0 else MOST + 1
    step = 10 ** sum(abs(value) >= limit for limit in (2**23, 2**26, 2**29))
    whole = int(value)
    return max(-MOST - 1, min(MOST + 1, whole * UNIT + round((value - whole) * (UNIT // step)) * step))


@dataclass
class Book:
    """What one account holds, in units."""

    cash: int
    orders: int = 0
    fills: int = 0
    positions: dict[Name, int] = field(default_factory=lambda: defaultdict(int))
    flows: dict[Name, int] = field(default_factory=lambda: defaultdict(int))
    costs: dict[Name, int] = field(default_factory=lambda: defaultdict(int))
    marks: dict[Name, int] = field(default_factory=lambda: defaultdict(int))
    opened: dict[Name, int] = field(default_factory=lambda: defaultdict(int))
    """Signed quantities that are left of open orders."""
    value: int = 0
    """Sum of positions at their marks."""
    gross: int = 0
    """The same of absolute values."""
    committed: int = 0
    """Sum of absolute values of positions, or of what open orders would make of them where that is more."""

    @property
    def equity(self) -> int:
        """Cash plus positions at their marks."""
        return self.cash + self.value

    def worth(self, name: Name) -> int:
        """Value of a position at its mark."""
        return times(self.positions[name], self.marks[name])

    def mark(self, name: Name, mid: float) -> bool:
        """An instrument has a new mark; False where an amount would leave the range: the last mark then stays."""
        new, old = units(mid), self.marks[name]
        if new > MOST:
            return False
        self._set(name, mark=new)
        if self.committed > MOST:
            self._set(name, mark=old)
            return False
        return True

    def open(self, name: Name, rest: int) -> None:
        """What is left of an order waits; 0 where none does."""
        self._set(name, rest=rest)

    def trade(self, name: Name, quantity: int, price: int, fee: int) -> int:
        """Book a signed quantity; gives the profit realised against the cost of what it closes, before the fee."""
        held, notional, realized = self.positions[name], times(quantity, price), 0
        if held * quantity < 0:
            closed = min(abs(quantity), abs(held))
            basis, proceeds = rounded(self.costs[name] * closed, abs(held)), rounded(notional * closed, abs(quantity))
            realized = -proceeds - basis
        self.costs[name] += notional + realized
        self.flows[name] -= notional + fee
        self.cash -= notional + fee
        self.fills += 1
        self._set(name, position=held + quantity)
        return realized

    def hold(self, name: Name, position: int) -> None:
        """Take a position as given, where a record says another one: what follows is then judged by itself."""
        self._set(name, position=position)

    def gross_with(self, name: Name, value: int) -> int:
        """Gross value to commit to if an instrument had a position of this value."""
        return self.committed - self._commitment(name) + value

    def _commitment(self, name: Name) -> int:
        held, mark = self.positions[name], self.marks[name]
        return max(abs(times(held, mark)), abs(times(held + self.opened[name], mark)))

    def _set(self, name: Name, mark: int | None = None, position: int | None = None, rest: int | None = None) -> None:
        """Change what is known of an instrument, and the sums with it."""
        value, commitment = self.worth(name), self._commitment(name)
        for held, new in ((self.marks, mark), (self.positions, position), (self.opened, rest)):
            if new is not None:
                held[name] = new
        after = self.worth(name)
        self.value += after - value
        self.gross += abs(after) - abs(value)
        self.committed += self._commitment(name) - commitment
