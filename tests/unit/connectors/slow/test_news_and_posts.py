"""News and posts on loopback: conditional requests, paging, logins, limits, and restarts that double nothing.

The answers are small and have the documented forms: RSS 2.0 (https://www.rssboard.org/rss-specification), Atom (RFC
4287), Alpaca's news (https://docs.alpaca.markets/reference/news-3), Reddit's listings (https://www.reddit.com/dev/api).
"""
from __future__ import annotations

from typing import Any

import pytest

from connectors.slow.alpaca_news import AlpacaNews
from connectors.slow.items import NS, iso_ns
from connectors.slow.reddit import Reddit
from connectors.slow.rss import Rss
from sigmaflow.errors import UserError
from tests.slow_server import NOW, QUICK, Asked, KilledError, ListLog, Reply, polled

ENV = {"APCA_API_KEY_ID": "a-key", "APCA_API_SECRET_KEY": "a-secret"}
ITEM = """<item><title>{0} &amp;amp; more</title><link>https://n.example/{0}</link><guid>{0}</guid>
<description>&lt;p&gt;About {0}&lt;/p&gt;</description><pubDate>Sat, 31 Jan 2026 0{1}:00:00 GMT</pubDate></item>"""
ATOM = b"""<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>t</title><id>f</id>
<entry><id>tag:1</id><title>Rates held</title><updated>2026-01-31T08:00:00+01:00</updated><content>All of it</content>
</entry></feed>"""


def feed(*names: str) -> bytes:
    items = "".join(ITEM.format(name, i) for i, name in reversed(list(enumerate(names, 1))))
    return f"<?xml version='1.0'?><rss version='2.0'><channel><title>t</title>{items}</channel></rss>".encode()


def rss(path: str = "/feed") -> Any:
    return lambda address: Rss((f"{address}{path}",), QUICK)


def test_a_feed_is_read_oldest_first_without_markup() -> None:
    log = ListLog()
    host = polled(lambda asked: (200, {}, feed("one", "two")), rss(), log)
    assert [(r["title"], r["text"], r["ts_published"]) for r in log.records] == [
        ("one & more", "About one", iso_ns("2026-01-31T01:00:00Z")),
        ("two & more", "About two", iso_ns("2026-01-31T02:00:00Z"))]
    assert host.asked[0].headers["user-agent"].startswith("python:sigmaflow:")


