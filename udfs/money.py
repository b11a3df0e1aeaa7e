"""Money in whole units of 1e-9: quantities in base units, prices and amounts in quote currency, rates as fractions.

64 bits hold them, as NautilusTrader's standard precision does (https://nautilustrader.io/docs/latest/concepts/data/).
Sums are exact, so they do not depend on an order. A product of two is exact in its 128 bits and is then rounded once,
half to even, back to units. What leaves the range of MOST becomes OVER, which every caller refuses: nothing wraps.

    value = times(position, mark)          # the value of a position
    notional = times(quantity, price)      # one fill; its fee is times(abs(notional), rate)
"""
from __future__ import annotations

import math

import numba
import numpy as np

UNIT = 1_000_000_000
MOST = 1 << 60
"""Largest amount of the ledger, units: 1.15e9 of quote currency. Two of them add up within 64 bits with room left."""

OVER = MOST + 1
"""What is above MOST."""

_HALF = UNIT // 2
_BEYOND = 1.2e27
"""Above MOST * UNIT = 1.153e27 by more than a float's rounding: such a product is OVER for sure."""


@numba.njit(cache=True)
def units(value):
    """The nearest number of units, ties to even; OVER for NaN and what is above MOST, -OVER below -MOST.

    From 2**23 on a float no longer tells nine decimals apart, from 2**26 on no eight, from 2**29 on no seven: the
    nearest to as many as it does is then meant, so that what a venue wrote with 15 digits or fewer is what it gives.

    >>> units(1.5), units(-2.5e-9), units(float("inf")) == OVER, units(-1e12) == -OVER, units(8_700_157.44)
    (1500000000, -2, True, True, 8700157440000000)
    """
    size = abs(value)
    if not size <= 2 * MOST / UNIT:
        return np.int64(-OVER if value < 0 else OVER)
    step = 1 if size < 2.0**23 else 10 if size < 2.0**26 else 100 if size < 2.0**29 else 1_000
    whole = np.trunc(value)  # apart, since a product of all digits would be rounded before it is rounded to a unit
    total = np.int64(whole) * UNIT + np.int64(np.rint((value - whole) * (UNIT // step))) * step
    return max(np.int64(-OVER), min(np.int64(OVER), total))


@numba.njit(cache=True)
def times(a, b):
    """a * b, rounded half to even; within +-OVER.

    In digits of base 1e9: only the product of the two low digits has a part below one unit.

    >>> times(3 * UNIT, -UNIT // 2), times(5, UNIT // 10), times(15, UNIT // 10), times(MOST, 2 * UNIT) == OVER
    (-1500000000, 0, 2, True)
    """
    x, y = np.uint64(abs(a)), np.uint64(abs(b))
    unit = np.uint64(UNIT)
    whole = np.uint64(OVER)
    if np.float64(x) * np.float64(y) < _BEYOND:
        x1, y1 = x // unit, y // unit
        x0, y0 = x - x1 * unit, y - y1 * unit
        low = x0 * y0
        carried = low // unit
        whole = x1 * y1 * unit + x1 * y0 + x0 * y1 + carried
        rest = low - carried * unit
        if rest > np.uint64(_HALF) or (rest == np.uint64(_HALF) and whole & np.uint64(1)):
            whole += np.uint64(1)
        if whole > np.uint64(MOST):
            whole = np.uint64(OVER)
    return np.int64(whole) if (a < 0) == (b < 0) else -np.int64(whole)


@numba.njit(cache=True)
def portion(amount, part, whole):
    """amount * part / whole, rounded half to even, for 0 <= part <= whole and 0 < whole; all within 62 bits.

    >>> portion(-10, 1, 4), portion(7, 1, 2), portion(MOST, MOST - 1, MOST) == MOST - 1
    (-2, 4, True)
    """
    x, y, d = np.uint64(abs(amount)), np.uint64(part), np.uint64(whole)
    mask, shift, one = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1)
    x1, x0, y1, y0 = x >> shift, x & mask, y >> shift, y & mask
    middle = x1 * y0 + ((x0 * y0) >> shift)
    cross = x0 * y1 + (middle & mask)
    high = x1 * y1 + (middle >> shift) + (cross >> shift)
    low = (cross << shift) | ((x0 * y0) & mask)
    rest, quotient = np.uint64(0), np.uint64(0)
    for k in range(128):                                      # long division, a bit a step
        bit = (high >> np.uint64(63 - k)) & one if k < 64 else (low >> np.uint64(127 - k)) & one
        rest = (rest << one) | bit
        quotient <<= one
        if rest >= d:
            rest -= d
            quotient |= one
    if rest + rest > d or (rest + rest == d and quotient & one):
        quotient += one
    return -np.int64(quotient) if amount < 0 else np.int64(quotient)


@numba.njit(cache=True)
def plain(amount):
    """Units as a plain number, for what is shown and for estimates.

    >>> plain(1_500_000_000)
    1.5
    """
    return np.float64(amount) / 1e9


def setting(value: float) -> int:
    """A profile's number in units; OVER where it is infinite. Raises ValueError for one that is beyond MOST otherwise.

    >>> setting(0.0001), setting(math.inf) == OVER
    (100000, True)
    """
    if math.isinf(value):
        return OVER
    if abs(value) * UNIT > MOST:
        raise ValueError(f"amounts must be at most {MOST / UNIT:.0f}, it is {value}")
    return round(value * UNIT)
