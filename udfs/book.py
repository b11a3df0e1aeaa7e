"""The books of one account: cash, positions and their cost, in whole units (udfs/money.py).

    cash + sum of times(position, mark) = equity        at every row, by integers
    realised - fees + value - cost      = cash flow + value: the profit of a symbol

Cost is what the position was bought for (negative where sold short). What is closed takes its portion of it along, so
that realised and open profit add up without a rest. The sums over symbols move with each change of one symbol: whole
numbers have the same sum in any order. `a` is the account's record, `s` that of one symbol.
"""
from __future__ import annotations

import numba
import numpy as np

from udfs.money import MOST, portion, times

POSITION = [("position", np.int64), ("cost", np.int64), ("cash_flow", np.int64), ("mark", np.int64),
            ("value", np.int64), ("commitment", np.int64)]
"""Of a symbol. `commitment`: the absolute value of its position, or of what its open order would make of it."""

ACCOUNT = [("cash", np.int64), ("value", np.int64), ("gross", np.int64), ("committed", np.int64)]
"""Sums over all symbols: of values, of absolute values, of commitments."""


@numba.njit(cache=True)
def commitment(position, rest, mark):
    """Absolute value of a position, or of what `rest` of an open order would make of it, whichever is larger."""
    return max(abs(times(position, mark)), abs(times(position + rest, mark)))


@numba.njit(cache=True)
def revalue(s, a, mark, rest):
    """Value a symbol at a mark, with `rest` of an order under way; False, and nothing done, beyond the range."""
    value = times(s.position, mark)
    committed = commitment(s.position, rest, mark)
    if mark > MOST or committed > MOST or a.committed - s.commitment + committed > MOST:
        return False
    a.value += value - s.value
    a.gross += abs(value) - abs(s.value)
    a.committed += committed - s.commitment
    s.value, s.commitment, s.mark = value, committed, mark
    return True


@numba.njit(cache=True)
def book(s, a, quantity, price, rate):
    """Book a signed quantity: (done, fee, realised profit against cost before the fee). `rate` is the fee's, units.

    Not done, and nothing changed, where an amount would leave the range. The caller values the symbol anew.
    """
    notional = times(quantity, price)
    fee = times(abs(notional), rate)
    flow = -notional - fee
    if max(abs(notional), abs(a.cash + flow), abs(s.cash_flow + flow), abs(s.cost + notional)) > MOST:
        return False, np.int64(0), np.int64(0)
    realized = np.int64(0)
    if (s.position > 0 and quantity < 0) or (s.position < 0 and quantity > 0):
        closed = min(abs(quantity), abs(s.position))
        basis = portion(s.cost, closed, abs(s.position))
        proceeds = portion(notional, closed, abs(quantity))
        realized = -proceeds - basis
        s.cost += notional - proceeds - basis
    else:
        s.cost += notional
    s.position += quantity
    s.cash_flow += flow
    a.cash += flow
    return True, fee, realized
