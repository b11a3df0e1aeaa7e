"""Slow values for alphas, made of the logs of slow data: pure folds, so that the same log gives the same indicators.

- `sentiment`, of each instrument and (symbol empty) of the whole market: the mean of the scores of the last hours,
  weighted by confidence and by a half-life. After Tetlock (2007), "Giving content to investor sentiment": what the
  media say moves prices for days, most of it at first.
- `macro`: the mean over series of tanh(z / 2), z being the newest value's distance from its last 60 in their standard
  deviations, with a sign for each series. Vintages as they were known; a number that was not yet public is not there.

Each says until when it is worth something: after that an alpha that reads it knows nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from statistics import fmean, median, pstdev

from connectors.slow.items import NS, Record
from connectors.slow.source import STAGE
from sigmaflow.errors import UserError

TOPIC = "indicators.v1"
MACRO, SENTIMENT = "macro", "sentiment"
MARKET = ""
HOUR_NS, DAY_NS = 3_600 * NS, 86_400 * NS
WINDOW_NS, HALF_LIFE_NS = 6 * HOUR_NS, HOUR_NS
PAST = 60
"""Values that the newest one is held against."""
STEP = 0.02
"""Least change of a value that is told before half of the old one's life is over: each is a ruling of each partition.
"""
LEAST = 10
"""Values of which a deviation says something."""
SIGNS: Mapping[str, int] = {"T10Y2Y": 1, "VIXCLS": -1, "DFF": -1, "ICSA": -1}
"""Whether more of it is good (1) or bad (-1) for prices of risky things."""


def signs(options: Sequence[str]) -> dict[str, int]:
    """Signs of series from options `SERIES:+1`; the usual ones where there are none.

    >>> signs(["VIXCLS:-1"]), signs([]) == dict(SIGNS)
    ({'VIXCLS': -1}, True)
    """
    made = {}
    for option in options:
        series, _, sign = option.partition(":")
        if not series or sign not in ("1", "+1", "-1"):
            raise UserError(STAGE, "--series must read SERIES:+1 or SERIES:-1", f"it is {option!r}",
                            "write for example --series VIXCLS:-1")
        made[series] = int(sign)
    return made or dict(SIGNS)


class Sentiment:
    """Scores of one model, folded into an indicator for each instrument and for the market."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._held: dict[str, deque[tuple[int, int, float, float]]] = {}
        self._touched: set[str] = set()

    def add(self, record: Record) -> None:
        """Take in a record of sentiment.v1."""
        if record["model"] != self._model or record["score"] is None:
            return
        row = record["ts_known"], record["ts_published"], record["score"], record["confidence"]
        for symbol in {MARKET, *filter(None, record["symbols"].split(","))}:
            self._held.setdefault(symbol, deque()).append(row)
            self._touched.add(symbol)

    def take(self) -> list[Record]:
        """An indicator for each instrument that something new was said about."""
        found = [self._indicator(symbol) for symbol in sorted(self._touched)]
        self._touched.clear()
        return [record for record in found if record is not None]

    def _indicator(self, symbol: str) -> Record | None:
        held = self._held[symbol]
        known = max(row[0] for row in held)
        while held and held[0][0] < known - WINDOW_NS:
            held.popleft()
        rows = [row for row in held if known - WINDOW_NS <= row[1]]
        weights = [row[3] * 0.5 ** ((known - row[1]) / HALF_LIFE_NS) for row in rows]
        total = math.fsum(weights)
        if total <= 0:
            return None
        value = math.fsum(w * row[2] for w, row in zip(weights, rows, strict=True)) / total
        return _indicator(SENTIMENT, symbol, value, known, known + WINDOW_NS, len(rows),
                          f"{self._model}: mean of {len(rows)} scores, weight {total:.3f}")


class Macro:
    """Vintages of series, folded into one indicator."""

    def __init__(self, wanted: Mapping[str, int]) -> None:
        self._signs = dict(wanted)
        self._values: dict[str, dict[str, float]] = {series: {} for series in wanted}
        self._known: dict[str, int] = {}
        self._until: dict[str, int] = {}
        self._touched = False

    def add(self, record: Record) -> None:
        """Take in a record of macro.v1; they must come in the order in which they became known."""
        series = record["series"]
        if series not in self._signs or record["value"] is None:
            return
        self._values[series][record["date"]] = record["value"]
        self._known[series] = record["ts_known"]
        self._touched = True

    def take(self) -> list[Record]:
        """The indicator, where something new is known and any series is fresh."""
        if not self._touched:
            return []
        self._touched = False
        now = max(self._known.values())
        parts = {series: found for series in sorted(self._known) if (found := self._part(series, now)) is not None}
        if not parts:
            return []
        said = ", ".join(f"{series} {z:+.2f}" for series, (z, _) in parts.items())
        value = fmean(math.tanh(self._signs[series] * z / 2) for series, (z, _) in parts.items())
        return [_indicator(MACRO, MARKET, value, now, min(until for _, until in parts.values()), len(parts), said)]

    def _part(self, series: str, now: int) -> tuple[float, int] | None:
        """Deviation of a series' newest value, and until when it is fresh; None where it tells nothing."""
        days = sorted(self._values[series])[-PAST - 1:]
        if len(days) <= LEAST:
            return None
        gap = median((date.fromisoformat(b) - date.fromisoformat(a)).days for a, b in pairwise(days))
        until = self._known[series] + int(max(7.0, 2.5 * gap)) * DAY_NS
        past = [self._values[series][day] for day in days[:-1]]
        spread = pstdev(past)
        if until < now or spread <= 0:
            return None
        return (self._values[series][days[-1]] - fmean(past)) / spread, until


def _indicator(name: str, symbol: str, value: float, known: int, until: int, evidence: int, detail: str) -> Record:
    return {"name": name, "symbol": symbol, "value": value, "ts_known": known, "ts_until": until, "evidence": evidence,
            "detail": detail}


class Maker:
    """Folds both topics, and gives indicators that were not given before: `last` has what the log holds of each."""

    def __init__(self, model: str, wanted: Mapping[str, int], held: Sequence[Record], history: bool = False) -> None:
        """With `history` every day of the macro log gets its indicator, not only the newest."""
        self._sentiment, self._macro, self._history = Sentiment(model), Macro(wanted), history
        self._last: dict[tuple[str, str], Record] = {}
        for record in held:
            self.written(record)

    def written(self, record: Record) -> None:
        """The log holds this indicator."""
        self._last[record["name"], record["symbol"]] = record

    def take(self, observations: Sequence[Record], scores: Sequence[Record]) -> list[Record]:
        """Indicators after these records; only what is newer than what the log holds."""
        made: list[Record] = []
        ordered = sorted(observations, key=lambda r: (r["ts_known"], r["series"], r["date"]))
        for at, record in enumerate(ordered):
            self._macro.add(record)
            last = at + 1 == len(ordered)
            if last or (self._history and ordered[at + 1]["ts_known"] > record["ts_known"]):
                made += self._macro.take()
        for record in scores:
            self._sentiment.add(record)
        made += self._sentiment.take()
        fresh = []
        for record in made:
            if self._is_news(record):
                fresh.append(record)
                self.written(record)
        return fresh

    def _is_news(self, record: Record) -> bool:
        """Whether a record is later than the last one of its kind, and another value or a much longer life."""
        last = self._last.get((record["name"], record["symbol"]))
        if last is None:
            return True
        half = (last["ts_known"] + last["ts_until"]) // 2
        return record["ts_known"] > last["ts_known"] and (
            abs(record["value"] - last["value"]) >= STEP or record["ts_known"] >= half)
