"""News of Alpaca (Benzinga's), which says itself what symbols an article is about; with the key of the Alpaca venue.

Asked from an hour before the last receipt on: the venue filters by time of update, and an article that is updated comes
again. It is known by its number then, and stays as it was first seen.
https://docs.alpaca.markets/reference/news-3
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from connectors.slow.items import NS, Record, identity, iso_ns, plain
from connectors.slow.source import Base, Manners, required
from connectors.venues.alpaca import KEY, REST_ADDRESS, SECRET, SYMBOLS
from connectors.venues.errors import Lost

PAGE = 50
"""Articles of a page: the most that the venue gives."""
PAGES = 200
"""Pages of one look: ten thousand articles."""
OVERLAP_NS = 3_600 * NS
FIRST_NS = 24 * 3_600 * NS
"""How far back the first look goes."""
SPACING_S = 0.4
"""The venue takes 200 requests a minute."""
WHERE = "https://alpaca.markets"


class AlpacaNews(Base):
    """Articles about symbols as a source; its one part is all of them. Raises UserError without a key."""

    name, topic, every_s = "alpaca", "news.v1", 60.0

    def __init__(self, symbols: Sequence[str] = SYMBOLS, address: str = REST_ADDRESS,
                 environ: Mapping[str, str] | None = None, manners: Manners | None = None) -> None:
        super().__init__(manners)
        env = os.environ if environ is None else environ
        key, secret = (SecretStr(required(name, "alpaca", WHERE, env)) for name in (KEY, SECRET))
        self.parts, self._newest = (",".join(symbols),), 0
        self._rest = self.rest(address, SPACING_S, {"APCA-API-KEY-ID": key.get_secret_value(),
                                                    "APCA-API-SECRET-KEY": secret.get_secret_value()})

    def remember(self, record: Record) -> None:
        """Know the article, and how far we are."""
        super().remember(record)
        if record["source"] == self.name:
            self._newest = max(self._newest, record["ts_recv"])

    async def poll(self, part: str, ts_recv: int) -> list[Record]:
        """Articles that are new, oldest first."""
        begin = self._newest - OVERLAP_NS if self._newest else ts_recv - FIRST_NS
        params: dict[str, str | int] = {"symbols": part, "sort": "asc", "limit": PAGE, "start": _iso(begin)}
        fresh: dict[str, Record] = {}
        for _ in range(PAGES):
            answer = await self._rest.get("/v1beta1/news", **params)
            made = [_record(article, ts_recv) for article in _articles(answer)]
            fresh |= {record["id"]: record for record in made if record["id"] not in self.ids | fresh.keys()}
            if not answer.get("next_page_token"):
                return list(fresh.values())
            params["page_token"] = answer["next_page_token"]
        self.gaps += 1
        return list(fresh.values())


def _iso(ns: int) -> str:
    """ISO 8601, whole seconds.

    >>> _iso(1_769_851_800_000_000_000)
    '2026-01-31T09:30:00Z'
    """
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // NS):%Y-%m-%dT%H:%M:%SZ}"


def _articles(answer: Any) -> list[Any]:
    found = answer.get("news") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise Lost("alpaca: the answer has no news")
    return found


def _record(article: Any, ts_recv: int) -> Record:
    """One article as a message. Raises Lost for what is none."""
    try:
        number = str(article["id"])
        return {"id": identity("alpaca", number), "source": "alpaca", "guid": number,
                "title": plain(article["headline"]), "text": plain(article.get("summary")),
                "url": str(article.get("url") or ""), "symbols": ",".join(map(str, article.get("symbols") or ())),
                "ts_published": iso_ns(article["created_at"]), "ts_recv": ts_recv}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Lost(f"alpaca: an article cannot be read ({type(error).__name__} {error})") from None
