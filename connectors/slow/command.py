"""Slow data as commands: `python -m sigmaflow slow fred`, `rss`, `alpaca`, `reddit`, `sentiment`, `indicators`.

Each runs until TERM or INT, one process a command; what it has read is written and confirmed before it counts.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from connectors.consume import follow
from connectors.metrics import serving
from connectors.slow import indicators, sentiment
from connectors.slow.alpaca_news import AlpacaNews
from connectors.slow.fred import Fred
from connectors.slow.health import Health, SlowExporter
from connectors.slow.items import Record
from connectors.slow.lexicon import Lexicon
from connectors.slow.log import TopicLog, readable
from connectors.slow.ollama import Ollama
from connectors.slow.poll import Poller
from connectors.slow.reddit import Reddit
from connectors.slow.rss import Rss
from connectors.slow.source import STAGE
from connectors.venues.command import VENUES
from sigmaflow.settings import Settings, load

SOURCES: dict[str, Callable[..., Any]] = {"fred": Fred, "rss": Rss, "alpaca": AlpacaNews, "reddit": Reddit}
INDICATORS_S = 300.0
"""Least time between two indicators of one name: each becomes a ruling of each partition."""
PORTS = (*SOURCES, "sentiment", "indicators")
"""Commands in the order of the ports of their metrics, which come after those of the venues."""
OLDEST_S = 86_400.0
"""A local model is not asked about older texts: it would be days behind."""


def poll(name: str, parts: Sequence[str], every_s: float | None = None, address: str = "", rounds: int = 0,
         metrics_port: int | None = None, **options: Any) -> None:
    """Poll a source's parts, its usual ones where there are none, onto its topic.

    Metrics are served on `metrics_port`; each command has one of its own unless one is given, and 0 serves none.
    """
    more = options | ({"address": address} if address else {})
    source = SOURCES[name](*([tuple(parts)] if parts else []), **more)
    settings = load()
    poller = Poller(source, TopicLog(settings, source.topic), every_s, say=_say)
    _say(f"{name}: {', '.join(source.parts)} to {source.topic}")
    _run(lambda stop: poller.run(stop, rounds), poller.health, settings, metrics_port)


def score(about: Sequence[str], model: str = "", address: str = "", limit_s: float = 0.0,
          metrics_port: int | None = None) -> None:
    """Score news and posts as they come, by the lexicon or by a local model."""
    settings, words = load(), sentiment.about(about)
    options = ({"address": address} if address else {}) | ({"limit_s": limit_s} if limit_s else {})
    chosen = Ollama(model, **options) if model else Lexicon()    # type: ignore[arg-type]
    scorer = sentiment.Scorer(chosen, TopicLog(settings, sentiment.TOPIC), words, OLDEST_S if model else 0.0, say=_say)
    _say(f"{chosen.name} scores {', '.join(sentiment.SOURCES)} onto {sentiment.TOPIC}")
    _run(lambda stop: scorer.run(_items(settings, stop), stop), scorer.health, settings, metrics_port)


def indicate(model: str, series: Sequence[str], every_s: float = INDICATORS_S, history: bool = False,
             metrics_port: int | None = None) -> None:
    """Make indicators of macro.v1 and sentiment.v1 as they grow."""
    settings, wanted = load(), indicators.signs(series)
    log = TopicLog(settings, indicators.TOPIC, key=("name", "symbol"))
    maker = indicators.Maker(model, wanted, [record for _, record in log.read()], history)
    _say(f"{indicators.MACRO} of {', '.join(wanted)}; {indicators.SENTIMENT} of {model}; to {indicators.TOPIC}")
    health = Health("indicators", (indicators.TOPIC,), every_s)
    _run(lambda stop: _indicate(settings, maker, log, health, stop), health, settings, metrics_port)


async def _indicate(settings: Settings, maker: indicators.Maker, log: TopicLog, health: Health,
                    stop: asyncio.Event) -> None:
    macro, scores = (_read(settings, topic, stop) for topic in ("macro.v1", sentiment.TOPIC))
    while not stop.is_set():
        began = time.monotonic()
        new = [await asyncio.to_thread(_all, records) for records in (macro, scores)]
        made = maker.take(*new)
        log.write(made)
        health.looks += 1
        health.success(indicators.TOPIC, len(made))
        for record in made:
            _say(f"{record['name']} {record['symbol'] or 'of all'}: {record['value']:+.3f} ({record['detail']})")
        try:
            await asyncio.wait_for(stop.wait(), max(0.0, health.every_s - (time.monotonic() - began)))
        except TimeoutError:
            pass


def _all(records: Iterator[list[tuple[int, Record]]]) -> list[Record]:
    """What there is now: until a batch is empty."""
    found: list[Record] = []
    quiet = 0
    while quiet < QUIET and (batch := next(records, None)) is not None:
        quiet = 0 if batch else quiet + 1
        found += [record for _, record in batch]
    return found


QUIET = 10
"""Empty batches, a tenth of a second each, after which a topic is taken to be at its end: the first may take a while.
"""


def _read(settings: Settings, topic: str, stop: asyncio.Event) -> Iterator[list[tuple[int, Record]]]:
    """Batches of a topic from its beginning on, as they come; a message that cannot be read is left out and told."""
    for batch in follow(topic, settings, from_beginning=True, stop=stop.is_set):
        yield list(readable(topic, batch, _say))


def _items(settings: Settings, stop: asyncio.Event) -> Iterator[list[sentiment.Item]]:
    logs = [(topic, _read(settings, topic, stop)) for topic in sentiment.SOURCES]
    while not stop.is_set():
        for topic, records in logs:
            yield [sentiment.Item(topic, offset, record) for offset, record in next(records, [])]


def _run(run: Callable[[asyncio.Event], Awaitable[None]], health: Health, settings: Settings,
         metrics_port: int | None) -> None:
    """Serve metrics and run until a signal. Raises UserError for a taken port."""
    usual = settings.metrics.port + 1 + len(VENUES) + PORTS.index(health.source)
    port = usual if metrics_port is None else metrics_port
    async def until_signalled() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(stop)

    with serving(STAGE, [SlowExporter(health)], settings.metrics.host, port):
        asyncio.run(until_signalled())
    _say(f"{health.line()}; all of them confirmed")


def _say(text: str) -> None:
    print(text, flush=True)
