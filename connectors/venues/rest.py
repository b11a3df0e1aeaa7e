"""Polite HTTP requests to a venue: one at a time, retried when it makes sense, never sooner than the venue asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
import orjson

from connectors.venues.backoff import Backoff, retry_after_s
from connectors.venues.errors import Lost, RateLimited, Refused

TIMEOUT_S = 10.0
ATTEMPTS = 5
LONGEST_WAIT_S = 120.0
"""A wait that is sat out; a longer one (a ban may last days) is told to the caller."""
LIMITS = (418, 429)


class Rest:
    """GET requests for JSON under one address."""

    def __init__(self, address: str, backoff: Backoff, headers: Mapping[str, str] | None = None) -> None:
        self._client = httpx2.AsyncClient(base_url=address, timeout=TIMEOUT_S, headers=dict(headers or {}))
        self._backoff = backoff
        self._one_at_a_time = asyncio.Lock()
        self._not_before = 0.0
        self.limited = 0
        """Answers that said to wait."""

    async def get(self, path: str, **params: str | int) -> Any:
        """The answer to a request, decoded.

        Tries again up to ATTEMPTS times on a lost connection, a server's error and a limit. Raises Lost, RateLimited
        where the venue asks for more than LONGEST_WAIT_S, and Refused for any other answer of 4xx.
        """
        async with self._one_at_a_time:
            self._backoff.reset()
            while True:
                await asyncio.sleep(max(0.0, self._not_before - asyncio.get_running_loop().time()))
                try:
                    return await self._attempt(path, params)
                except (Lost, RateLimited) as error:
                    wait_s = max(self._backoff.next_s(), error.wait_s if isinstance(error, RateLimited) else 0.0)
                    self._not_before = asyncio.get_running_loop().time() + wait_s
                    if self._backoff.attempts >= ATTEMPTS or wait_s > LONGEST_WAIT_S:
                        raise

    async def _attempt(self, path: str, params: Mapping[str, str | int]) -> Any:
        try:
            answer = await self._client.get(path, params=dict(params))
        except httpx2.HTTPError as error:
            raise Lost(f"{path}: {type(error).__name__} {error}") from None
        if answer.status_code in LIMITS:
            self.limited += 1
            raise RateLimited(answer.status_code, retry_after_s(answer.headers.get("retry-after"), datetime.now(UTC)))
        if answer.status_code >= 500:
            raise Lost(f"{path}: HTTP {answer.status_code}")
        if answer.status_code >= 400:
            raise Refused(f"{path}: HTTP {answer.status_code} {answer.text[:200]}")
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise Lost(f"{path}: the answer is no JSON ({error})") from None

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()
