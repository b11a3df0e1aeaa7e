"""News by RSS or Atom, no key: the feeds' own addresses, asked with what they said the last time, so that an unchanged
one costs nothing (ETag and Last-Modified, RFC 9110 section 13).

An entry is known by its feed and its guid; one that is edited later stays as it was first seen.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import feedparser

from connectors.slow.items import NS, Record, identity, plain
from connectors.slow.source import Base, Manners
from connectors.venues.errors import Lost
from connectors.venues.rest import NOT_MODIFIED

FEEDS = ("https://www.federalreserve.gov/feeds/press_all.xml", "https://www.sec.gov/news/pressreleases.rss",
         "https://www.coindesk.com/arc/outboundfeeds/rss/")
"""Press releases of the Federal Reserve and of the SEC, and news of digital assets."""
SPACING_S = 1.0


class Rss(Base):
    """Feeds as a source; a part is the address of one."""

    name, topic, every_s = "rss", "news.v1", 300.0

    def __init__(self, feeds: Sequence[str] = FEEDS, manners: Manners | None = None) -> None:
        super().__init__(manners)
        self.parts = tuple(feeds)
        self._said: dict[str, dict[str, str]] = {}
        self._pending: dict[str, dict[str, str]] = {}

    async def poll(self, part: str, ts_recv: int) -> list[Record]:
        """Entries of a feed that are new, oldest first."""
        address = urlsplit(part)
        rest = self.rest(f"{address.scheme}://{address.netloc}", SPACING_S, follow=True)
        answer = await rest.ask("GET", part, headers=self._said.get(part, {}))
        if answer.status == NOT_MODIFIED:
            return []
        self._pending[part] = _validators(answer.headers)
        fresh = {record["id"]: record for record in _records(part, answer.body, dict(answer.headers), ts_recv)
                 if record["id"] not in self.ids}
        return sorted(fresh.values(), key=lambda r: r["ts_published"])

    def confirmed(self, part: str) -> None:
        """Only now may the feed say that nothing has changed."""
        self._said[part] = self._pending.pop(part, self._said.get(part, {}))


def _validators(headers: Any) -> dict[str, str]:
    named = {"If-None-Match": headers.get("etag"), "If-Modified-Since": headers.get("last-modified")}
    return {name: value for name, value in named.items() if value}


def _records(feed: str, body: bytes, headers: dict[str, str], ts_recv: int) -> list[Record]:
    """Entries that have a name and a title, newest first as feeds are. Raises Lost for what is no feed."""
    kept = {name: headers[name] for name in ("content-type",) if name in headers}
    parsed = feedparser.parse(body, response_headers=kept)
    if not parsed.entries and (parsed.bozo or not parsed.get("version")):
        raise Lost(f"{feed}: the answer is no feed ({parsed.get('bozo_exception', 'no form of one')})")
    return [_record(feed, entry, ts_recv) for entry in reversed(parsed.entries)
            if _guid(entry) and plain(entry.get("title"))]


def _guid(entry: Any) -> str:
    return str(entry.get("id") or entry.get("link") or entry.get("title") or "")


def _record(feed: str, entry: Any, ts_recv: int) -> Record:
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    content = entry.get("content") or [{}]
    return {"id": identity("rss", feed, _guid(entry)), "source": feed, "guid": _guid(entry),
            "title": plain(entry.get("title")), "text": plain(entry.get("summary") or content[0].get("value")),
            "url": str(entry.get("link") or ""), "symbols": "",
            "ts_published": calendar.timegm(moment) * NS if moment else ts_recv, "ts_recv": ts_recv}
