"""What a model says about every article and post, as records of sentiment.v1: asked once, kept for ever.

A record's id is made of item and model, and the topic itself tells what has been asked, so a process that is killed
goes on where it was.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from connectors.slow.health import Health, kind
from connectors.slow.items import NS, Record, identity
from connectors.slow.lexicon import Model
from connectors.slow.log import Log
from connectors.slow.source import STAGE
from connectors.venues.errors import VenueError
from sigmaflow.errors import UserError

TOPIC = "sentiment.v1"
SOURCES = ("news.v1", "posts.v1")
RETRY_S = 10.0
"""Wait before a model that was not there is asked again."""
PACE_S = 60.0
"""Within which all there is should have been looked at; a local model may take half of it for one answer."""
AT_ONCE = 50
"""Scores that are written together at most."""


class Item(NamedTuple):
    """An article or a post and where it is."""

    topic: str
    offset: int
    record: Record


def about(options: Sequence[str]) -> dict[str, re.Pattern[str]]:
    """Which words tell that a text is about an instrument, from options `SYMBOL=word,word`.

    >>> bool(about(["BTCUSDT=bitcoin,btc"])["BTCUSDT"].search("Bitcoin falls"))
    True
    """
    found = {}
    for option in options:
        symbol, _, words = option.partition("=")
        listed = [re.escape(word.strip()) for word in words.split(",") if word.strip()]
        if not symbol or not listed:
            raise UserError(STAGE, "--about must read SYMBOL=word,word", f"it is {option!r}",
                            "write for example --about BTCUSDT=bitcoin,btc")
        found[symbol] = re.compile(rf"\b(?:{'|'.join(listed)})\b", re.IGNORECASE)
    return found


def symbols_of(item: Record, words: Mapping[str, re.Pattern[str]]) -> list[str]:
    """Instruments that an item is about: those its source says, and those whose words it has, in order.

    >>> symbols_of({"title": "BTC up", "text": "", "symbols": "COIN"}, about(["BTCUSDT=btc"]))
    ['BTCUSDT', 'COIN']
    """
    said = [symbol for symbol in item.get("symbols", "").split(",") if symbol]
    text = f"{item['title']} {item['text']}"
    return sorted({*said, *(symbol for symbol, pattern in words.items() if pattern.search(text))})


class Scorer:
    """Scores items with one model. `oldest_s` leaves out items that were received longer ago than that; 0 takes all.
    """

    def __init__(self, model: Model, log: Log, words: Mapping[str, re.Pattern[str]] | None = None,
                 oldest_s: float = 0.0, now_ns: Callable[[], int] = time.time_ns,
                 say: Callable[[str], None] = print, retry_s: float = RETRY_S) -> None:
        self._model, self._log, self._words, self._oldest_ns = model, log, dict(words or {}), int(oldest_s * NS)
        self._now_ns, self._say, self._retry_s = now_ns, say, retry_s
        self._known = {record["id"] for _, record in log.read()}
        self.health = Health("sentiment", (TOPIC,), PACE_S)

    async def run(self, batches: Iterator[list[Item]], stop: asyncio.Event) -> None:
        """Score batches as they come until `stop` or their end."""
        while not stop.is_set():
            batch = await asyncio.to_thread(next, batches, None)
            if batch is None:
                return
            todo = [item for item in batch if self._wanted(item)]
            for at in range(0, len(todo), AT_ONCE):
                await self._take(todo[at:at + AT_ONCE], stop)
            self.health.looks += 1
            self.health.success(TOPIC, 0)                  # an empty batch too: all there is has been scored

    def _wanted(self, item: Item) -> bool:
        young = not self._oldest_ns or item.record["ts_recv"] > self._now_ns() - self._oldest_ns
        return young and self._id(item) not in self._known

    def _id(self, item: Item) -> str:
        return identity("sentiment", self._model.name, item.record["id"])

    async def _take(self, items: Sequence[Item], stop: asyncio.Event) -> None:
        made: list[Record] = []
        try:
            digest = await self._model.digest()
            for item in items:
                while not stop.is_set():
                    try:
                        made.append(await self._record(item, digest))
                        break
                    except VenueError as error:
                        self.health.errors[kind(error)] += 1
                        self._say(f"{self._model.name}: {error}; asked again in {self._retry_s:g} s")
                        await asyncio.sleep(self._retry_s)
        finally:
            self._log.write(made)
            self._known |= {record["id"] for record in made}
            self.health.items += len(made)
            self.health.errors["no_score"] += sum(record["score"] is None for record in made)

    async def _record(self, item: Item, digest: str) -> Record:
        record = item.record
        found = await self._model.score(f"{record['title']}. {record['text']}".strip())
        return {"id": self._id(item), "topic": item.topic, "offset": item.offset, "item_id": record["id"],
                "symbols": ",".join(symbols_of(record, self._words)), "model": self._model.name,
                "model_digest": digest, "score": found.score, "confidence": found.confidence, "answer": found.answer,
                "error": found.error, "ts_published": min(record["ts_published"], record["ts_recv"]),
                "ts_known": self._now_ns()}
