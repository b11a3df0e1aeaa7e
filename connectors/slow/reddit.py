"""New posts of subreddits: the public listing, or by OAuth where REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET are set.

A listing is newest first, a hundred a page and a thousand in all. It is read until a post that the log holds; what is
new is written oldest first, so a process that is killed in between goes on where it was. Who posted is not kept.
https://www.reddit.com/dev/api#GET_new, https://github.com/reddit-archive/reddit/wiki/OAuth2
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from connectors.slow.items import NS, Record, identity, plain
from connectors.slow.source import STAGE, Base, Manners
from connectors.venues.errors import Lost, Refused
from connectors.venues.rest import Answer
from sigmaflow.errors import UserError

ADDRESS, OAUTH_ADDRESS = "https://www.reddit.com", "https://oauth.reddit.com"
CLIENT, SECRET = "REDDIT_CLIENT_ID", "REDDIT_CLIENT_SECRET"
FORUMS = ("wallstreetbets", "stocks", "CryptoCurrency")
PAGE, PAGES = 100, 10
"""The most that a listing gives."""
SPACING_S, OAUTH_SPACING_S = 6.0, 0.6
"""Ten requests a minute without a key, a hundred with one."""
EARLY_S = 60.0
"""A token is renewed so long before it ends."""


class Reddit(Base):
    """Subreddits as a source. Raises UserError where only half of a key is set."""

    name, topic, every_s = "reddit", "posts.v1", 120.0

    def __init__(self, forums: Sequence[str] = FORUMS, address: str = ADDRESS, oauth_address: str = OAUTH_ADDRESS,
                 environ: Mapping[str, str] | None = None, manners: Manners | None = None) -> None:
        super().__init__(manners)
        env = os.environ if environ is None else environ
        half = [name for name in (CLIENT, SECRET) if not env.get(name)]
        if len(half) == 1:
            raise UserError(STAGE, "reddit must have a whole key or none", f"{half[0]} is not set",
                            f"export {half[0]}, or unset the other")
        self.parts, self._client, self._secret = tuple(forums), env.get(CLIENT, ""), SecretStr(env.get(SECRET, ""))
        spacing = OAUTH_SPACING_S if self._client else SPACING_S
        self._rest = self.rest(oauth_address if self._client else address, spacing)
        self._login = self.rest(address, spacing)
        self._token, self._until = "", 0.0
        self._seen: set[str] = set()

    def remember(self, record: Record) -> None:
        """Know the post, and that its forum was read before."""
        super().remember(record)
        self._seen.add(record["forum"])

    async def poll(self, part: str, ts_recv: int) -> list[Record]:
        """Posts of a subreddit that are new, oldest first."""
        fresh: dict[str, Record] = {}
        after, known = "", False
        for _ in range(PAGES):
            listing = _listing(part, await self._page(part, after))
            for post in listing["children"]:
                record = _record(part, post, ts_recv)
                known = known or record["id"] in self.ids
                if record["id"] not in self.ids:
                    fresh.setdefault(record["id"], record)
            after = listing.get("after") or ""
            if known or not after:
                break
        self.gaps += part in self._seen and not known
        return sorted(reversed(fresh.values()), key=lambda r: r["ts_published"])

    async def _page(self, forum: str, after: str) -> Answer:
        params = {"limit": str(PAGE), "raw_json": "1"} | ({"after": after} if after else {})
        if not self._client:
            return self._heed(await self._rest.ask("GET", f"/r/{forum}/new.json", params=params))
        try:
            return self._heed(await self._rest.ask(
                "GET", f"/r/{forum}/new", params=params, headers={"Authorization": f"Bearer {await self._bearer()}"}))
        except Refused as error:
            if error.status != 401:
                raise
            self._token = ""
            raise Lost("reddit: the token has ended; another is asked for at the next look") from None

    def _heed(self, answer: Answer) -> Answer:
        """Wait where the host says that no request is left."""
        try:
            if float(answer.headers.get("x-ratelimit-remaining", "1")) < 1:
                self._rest.pause(float(answer.headers.get("x-ratelimit-reset", "0")))
        except ValueError:
            pass
        return answer

    async def _bearer(self) -> str:
        """A token for reading, the one that is held while it lasts."""
        now = asyncio.get_running_loop().time()
        if not self._token or now > self._until - EARLY_S:
            answer = (await self._login.ask(
                "POST", "/api/v1/access_token", data={"grant_type": "client_credentials"},
                auth=(self._client, self._secret.get_secret_value()))).json()
            try:
                self._token, self._until = str(answer["access_token"]), now + float(answer["expires_in"])
            except (KeyError, TypeError, ValueError):
                raise Refused(f"reddit: no token ({str(answer)[:100]})") from None
        return self._token


def _listing(forum: str, answer: Answer) -> dict[str, Any]:
    try:
        data: dict[str, Any] = answer.json()["data"]
        list(data["children"])
        return data
    except (KeyError, TypeError):
        raise Lost(f"reddit: the answer for {forum} is no listing") from None


def _record(forum: str, post: Any, ts_recv: int) -> Record:
    """One post as a message. Raises Lost for what is none."""
    try:
        data = post["data"]
        name = str(data["name"])
        return {"id": identity("reddit", name), "source": "reddit", "forum": forum, "guid": name,
                "title": plain(data["title"]), "text": plain(data.get("selftext")),
                "url": f"{ADDRESS}{data.get('permalink') or ''}", "votes": int(data.get("score") or 0),
                "comments": int(data.get("num_comments") or 0), "ts_published": int(data["created_utc"]) * NS,
                "ts_recv": ts_recv}
    except (KeyError, TypeError, ValueError) as error:
        raise Lost(f"reddit: a post of {forum} cannot be read ({type(error).__name__} {error})") from None
