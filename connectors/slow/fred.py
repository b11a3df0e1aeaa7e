"""FRED: economic series of the Federal Reserve Bank of St. Louis, with vintages, so that nothing is known too early.

A value is asked for with the real-time period from the newest vintage of the log on. Each answer has one row for each
span of days in which a date had one value; a row's `realtime_start` is the day of publication, but never before the day
that was asked from. So what the log holds already comes again, and is known by its value. Rows are written by day of
publication: a process that is killed between two of them goes on where it was.
https://fred.stlouisfed.org/docs/api/fred/series_observations.html, output_type 1
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from connectors.slow.items import Record, end_of_day_ns, identity
from connectors.slow.source import Base, Manners, required
from connectors.venues.errors import Lost

ADDRESS = "https://api.stlouisfed.org"
KEY = "FRED_API_KEY"
SERIES = ("T10Y2Y", "VIXCLS", "DFF", "ICSA")
"""Slope of the yield curve, implied volatility, federal funds rate, new claims for unemployment insurance."""
SINCE = "2024-01-01"
"""Days of publication asked for at first: FRED gives at most 2,000 vintages at a time, more than five years of days."""
PAGE = 100_000
"""Rows of a page: the most that FRED gives."""
ZONE = "America/Chicago"
"""FRED's days: the publisher's are its own, and a day late is safe where a day early is not."""
SPACING_S = 0.5
"""FRED takes 120 requests a minute."""


class Fred(Base):
    """Series as a source. Raises UserError where the environment holds no key."""

    name, topic, every_s = "fred", "macro.v1", 3_600.0

    def __init__(self, series: Sequence[str] = SERIES, address: str = ADDRESS, since: str = SINCE, page: int = PAGE,
                 environ: Mapping[str, str] | None = None, manners: Manners | None = None) -> None:
        super().__init__(manners)
        env = os.environ if environ is None else environ
        self._key = SecretStr(required(KEY, "FRED", "https://fredaccount.stlouisfed.org/apikeys", env))
        self.parts = tuple(series)
        self._rest = self.rest(address, SPACING_S)
        self._since, self._page = since, page
        self._newest: dict[tuple[str, str], tuple[str, float | None]] = {}
        """Day of publication and value of what is known of each series and date."""
        self._reached: dict[str, str] = {}
        """Newest day of publication of each series."""

    def remember(self, record: Record) -> None:
        """Keep the newest vintage of each date."""
        series, published = record["series"], record["realtime_start"]
        self._newest[series, record["date"]] = published, record["value"]
        self._reached[series] = max(self._reached.get(series, ""), published)

    async def poll(self, part: str, ts_recv: int) -> list[Record]:
        """Vintages of a series that are not in the log, by day of publication."""
        rows = [row for page in await self._pages(part) for row in page]
        made = sorted((_record(part, row, ts_recv) for row in rows), key=lambda r: (r["realtime_start"], r["date"]))
        known, fresh = dict[str, tuple[str, float | None]](), list[Record]()
        for record in made:
            published, value = known.get(record["date"]) or self._newest.get((part, record["date"])) or ("", object())
            if record["realtime_start"] >= published and record["value"] != value:
                known[record["date"]] = record["realtime_start"], record["value"]
                fresh.append(record)
        return fresh

    async def _pages(self, series: str) -> list[list[dict[str, Any]]]:
        pages: list[list[dict[str, Any]]] = []
        while True:
            offset = sum(map(len, pages))
            answer = await self._rest.get(
                "/fred/series/observations", series_id=series, api_key=self._key.get_secret_value(), file_type="json",
                realtime_start=self._reached.get(series, self._since), realtime_end="9999-12-31", limit=self._page,
                offset=offset)
            try:
                pages.append(list(answer["observations"]))
                count = int(answer["count"])
            except (KeyError, TypeError, ValueError):
                raise Lost(f"{series}: the answer has no observations") from None
            if not pages[-1] or offset + len(pages[-1]) >= count:
                return pages


def _record(series: str, row: Mapping[str, str], ts_recv: int) -> Record:
    """One row as a message. Raises Lost for a row that is none."""
    try:
        value = None if row["value"] in (".", "") else float(row["value"])
        known = min(ts_recv, end_of_day_ns(row["realtime_start"], ZONE))
        return {"id": identity("fred", series, row["date"], row["realtime_start"], value), "series": series,
                "date": row["date"], "value": value, "realtime_start": row["realtime_start"], "ts_known": known,
                "ts_recv": ts_recv}
    except (KeyError, TypeError, ValueError) as error:
        raise Lost(f"{series}: an observation cannot be read ({type(error).__name__} {error})") from None
