"""Polite HTTP requests to one host: one at a time, retried when it makes sense, never sooner than the host asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx2
import orjson

from connectors.venues.backoff import Backoff, asked_s
from connectors.venues.errors import Lost, RateLimited, Refused

TIMEOUT_S = 10.0
ATTEMPTS = 5
LONGEST_WAIT_S = 120.0
"""A wait that is sat out; a longer one (a ban may last days) is told to the caller."""
LIMITS = (418, 429)
NOT_MODIFIED = 304
LARGEST = 1 << 26
"""Bytes of the longest answer that is read: FRED's longest page has about ten million."""

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a host has answered: a status of 2xx or 304, headers by their lower-case names, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded. Raises Lost where it is no JSON: a proxy's page, or half an answer."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise Lost(f"the answer is no JSON ({error})") from None


REQUESTS = {"sent": "Requests sent, those sent again included", "retries": "Requests sent again",
            "limited": "Answers that said to wait", "waited_seconds": "Waits that hosts asked for"}
"""What is counted of requests, and what each count means."""


def no_requests() -> dict[str, float]:
    """Counts of requests that nobody has made yet, for one host or for several together."""
    return dict.fromkeys(REQUESTS, 0)


class Rest:
    """Requests under one address, at least `spacing_s` seconds apart, each tried `attempts` times.

    `follow`: whether to go where the host sends us; only without a key, which another host must not see.
    `requests` counts them, and may be shared.
    """

    def __init__(self, address: str, backoff: Backoff, headers: Mapping[str, str] | None = None,
                 spacing_s: float = 0.0, follow: bool = False, timeout_s: float = TIMEOUT_S,
                 attempts: int = ATTEMPTS, requests: dict[str, float] | None = None) -> None:
        self._client = httpx2.AsyncClient(base_url=address, timeout=timeout_s, headers=dict(headers or {}),
                                          follow_redirects=follow)
        self._backoff, self._spacing_s, self._attempts = backoff, spacing_s, attempts
        self._one_at_a_time = asyncio.Lock()
        self._not_before = 0.0
        self.requests = no_requests() if requests is None else requests

    async def get(self, path: str, **params: str | int) -> Any:
        """The answer to a request, decoded. Raises as `ask` does."""
        async def decoded() -> Any:
            return (await self._send("GET", path, params=params)).json()

        return await self._patiently(decoded)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """The answer to a request with any of httpx's options.

        Tries again on a lost connection, a server's error and a limit. Raises Lost, RateLimited
        where the host asks for more than LONGEST_WAIT_S, and Refused for any other answer of 4xx or another address.
        """
        return await self._patiently(lambda: self._send(method, path, **options))

    def pause(self, seconds: float) -> None:
        """Send nothing for so long: the host has told how much it takes."""
        self.requests["waited_seconds"] += seconds
        self._hold(seconds)

    def _hold(self, seconds: float) -> None:
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + seconds)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        async with self._one_at_a_time:
            self._backoff.reset()
            while True:
                await asyncio.sleep(max(0.0, self._not_before - asyncio.get_running_loop().time()))
                self.requests["sent"] += 1
                try:
                    return await attempt()
                except (Lost, RateLimited) as error:
                    wait_s = max(self._backoff.next_s(), self._asked_s(error))
                    self._hold(wait_s)
                    if self._backoff.attempts >= self._attempts or wait_s > LONGEST_WAIT_S:
                        raise
                    self.requests["retries"] += 1
                finally:
                    self._hold(self._spacing_s)

    def _asked_s(self, error: Lost | RateLimited) -> float:
        """Seconds that the host asks us to wait, which are counted; 0 where it says nothing."""
        if not isinstance(error, RateLimited):
            return 0.0
        self.requests["limited"] += 1
        self.requests["waited_seconds"] += error.wait_s
        return error.wait_s

    async def _send(self, method: str, path: str, **options: Any) -> Answer:
        try:
            async with self._client.stream(method, path, **options) as answer:
                return self._checked(path, answer.status_code, answer.headers, await _body(path, answer))
        except httpx2.HTTPError as error:
            raise Lost(f"{path}: {type(error).__name__} {error}") from None

    def _checked(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        if status in LIMITS:
            raise RateLimited(status, asked_s(headers, datetime.now(UTC)))
        if status >= 500:
            raise Lost(f"{path}: HTTP {status}")
        if status >= 300 and status != NOT_MODIFIED:
            where = headers.get("location", "") or body[:200].decode(errors="replace")
            raise Refused(f"{path}: HTTP {status} {where}", status)
        return Answer(status, {name.lower(): value for name, value in headers.items()}, body)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()


async def _body(path: str, answer: httpx2.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > LARGEST:
            raise Refused(f"{path}: the answer is longer than {LARGEST:,} bytes")
    return bytes(body)
