"""One venue as a source of ticks: connect, subscribe, read, and connect again, until told to stop.

    feed = Feed(Coinbase(), ("BTC-USD", "ETH-USD"), TickWriter(load()), first=next_seqs.get)
    await feed.run(stop)

A frame goes through the venue's session (the parser that also reads recordings) into ticks, and these to the sink, all
in one task: a sink that waits because Kafka is slow keeps us from reading, the socket's buffer fills, and the venue's
server is slowed down. Nothing is dropped on the way. What ends a run in order: `stop`. What ends it with an error: the
sink's own (Kafka does not answer), and a venue that refuses the subscription in the first minute.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from connectors.market.columns import Instrument, Ticks
from connectors.market.frames import BAD, Frame, framed
from connectors.market.recordings import Builder
from connectors.market.records import Record, checked
from connectors.venues.backoff import Backoff, asked_s
from connectors.venues.errors import Lost, RateLimited, Refused, VenueError
from connectors.venues.health import Health
from connectors.venues.rest import LIMITS, Rest
from sigmaflow.errors import UserError

STAGE = "feed"
ROWS = 512
"""Ticks that are written together at most."""
LARGEST = 1 << 26
"""Bytes of the largest message taken: a whole Coinbase book has a few million, the library's own limit is 2**20."""
QUEUE = 64
"""Frames that wait to be read before the socket is left alone."""
WAKES = 4
"""Times that the watch wakes in `silence_s`: so often without a frame in between, the connection is silent."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds."""

    connect_s: float = 10.0
    """For a connection and for the subscriptions to be sent."""
    silence_s: float = 20.0
    """Without a frame (a heartbeat, where the venue sends them) until the connection is taken for dead."""
    resync_s: float = 10.0
    """For a snapshot until it is asked for again."""
    close_s: float = 1.0
    """For the venue to say goodbye."""
    steady_s: float = 60.0
    """A connection that lasted so long counts as one that worked: the next backoff begins anew."""
    base_s: float = 1.0
    cap_s: float = 60.0
    """First and longest backoff. Half of the first is the shortest: Binance takes 300 connections in 5 minutes."""
    gather_s: float = 0.002
    """For more ticks, before those that are there are written."""


class Sink(Protocol):
    """Where ticks go: `connectors.ticks.TickWriter`."""

    def write(self, ticks: Ticks) -> None:
        """Take a chunk in its order; may wait, must not drop."""

    def flush(self) -> None:
        """Wait until all of them are confirmed."""


class Session(Protocol):
    """Reads the frames of one connection and knows what is missing: a `connectors.market.session.LiveSession`."""

    used: frozenset[str]
    """Kinds of frames that say something; all others are ignored."""
    wanting: set[str]
    gaps: int
    sent_ns: int
    refusals: list[str]
    checks: Counter[str]

    def frame(self, ts_recv: int, frame: Frame) -> tuple[str, Sequence[Record]]:
        """Kind and records of one frame."""


class Link(Protocol):
    """What a venue may do on its connection."""

    rest: Rest

    async def send(self, *texts: str) -> None:
        """Send texts."""

    def read(self, frame: Frame) -> None:
        """Take a frame that came another way, such as the answer to a request."""


class Venue(Protocol):
    """One venue: addresses, subscriptions, and how to get a book that is missing."""

    name: str
    """Lower case, as the user writes it."""
    rest_address: str
    heartbeat: str | None
    """Kind of frame that comes at least every few seconds; None where any frame is a sign of life."""

    def address(self, symbols: Sequence[str]) -> str:
        """Where to connect."""

    def session(self, symbols: Sequence[str], gap: bool) -> Session:
        """A parser for a new connection; `gap` where there was one before."""

    def greeting(self, symbols: Sequence[str]) -> list[str]:
        """Texts to send once connected."""

    def answer(self, frame: Frame, symbols: Sequence[str]) -> list[str]:
        """Texts to send because of a frame; none unless the venue asks for some."""
        return []

    def ping(self) -> str | None:
        """Text that asks for a sign of life; None asks with a WebSocket ping."""
        return None

    def headers(self) -> dict[str, str]:
        """Headers of requests: keys, where the data is not public."""
        return {}

    async def resync(self, link: Link, symbols: Sequence[str]) -> None:
        """Get the snapshots of these symbols."""


class Feed:
    """A venue's ticks, written to a sink. `health` tells how it is.

    `first` gives the number of an instrument's first tick; `gap` says that there were ticks before, of an earlier run.
    """

    def __init__(
        self, venue: Venue, symbols: Sequence[str], sink: Sink, *,
        first: Callable[[Instrument], int] = lambda _: 1,
        gap: bool = False,
        patience: Patience | None = None,
        rng: Random | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        say: Callable[[str], None] = print,
    ) -> None:
        self.venue, self.symbols, self.patience = venue, tuple(symbols), patience or Patience()
        self._sink, self._now_ns, self._say, self._rng = sink, now_ns, say, rng or Random()
        self._backoff = self._new_backoff()
        self._builder = Builder(first)
        self._gap = gap
        self._started: float | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._broken: asyncio.Future[None] | None = None
        self.health = Health(venue.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Feed until `stop`; then write and flush what was read. Raises UserError as the module says."""
        loop = asyncio.get_running_loop()
        self._broken, self._started = loop.create_future(), loop.time()
        rest = Rest(self.venue.rest_address, self._new_backoff(), self.venue.headers())
        try:
            while not stop.is_set():
                await self._attempt(rest, stop)
        finally:
            await rest.close()
            self._broken.cancel()
            self._flush()
            self._sink.flush()

    def _new_backoff(self) -> Backoff:
        return Backoff(self._rng, self.patience.base_s, self.patience.cap_s)

    async def _attempt(self, rest: Rest, stop: asyncio.Event) -> None:
        """One connection and the wait after it."""
        loop, wait_s = asyncio.get_running_loop(), 0.0
        began = loop.time()
        assert self._broken is not None and self._started is not None
        try:
            await _first(self._connection(rest), stop.wait(), asyncio.shield(self._broken))
            return
        except Refused as error:
            if loop.time() - self._started < self.patience.steady_s:
                raise UserError(STAGE, f"{self.venue.name} must accept the subscription", f"it says: {error}",
                                "correct --symbols or the key") from None
            self.said(str(error))
        except VenueError as error:
            wait_s = self.limit(error)
            self.said(str(error))
        finally:
            self.health.connected = False
        if loop.time() - began >= self.patience.steady_s:
            self._backoff.reset()
        await _first(asyncio.sleep(max(wait_s, self._backoff.next_s())), stop.wait())
        self.health.reconnects += not stop.is_set()

    def limit(self, error: VenueError) -> float:
        """Seconds that the venue asks us to wait, which are counted; 0 for any other error."""
        if not isinstance(error, RateLimited):
            return 0.0
        self.health.limited += 1
        return error.wait_s

    async def _connection(self, rest: Rest) -> None:
        """Read one connection to its end. Raises VenueError for why it ended."""
        async with _Open(self.venue, self.symbols, self.patience) as socket:
            session = self.venue.session(self.symbols, self._gap)
            session.checks = self.health.checks
            link = _Link(self, socket, session, rest)
            self.health.connected = True
            try:
                await link.send(*self.venue.greeting(self.symbols))
                await _first(link.receive(), link.watch(), link.repair())
            finally:
                self._flush()

    # -------------------------------------------------------------------------------------------- frames and ticks

    def take(self, message: bytes | Frame, session: Session) -> tuple[str, Frame] | None:
        """Read one frame into ticks; count what it was. Gives its kind, and None for one that cannot be read."""
        ts_recv, health = self._now_ns(), self.health
        health.heard = health.monotonic()
        self._gap = True
        try:
            frame = decoded(message) if isinstance(message, bytes) else message
            kind, records = session.frame(ts_recv, frame)
            good = [checked(record) for record in records]
        except BAD as error:
            health.reject(error)
            return None
        (health.used if kind in session.used else health.ignored)[kind] += 1
        if session.sent_ns:
            health.arrived(ts_recv, session.sent_ns)
        for record in good:
            self._builder.add(record)
        self._gather()
        return kind, frame

    def _gather(self) -> None:
        """Write a full chunk now, a part of one a moment later."""
        waiting = len(self._builder)
        if waiting >= ROWS:
            self._flush()
        elif waiting and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(self.patience.gather_s, self._gathered)

    def _gathered(self) -> None:
        """Write what has come together; an error ends the run, since nobody else would hear of it."""
        try:
            self._flush()
        except Exception as error:
            if self._broken is None or self._broken.done():
                raise
            self._broken.set_exception(error)

    def _flush(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if len(self._builder):
            ticks = self._builder.take()
            self._sink.write(ticks)
            self.health.ticks += len(ticks)

    def said(self, text: str) -> None:
        """Tell the log."""
        self._say(f"{self.venue.name}: {text}")


class _Link:
    """One connection: reads it, watches it, and has books repaired."""

    def __init__(self, feed: Feed, socket: ClientConnection, session: Session, rest: Rest) -> None:
        self._feed, self._socket, self._session, self.rest = feed, socket, session, rest
        self._signs = self._gaps = 0
        self._wanting = asyncio.Event()

    async def send(self, *texts: str) -> None:
        """Send texts. Raises Lost where the venue does not take them."""
        try:
            async with asyncio.timeout(self._feed.patience.connect_s):
                for text in texts:
                    await self._socket.send(text)
        except (WebSocketException, OSError, TimeoutError) as error:
            raise Lost(f"sending failed ({type(error).__name__} {error})") from None

    def read(self, frame: Frame) -> None:
        """Take a frame that came another way."""
        self._feed.take(frame, self._session)
        self._note()

    async def receive(self) -> None:
        """Read frames until the connection ends. Raises Lost then."""
        venue, take, session, symbols = self._feed.venue, self._feed.take, self._session, self._feed.symbols
        while True:
            try:
                raw = await self._socket.recv(decode=False)
            except WebSocketException as error:
                raise Lost(str(error)) from None
            taken = take(raw, session)
            if venue.heartbeat is None or (taken is not None and taken[0] == venue.heartbeat):
                self._signs += 1
            if taken is not None and (answers := venue.answer(taken[1], symbols)):
                await self.send(*answers)
            self._note()

    def _note(self) -> None:
        """Act on what the session has found out. Raises Refused for what the venue does not accept."""
        session = self._session
        if session.gaps != self._gaps:
            self._feed.health.gaps += session.gaps - self._gaps
            self._gaps = session.gaps
        if session.wanting:
            self._wanting.set()
        if session.refusals:
            raise Refused(session.refusals[-1])

    async def watch(self) -> None:
        """Raise Lost when the connection has been silent too long.

        Silence is counted in wakes without a sign, not in seconds: where a slow sink held up the whole process, the
        frames of that time are still to be read, and the clock would be wrong about them.
        """
        silence_s, venue, quiet, wakes, signs = self._feed.patience.silence_s, self._feed.venue, 0, 0, self._signs
        while True:
            await asyncio.sleep(silence_s / WAKES)
            quiet, signs, wakes = (0 if self._signs != signs else quiet + 1), self._signs, wakes + 1
            if quiet >= WAKES:
                raise Lost(f"no {venue.heartbeat or 'sign of life'} for {silence_s:g} s")
            if wakes % WAKES == 0 or quiet >= WAKES // 2:
                await self._ask(venue.ping())

    async def _ask(self, text: str | None) -> None:
        """Ask for a sign of life, by the venue's own ping where it has one."""
        if text is not None:
            await self.send(text)
            return
        try:
            pong = asyncio.ensure_future(await self._socket.ping())
        except WebSocketException:
            return                                         # `receive` tells why
        pong.add_done_callback(self._answered)

    def _answered(self, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None and self._feed.venue.heartbeat is None:
            self._signs += 1

    async def repair(self) -> None:
        """Have missing books sent, again and again until they are there."""
        feed, session = self._feed, self._session
        self._note()                                       # a venue that sends no snapshot by itself
        while True:
            await self._wanting.wait()
            if session.wanting:
                feed.health.resyncs += 1
                wait_s = feed.patience.resync_s
                try:
                    await feed.venue.resync(self, sorted(session.wanting))
                except (Lost, RateLimited) as error:       # of a request: the stream may be all right
                    wait_s = max(wait_s, feed.limit(error))
                    feed.said(str(error))
                await asyncio.sleep(wait_s if session.wanting else 0)
            if not session.wanting:
                self._wanting.clear()


class _Open:
    """A connection that is closed in any case, soon."""

    def __init__(self, venue: Venue, symbols: Sequence[str], patience: Patience) -> None:
        self._venue, self._symbols, self._patience = venue, symbols, patience
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> ClientConnection:
        try:
            self._socket = await connect(
                self._venue.address(self._symbols), compression=None, max_size=LARGEST, max_queue=QUEUE,
                ping_interval=None, open_timeout=self._patience.connect_s, close_timeout=self._patience.close_s)
        except InvalidStatus as error:
            raise _turned_away(error) from None
        except (WebSocketException, OSError, TimeoutError) as error:
            raise Lost(f"no connection ({type(error).__name__} {error})") from None
        return self._socket

    async def __aexit__(self, *_: object) -> None:
        if self._socket is not None:
            await self._socket.close()


def decoded(raw: bytes) -> Frame:
    """The frame in a message, sent as text or as binary."""
    return framed(orjson.loads(raw))


def _turned_away(error: InvalidStatus) -> VenueError:
    """What an answer other than 101 to the handshake means."""
    status = error.response.status_code
    if status in LIMITS:
        return RateLimited(status, asked_s(error.response.headers, datetime.now(UTC)))
    return Lost(f"the handshake was answered with HTTP {status}")


async def _first(*coroutines: Any) -> None:
    """Run all until one ends; raise what it raised, with the others cancelled and gone."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
