"""Past bars, quotes and trades of Alpaca as files that `replay` and `backtest` read: `python -m sigmaflow fetch`.

One file for each symbol and kind, `alpaca_AAPL_bars_20240102_20240103.zst`: the venue gives several symbols one after
another, and files are merged in time when they are read. A line is `<known ns> [<event>]`, the event as the stream
sends it; a bar is known at its end. A file has its name once it is whole, so a fetch that was ended asks again for what
is not there, and only for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import orjson
import zstandard

from connectors.market.alpaca import KINDS, known_ns
from connectors.market.coinbase import nanoseconds
from connectors.market.lines import lines
from connectors.venues.alpaca import STREAMS, Alpaca
from connectors.venues.backoff import Backoff
from connectors.venues.errors import Refused, VenueError
from connectors.venues.rest import Rest
from sigmaflow.errors import Failed, UserError

STAGE = "fetch"
LETTERS = {name: letter for letter, name in KINDS.items() if letter in "bqt"}
SPACING_S = 0.31
"""The venue takes 200 requests a minute."""
BASE_S, CAP_S = 1.0, 60.0


def fetch(symbols: Sequence[str], kinds: Sequence[str], since: str, until: str, out: Path, market: str = "stocks",
          source: str = "iex", address: str = "", environ: Mapping[str, str] | None = None,
          spacing_s: float = SPACING_S, base_s: float = BASE_S,
          say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Fetch from `since` on and before `until` (ISO 8601, UTC) into the folder `out`; what each file holds.

    Raises UserError for a wrong time, kind or key and for what the venue refuses, Failed where it does not answer.
    """
    unknown = [kind for kind in kinds if kind not in LETTERS]
    if unknown or not kinds:
        raise UserError(STAGE, "--kinds must be known", repr(",".join(unknown)), f"use {', '.join(LETTERS)}")
    if market not in STREAMS:
        raise UserError(STAGE, "--market must be known", repr(market), f"use {', '.join(STREAMS)}")
    span = moment(since), moment(until)
    if not span[0] < span[1]:
        raise UserError(STAGE, "--since must be before --until", f"they are {since!r} and {until!r}", "correct them")
    venue = Alpaca(**({"rest_address": address} if address else {}), market=market, source=source, environ=environ)
    asked = [(symbol, kind) for symbol in symbols for kind in kinds]

    async def run() -> list[dict[str, Any]]:
        rest = Rest(venue.rest_address, Backoff(Random(), base_s, CAP_S), venue.headers(), spacing_s)
        try:
            return [await _file(venue, rest, symbol, kind, span, out, say) for symbol, kind in asked]
        finally:
            await rest.close()

    out.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(run())
    except Refused as error:
        raise UserError(STAGE, "alpaca must accept the request", f"it says: {error}",
                        "correct the symbol, the time, --source or the key") from None
    except VenueError as error:
        raise Failed(STAGE, "alpaca must answer", str(error),
                     "start it again later: files that are there are not asked for again") from None


async def _file(venue: Alpaca, rest: Rest, symbol: str, kind: str, span: tuple[datetime, datetime], out: Path,
                say: Callable[[str], None]) -> dict[str, Any]:
    """One symbol's events of one kind, page by page; no file where there are none."""
    since, until = span
    file = out / f"alpaca_{symbol.replace('/', '-')}_{kind}_{_stamp(since)}_{_stamp(until)}.zst"
    answer = {"symbol": symbol, "kind": kind, "file": str(file), "new": not file.exists()}
    if file.exists():
        say(f"{file} is there")
        return answer | {"events": sum(1 for _ in lines(file))}
    count, end, part = 0, int(until.timestamp()) * 1_000_000_000, file.with_suffix(".part")
    with ExitStack() as opened:
        packed = zstandard.ZstdCompressor().stream_writer(opened.enter_context(part.open("wb")))
        opened.enter_context(packed)
        async for page in venue.history(rest, LETTERS[kind], [symbol], _iso(since), _iso(until)):
            events = [event for event in page["messages"] if nanoseconds(event["t"]) < end]
            packed.write(b"".join(b"%d [%s]\n" % (known_ns(event), orjson.dumps(event)) for event in events))
            count += len(events)
    if count:
        part.rename(file)
    else:
        part.unlink()
    say(f"{symbol}: {count:,} {kind}" + (f" in {file}" if count else ""))
    return answer | {"events": count}


def moment(text: str) -> datetime:
    """A time in UTC. Raises UserError for what is none.

    >>> moment("2024-01-02"), moment("2024-01-02T09:30-05:00")
    (datetime.datetime(2024, 1, 2, 0, 0, tzinfo=datetime.timezone.utc), \
datetime.datetime(2024, 1, 2, 14, 30, tzinfo=datetime.timezone.utc))
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(STAGE, "--since and --until must be times", repr(text),
                        "write for example 2024-01-02 or 2024-01-02T14:30") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def _iso(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def _stamp(when: datetime) -> str:
    """A time in a file's name, as short as it can be.

    >>> _stamp(moment("2024-01-02")), _stamp(moment("2024-01-02T14:30"))
    ('20240102', '20240102T143000')
    """
    return f"{when:%Y%m%d}" if (when.hour, when.minute, when.second) == (0, 0, 0) else f"{when:%Y%m%dT%H%M%S}"
