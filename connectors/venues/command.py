"""A venue's ticks into market.ticks.v1: `python -m sigmaflow feed coinbase --symbols BTC-USD,ETH-USD`.

It runs until TERM or INT; then what was read is written and confirmed. Once in ten seconds a line tells what it does.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from connectors.market.columns import Instrument
from connectors.metrics import serving
from connectors.resume import next_seqs, numbering
from connectors.ticks import TOPIC, TickWriter
from connectors.venues.alpaca import Alpaca
from connectors.venues.binance import Binance
from connectors.venues.bybit import Bybit
from connectors.venues.coinbase import Coinbase
from connectors.venues.feed import STAGE, Feed
from connectors.venues.health import VenueExporter
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings, load

VENUES: dict[str, Callable[..., Any]] = {
    "coinbase": Coinbase, "binance": Binance, "bybit": Bybit, "alpaca": Alpaca,
    "bybit-linear": partial(Bybit, category="linear")}
"""By the names that users write; their order is that of the ports of their metrics."""
REPORT_S = 10.0


def run(name: str, symbols: str = "", metrics_port: int | None = None, address: str = "", rest_address: str = "",
        topic: str = TOPIC) -> None:
    """Feed a venue's symbols (with commas; its usual ones where there are none) from its addresses or others.

    Metrics are served on `metrics_port`; each venue has one of its own unless one is given, and 0 serves none.
    Raises UserError for an unknown venue, a symbol that it refuses, a taken port, or Kafka that does not answer.
    """
    settings, venue = load(), _venue(name, address, rest_address)
    wanted = tuple(symbol.strip() for symbol in symbols.split(",") if symbol.strip()) or venue.default_symbols
    writer = TickWriter(settings, topic)
    instruments: list[Instrument] = [(of, symbol) for of in venue.venues for symbol in wanted]
    known = next_seqs(settings, instruments, topic)
    feed = Feed(venue, wanted, writer, first=numbering(known), gap=bool(known), say=_say)
    port = _port(settings, name) if metrics_port is None else metrics_port
    with serving(STAGE, [VenueExporter(feed.health)], settings.metrics.host, port):
        _say(f"{name}: {', '.join(wanted)} to {topic} on {settings.kafka.bootstrap}")
        asyncio.run(_until_signalled(feed))
    _say(f"{feed.health.line()}; all of them confirmed")


def _venue(name: str, address: str, rest_address: str) -> Any:
    if name not in VENUES:
        raise UserError(STAGE, "VENUE must be known", f"it is {name!r}", f"write one of {', '.join(VENUES)}")
    other = {"address": address, "rest_address": rest_address}
    return VENUES[name](**{key: value for key, value in other.items() if value})


def _port(settings: Settings, name: str) -> int:
    """The ports after the one of the results: one a venue."""
    return settings.metrics.port + 1 + list(VENUES).index(name)


async def _until_signalled(feed: Feed) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    report = asyncio.create_task(_report(feed))
    try:
        await feed.run(stop)
    finally:
        report.cancel()


async def _report(feed: Feed) -> None:
    before = 0
    while True:
        await asyncio.sleep(REPORT_S)
        frames = feed.health.frames
        _say(f"{feed.health.line()}, {(frames - before) / REPORT_S:,.0f} frames/s")
        before = frames


def _say(text: str) -> None:
    print(text, flush=True)