def test_an_unchanged_feed_costs_nothing() -> None:
    def reply(asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == '"v1"' and asked.headers.get("if-modified-since") == "yesterday":
            return 304, {}, b""
        return 200, {"etag": '"v1"', "last-modified": "yesterday"}, feed("one")

    log = ListLog()
    host = polled(reply, rss(), log, rounds=3)
    assert len(log.records) == 1 and len(host.asked) == 3
    assert "if-none-match" not in host.asked[0].headers and "if-none-match" in host.asked[2].headers


def test_what_the_log_holds_is_not_written_again() -> None:
    """Nor is an entry that was edited: the first one stays."""
    log, bodies = ListLog(), [feed("one"), feed("one", "two"), feed("one", "two").replace(b"About", b"On")]
    polled(lambda asked: (200, {}, bodies.pop(0)), rss(), log, rounds=3)
    assert [r["text"] for r in log.records] == ["About one", "About two"]
    again = Rss()
    for record in log.records:
        again.remember(record)
    assert again.ids == set(log.ids)


def test_atom_and_a_feed_that_has_moved() -> None:
    def reply(asked: Asked) -> Reply:
        return (301, {"location": "/new"}, b"") if asked.path == "/feed" else (200, {}, ATOM)

    log = ListLog()
    polled(reply, rss(), log)
    assert [(r["guid"], r["title"], r["text"]) for r in log.records] == [("tag:1", "Rates held", "All of it")]
    assert log.records[0]["ts_published"] == iso_ns("2026-01-31T07:00:00Z")


@pytest.mark.parametrize("body", [b"", b"<html><body>Sorry</body></html>", b"\x00\xff\xfe", b"{}"])
def test_what_is_no_feed_is_told(body: bytes) -> None:
    log, said = ListLog(), list[str]()
    polled(lambda asked: (200, {}, body), rss(), log, said=said)
    assert not log.records and "no feed" in said[0]


def test_an_entry_without_a_date_has_the_time_of_receipt_and_one_without_a_title_is_left_out() -> None:
    body = b"<rss version='2.0'><channel><item><title>a</title></item><item><guid>b</guid></item></channel></rss>"
    log = ListLog()
    polled(lambda asked: (200, {}, body), rss(), log)
    assert [(r["title"], r["ts_published"]) for r in log.records] == [("a", NOW)]


def test_one_bad_feed_does_not_hold_up_the_others() -> None:
    def reply(asked: Asked) -> Reply:
        return (503, {}, b"") if asked.path == "/bad" else (200, {}, feed("one"))

    log, said = ListLog(), list[str]()
    polled(reply, lambda address: Rss((f"{address}/bad", f"{address}/good"), QUICK), log, said=said)
    assert len(log.records) == 1 and "HTTP 503" in said[0]


# ------------------------------------------------------------------------------------------------------------ alpaca


def article(number: int) -> dict[str, Any]:
    return {"id": number, "headline": f"News {number}", "author": "x", "created_at": "2026-01-31T09:00:00Z",
            "updated_at": "2026-01-31T09:00:01Z", "summary": "s", "content": "", "images": [], "source": "benzinga",
            "symbols": ["AAPL", "MSFT"], "url": f"https://n.example/{number}"}


def alpaca(count: int) -> Any:
    def reply(asked: Asked) -> Reply:
        assert (asked.headers["apca-api-key-id"], asked.headers["apca-api-secret-key"]) == ("a-key", "a-secret")
        at = int(asked.params.get("page_token", "0"))
        more = {"next_page_token": str(at + 2) if at + 2 < count else None}
        return 200, {}, {"news": [article(n) for n in range(at, min(at + 2, count))]} | more

    return reply


def test_alpaca_s_pages_and_where_the_next_look_begins() -> None:
    log = ListLog()
    host = polled(alpaca(5), lambda address: AlpacaNews(("AAPL", "MSFT"), address, ENV, QUICK), log, rounds=2)
    assert [r["guid"] for r in log.records] == list("01234") and log.records[0]["symbols"] == "AAPL,MSFT"
    starts = [asked.params["start"] for asked in host.asked if "page_token" not in asked.params]
    assert starts == ["2026-01-30T09:30:00Z", "2026-01-31T08:30:00Z"]
    polled(alpaca(6), lambda address: AlpacaNews(("AAPL", "MSFT"), address, ENV, QUICK), log)
    assert [r["guid"] for r in log.records] == list("012345")


def test_alpaca_without_a_key() -> None:
    with pytest.raises(UserError, match="APCA_API_SECRET_KEY is not set"):
        AlpacaNews(environ={"APCA_API_KEY_ID": "a"})


# ------------------------------------------------------------------------------------------------------------ reddit


def post(number: int) -> dict[str, Any]:
    return {"kind": "t3", "data": {"name": f"t3_{number}", "id": str(number), "title": f"Post {number}", "score": 3,
                                   "selftext": "so &amp; so", "num_comments": 1,
                                   "created_utc": 1_769_800_000.0 + number, "author": "someone",
                                   "permalink": f"/r/stocks/comments/{number}/"}}


def listing(newest: int, oldest: int = 1, page: int = 3) -> Any:
    """A listing as Reddit gives it: newest first, `after` names the last of a page."""
    def reply(asked: Asked) -> Reply:
        first = int(asked.params["after"].removeprefix("t3_")) - 1 if "after" in asked.params else newest
        last = max(oldest, first - page + 1)
        children = [post(n) for n in range(first, last - 1, -1)]
        return 200, {}, {"kind": "Listing", "data": {"after": f"t3_{last}" if last > oldest else None,
                                                     "before": None, "children": children}}

    return reply


def reddit(environ: dict[str, str] | None = None) -> Any:
    return lambda address: Reddit(("stocks",), address, address, environ or {}, QUICK)


def test_a_listing_is_read_back_to_what_the_log_holds() -> None:
    log = ListLog()
    polled(listing(4), reddit(), log)
    host = polled(listing(9), reddit(), log)
    assert [r["guid"] for r in log.records] == [f"t3_{n}" for n in range(1, 10)]
    assert [asked.params.get("after") for asked in host.asked] == [None, "t3_7"]
    assert host.asked[0].path == "/r/stocks/new.json" and "author" not in log.records[0]
    assert log.records[0]["ts_published"] == 1_769_800_001 * NS


@pytest.mark.parametrize("dies_after", range(0, 9, 2))
def test_a_death_in_the_middle_of_writing_loses_no_post(dies_after: int) -> None:
    log = ListLog(fails_after=dies_after)
    try:
        polled(listing(8), reddit(), log)
    except KilledError:
        polled(listing(8), reddit(), log)
    assert [r["guid"] for r in log.records] == [f"t3_{n}" for n in range(1, 9)]


def test_more_new_posts_than_the_listing_tells_are_a_gap() -> None:
    log = ListLog()
    polled(listing(2), reddit(), log)
    source = Reddit(("stocks",), environ={}, manners=QUICK)
    polled(listing(50, oldest=10), lambda address: _at(source, address), log)
    assert source.gaps == 1


def _at(source: Reddit, address: str) -> Reddit:
    source._rest._client.base_url = address
    return source


def test_with_a_key_a_token_is_asked_for_once_and_again_when_it_has_ended() -> None:
    tokens: list[str] = []

    def reply(asked: Asked) -> Reply:
        if asked.path == "/api/v1/access_token":
            assert asked.method == "POST" and asked.body == b"grant_type=client_credentials"
            assert asked.headers["authorization"].startswith("Basic ")
            tokens.append(f"t{len(tokens)}")
            return 200, {}, {"access_token": tokens[-1], "token_type": "bearer", "expires_in": 86_400}
        if asked.headers.get("authorization") != "Bearer t1":
            return 401, {}, {}
        return listing(2)(asked)

    log = ListLog()
    polled(reply, reddit({"REDDIT_CLIENT_ID": "id", "REDDIT_CLIENT_SECRET": "s"}), log, rounds=3)
    assert tokens == ["t0", "t1"] and len(log.records) == 2


def test_half_a_key_is_a_mistake() -> None:
    with pytest.raises(UserError, match="REDDIT_CLIENT_SECRET is not set"):
        Reddit(environ={"REDDIT_CLIENT_ID": "id"})


def test_a_host_that_has_no_request_left_is_left_alone() -> None:
    def reply(asked: Asked) -> Reply:
        status, _, said = listing(5)(asked)
        return status, {"x-ratelimit-remaining": "0.0", "x-ratelimit-reset": "0.3"}, said

    host = polled(reply, reddit(), ListLog())
    assert host.asked[1].at - host.asked[0].at >= 0.29


def test_a_long_limit_leaves_the_part_alone_for_so_long() -> None:
    said = list[str]()
    host = polled(lambda asked: (429, {"retry-after": "600"}, {}), reddit(), ListLog(), rounds=4, said=said)
    assert len(host.asked) == 1 and said == ["reddit: stocks: HTTP 429, wait 600 s"]
