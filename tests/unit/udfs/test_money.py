"""The ledger's arithmetic against Python's fractions, which round half to even as well."""
from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sigmaflow.audit import book
from udfs import money
from udfs.money import MOST, OVER, UNIT

amounts = st.integers(-MOST, MOST) | st.integers(-10**13, 10**13) | st.integers(-10, 10)
parts = st.integers(0, MOST) | st.integers(0, 10)


compiled = settings(deadline=None)
"""The first case compiles."""


def bounded(exact: Fraction) -> int:
    """The nearest unit, ties to even, cut to the range."""
    return max(-OVER, min(OVER, round(exact)))


@compiled
@given(amounts, amounts)
@example(MOST, UNIT)
@example(MOST, UNIT + 1)
@example(-MOST, MOST)
def test_a_product_is_rounded_once(a: int, b: int) -> None:
    assert money.times(a, b) == bounded(Fraction(a * b, UNIT))


@compiled
@given(st.integers(-9, 9), st.integers(-9, 9))
def test_a_product_of_a_half_goes_to_even(a: int, b: int) -> None:
    half = (2 * b + 1) * UNIT // 2
    assert money.times(2 * a + 1, half) == bounded(Fraction((2 * a + 1) * half, UNIT))


@compiled
@given(amounts, parts, parts)
def test_a_portion_is_rounded_once(amount: int, one: int, two: int) -> None:
    part, whole = min(one, two), max(one, two, 1)
    assert money.portion(amount, part, whole) == round(Fraction(amount * part, whole))


@compiled
@given(amounts, st.integers(1, MOST))
def test_portions_of_all_and_nothing(amount: int, whole: int) -> None:
    assert money.portion(amount, whole, whole) == amount and money.portion(amount, 0, whole) == 0


@compiled
@given(st.integers(-10**15, 10**15), st.integers(0, 9))
@example(870_015_744, 2)
@example(4_194_304_000_000_001, 9)
@example(999_999_999_999_999, 6)
def test_a_decimal_keeps_its_digits(mantissa: int, digits: int) -> None:
    """What a venue writes with up to nine decimals, as far as a float tells it apart."""
    value = float(Fraction(mantissa, 10**digits))
    if abs(value) < MOST / UNIT:
        assert money.units(value) == book.units(value) == mantissa * 10**(9 - digits)
    if abs(value) < 9e6:
        assert money.plain(money.units(value)) == value


@pytest.mark.parametrize(("value", "found"), [(math.nan, OVER), (math.inf, OVER), (-math.inf, -OVER), (-0.0, 0),
                                              (5e-324, 0), (1e15, OVER), (-1e15, -OVER), (0.5e-9, 0), (1.5e-9, 2)])
def test_numbers_beyond_the_range(value: float, found: int) -> None:
    assert money.units(value) == book.units(value) == found


@given(st.floats(-2e9, 2e9) | st.floats())
def test_the_auditor_counts_the_same_units(value: float) -> None:
    assert money.units(value) == book.units(value)


def test_a_setting_beyond_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 1152921505"):
        money.setting(1e12)
