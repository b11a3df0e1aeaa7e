"""What a slow source is, and what all of them say to a host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from connectors.slow.items import Record
from connectors.venues.backoff import Backoff
from connectors.venues.rest import Rest, no_requests
from sigmaflow.errors import UserError

STAGE = "slow"
AGENT = "python:sigmaflow:0.1.0"
CONTACT = "SIGMAFLOW_CONTACT"
"""Environment: who to write to; hosts like to know, and Reddit asks for it."""


@dataclass(frozen=True)
class Manners:
    """How a host is treated, in seconds. `spacing_s` None leaves the distance of two requests to the source."""

    spacing_s: float | None = None
    base_s: float = 1.0
    cap_s: float = 60.0
    """First and longest wait after a failure."""
    rng: Random = field(default_factory=Random)


class Source(Protocol):
    """One kind of slow data: its topic, and what is new in each of its parts."""

    name: str
    topic: str
    every_s: float
    """Usual seconds between two looks at a part."""
    parts: tuple[str, ...]
    """What is looked at one after another: series, feeds, forums."""
    gaps: int
    """Times that more had come since the last look than the host still tells."""
    requests: dict[str, float]
    """Counts of what was asked of its hosts."""

    def remember(self, record: Record) -> None:
        """Take in a record that the log holds."""

    async def poll(self, part: str, ts_recv: int) -> list[Record]:
        """What is new in a part, oldest first. Raises VenueError."""

    def confirmed(self, part: str) -> None:
        """All that the last look at a part gave is in the log."""

    async def close(self) -> None:
        """Let go of connections."""


class Base:
    """What most sources do the same."""

    gaps = 0

    def __init__(self, manners: Manners | None) -> None:
        self._manners = manners or Manners()
        self.ids: set[str] = set()
        self.requests = no_requests()
        self._rests: dict[str, Rest] = {}

    def remember(self, record: Record) -> None:
        """Know the record by its id."""
        self.ids.add(record["id"])

    def confirmed(self, part: str) -> None:
        """Nothing is kept that a failed write would make wrong."""

    def rest(self, address: str, spacing_s: float, headers: Mapping[str, str] | None = None,
             follow: bool = False) -> Rest:
        """The one client of a host, so that all requests to it keep their distance."""
        if address not in self._rests:
            manners = self._manners
            distance = spacing_s if manners.spacing_s is None else manners.spacing_s
            self._rests[address] = Rest(address, Backoff(manners.rng, manners.base_s, manners.cap_s),
                                        {"User-Agent": agent()} | dict(headers or {}), distance, follow,
                                        requests=self.requests)
        return self._rests[address]

    async def close(self) -> None:
        """Let go of connections."""
        for rest in self._rests.values():
            await rest.close()


def agent(environ: Mapping[str, str] | None = None) -> str:
    """Who we say that we are.

    >>> agent({"SIGMAFLOW_CONTACT": "ops@example.org"})
    'python:sigmaflow:0.1.0 (ops@example.org)'
    """
    contact = (os.environ if environ is None else environ).get(CONTACT, "")
    return f"{AGENT} ({contact})" if contact else AGENT


def required(name: str, who: str, where: str, environ: Mapping[str, str]) -> str:
    """A key from the environment. Raises UserError where there is none."""
    found = environ.get(name, "")
    if not found:
        raise UserError(STAGE, f"{who} must have a key", f"{name} is not set", f"get one at {where} and export {name}")
    return found
