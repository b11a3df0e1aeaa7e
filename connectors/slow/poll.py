"""Looks at a slow source again and again, and writes what is new: nothing twice, nothing lost between two starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random

from connectors.slow.health import Health, kind
from connectors.slow.log import Log
from connectors.slow.source import STAGE, Source
from connectors.venues.errors import RateLimited, Refused, VenueError
from sigmaflow.errors import UserError

JITTER = 0.1
"""Most that a wait is longer than asked for, as a share: two processes do not stay in step."""


class Poller:
    """One source and its log. `every_s` is the time between two looks at the same part. `health` tells how it is."""

    def __init__(self, source: Source, log: Log, every_s: float | None = None,
                 now_ns: Callable[[], int] = time.time_ns, rng: Random | None = None,
                 say: Callable[[str], None] = print) -> None:
        self.source, self._log, self._now_ns, self._say = source, log, now_ns, say
        self._every_s, self._rng = source.every_s if every_s is None else every_s, rng or Random()
        self.health = Health(source.name, source.parts, self._every_s, source.requests, lambda: source.gaps)
        self._waits: dict[str, float] = {}
        """Until when a part is left alone, by the loop's clock: its host said so."""

    async def run(self, stop: asyncio.Event, rounds: int = 0) -> None:
        """Poll until `stop`, or so many rounds. Raises UserError for Kafka that does not answer, and for a part that
        its host refuses in the first round.
        """
        for _, record in self._log.read():
            self.source.remember(record)
        done = 0
        try:
            while not stop.is_set():
                for part in self.source.parts:
                    await self._look(part, first=done == 0)
                    if stop.is_set():
                        break
                done += 1
                if done == rounds:
                    break
                await _either(stop, self._every_s * (1 + JITTER * self._rng.random()))
        finally:
            await self.source.close()

    async def _look(self, part: str, first: bool) -> None:
        """Look at one part; what fails is told and tried again at the next look."""
        loop, health = asyncio.get_running_loop(), self.health
        if loop.time() < self._waits.get(part, 0.0):
            return
        health.looks += 1
        try:
            fresh = await self.source.poll(part, self._now_ns())
        except VenueError as error:
            if first and isinstance(error, Refused):
                raise UserError(STAGE, f"{self.source.name} must accept {part}", f"it says: {error}",
                                "correct its name, its address or the key") from None
            health.errors[kind(error)] += 1
            if isinstance(error, RateLimited):
                self._waits[part] = loop.time() + error.wait_s
            self._say(f"{self.source.name}: {part}: {error}")
            return
        self._log.write(fresh)
        for record in fresh:
            self.source.remember(record)
        self.source.confirmed(part)
        health.success(part, len(fresh))
        if fresh:
            self._say(f"{self.source.name}: {len(fresh):,} new of {part}")


async def _either(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass
