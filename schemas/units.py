"""Whole units to plain numbers, the one place: fields that say `"unit": "1e-9 ..."` in their schema, divided by 1e9.

The ledger counts in whole units, so that its sums are exact (udfs/money.py); people, charts and databases read quote
currency and base units. A reader that must be exact takes the messages as they are.
"""
from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

import schemas
from schemas.layout import NULL_LONG

PREFIX = "1e-9 "
UNIT = 1_000_000_000
Row = dict[str, Any]


def scaled(schema: Mapping[str, Any]) -> frozenset[str]:
    """Names of the fields that are in whole units.

    >>> "cash" in scaled(schemas.load("equity")), "drawdown" in scaled(schemas.load("equity"))
    (True, False)
    """
    return frozenset(f["name"] for f in schema["fields"] if str(f.get("unit", "")).startswith(PREFIX))


@cache
def names(schema: str) -> frozenset[str]:
    """The same of a contract by its name."""
    return scaled(schemas.load(schema))


def plain_row(row: Row, of: frozenset[str]) -> Row:
    """A message with its fields of these names as plain numbers; None stays.

    >>> plain_row({"cash": 1_500_000_000, "orders": 2}, frozenset({"cash"}))
    {'cash': 1.5, 'orders': 2}
    """
    return {name: value / UNIT if name in of and value is not None else value for name, value in row.items()}


def whole_row(row: Row, of: frozenset[str]) -> Row:
    """The other way: plain numbers as the nearest whole units.

    >>> whole_row({"cash": 1.5, "target": None}, frozenset({"cash", "target"}))
    {'cash': 1500000000, 'target': None}
    """
    return {name: round(value * UNIT) if name in of and value is not None else value for name, value in row.items()}


def plain_columns(columns: Row, of: frozenset[str]) -> Row:
    """Decoded columns with those of these names as plain numbers, NaN for null.

    >>> plain_columns({"cash": np.array([1_500_000_000, NULL_LONG])}, frozenset({"cash"}))
    {'cash': array([1.5, nan])}
    """
    return {name: _plain(values) if name in of else values for name, values in columns.items()}


def _plain(values: Any) -> Any:
    return np.where(values == NULL_LONG, np.nan, values / UNIT)
