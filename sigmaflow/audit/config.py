"""The settings that a run was made under, as rulings.v1 has them: what every limit and every fee is held against.

The text is JSON of the whole strategy profile; its digest is in every decision. Infinite numbers are null there.
"""
from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from sigmaflow.audit.book import MOST, UNIT
from sigmaflow.audit.decode import Row

NS = 10**9
DIGITS = 16
"""Hexadecimal digits of a digest."""

OVER = MOST + 1

SIZING = ("entry", "cost_ratio", "select", "reference_equity", "symbol_cap", "gross_cap")
FILLS = ("limit_offset_bps", "impact_bps", "order_life_ns", "latency_ns", "mark_every_ns", "cvar_limit")
AMOUNTS = ("initial_cash", "lot", "max_position", "max_gross", "max_concentration", "concentration_from",
           "max_day_loss", "reduce_drawdown", "halt_drawdown")
RATES = ("fee_bps", "maker_fee_bps")
ADMISSION = ("max_ahead_s", "max_behind_s")
CHOICES = {"order": ("market", "limit"), "price": ("mid", "cross"), "size": ("whole", "displayed")}
"""Settings that are read here."""


def digest(text: str) -> str:
    """First digits of the SHA-256 of the settings.

    >>> digest("{}")
    '44136fa355b3678a'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def amount(value: float) -> int:
    """A setting in units of 1e-9; one above the range where there is no limit."""
    return OVER if math.isinf(value) else round(value * UNIT)


def shown(limit: int) -> float:
    """A limit as a gate shows it."""
    return math.inf if limit == OVER else limit / UNIT


@dataclass(frozen=True)
class Config:
    """Settings of sizing, fills and admission by the names that a profile gives them."""

    digest: str
    sizing: Row
    fills: Row
    admission: Row
    units: dict[str, int]
    """Amounts of fills, and its rates as fractions, in units."""

    @property
    def account(self) -> str:
        """The account that the ledger belongs to."""
        return str(self.fills["account"])

    @property
    def limited(self) -> bool:
        """Whether orders have a limit price."""
        return bool(self.fills["order"] == "limit")

    def ahead(self, row: Row, stamp: int) -> bool:
        """Whether a tick's event time is too far ahead of its receive time or, cut to seconds, its record's."""
        most = int(self.admission["max_ahead_s"] * NS)
        late = row["ts_event"] // NS - (stamp + 1) > most // NS
        return bool(row["ts_event"] - row["ts_recv"] > most or (stamp >= 0 and late))

    def behind(self, row: Row, latest: int) -> bool:
        """Whether a tick's event time is too far behind the latest of its partition."""
        return bool(latest - row["ts_event"] > int(self.admission["max_behind_s"] * NS))

    def sizing_limits(self, quote: Row | None) -> dict[str, float]:
        """Limits of the checks of sizing that are settings; `quote` is the tick."""
        found = {"warm": 1.0, "entry": self.sizing["entry"], "selection": float(self.sizing["select"] or math.inf)}
        if quote:
            bid, ask = quote["bid"], quote["ask"]
            found["cost"] = self.sizing["cost_ratio"] * (ask - bid) / (0.5 * (ask + bid))
        return found

    def ledger_limits(self) -> dict[str, float]:
        """Limits of the checks of the ledger that are settings."""
        return {"halt": 1.0, "range": MOST / UNIT, "position": shown(self.units["max_position"]),
                "gross": shown(self.units["max_gross"]), "concentration": shown(self.units["max_concentration"]),
                "account_cvar": self.fills["cvar_limit"], "quantity": self.units["lot"] / UNIT}


def parse(text: str) -> Config:
    """Settings from their text. Raises ValueError, TypeError or KeyError where it is not what a profile writes."""
    held = json.loads(text)
    parts: list[dict[str, Any]] = [{name: math.inf if value is None else value for name, value in held[part].items()}
                                   for part in ("sizing", "fills", "admission")]
    for part, names in zip(parts, (SIZING, (*FILLS, *AMOUNTS, *RATES), ADMISSION), strict=True):
        for name in names:
            float(part[name])
    for name, known in CHOICES.items():
        known.index(parts[1][name])
    sizing, fills, admission = parts
    units = {name: amount(fills[name]) for name in AMOUNTS} | {name: amount(fills[name] / 10_000) for name in RATES}
    return Config(digest(text), sizing, fills, admission, units)
