"""The web page over a running stack: what it shows is what Redis, QuestDB, Kafka and Flink hold. Pictures in build/."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Iterator

import pytest

from connectors import topics
from sigmaflow import probes, supervise
from sigmaflow.settings import ROOT, Settings
from sigmaflow.web.collect import parts
from sigmaflow.web.server import PageServer
from tests.browser import chromium
from tests.feeding import Feed
from tests.pages import served
from tests.pipeline.test_results import process, rows, running
from tests.waiting import wait_for

MARKS = 1_000
PICTURES = ROOT / "build" / "screenshots"


def part(server: PageServer, path: str) -> dict:
    """One part as it is served."""
    with urllib.request.urlopen(f"{server.url}/api/{path}", timeout=20) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def made() -> dict:
    """A made record of an account of this module's own."""
    return rows(f"test{uuid.uuid4().hex[:8]}", MARKS)


@pytest.fixture(scope="module")
def page(stack: Settings, made: dict) -> Iterator[PageServer]:
    """The page of that account, its record written to Kafka and taken on by a results process."""
    topics.setup(stack, quiet=True)
    account = made["equity.v1"][0]["account"]
    feed = Feed(stack, account)
    feed.write(made)
    with running(process(stack, feed)) as results, served(parts(stack, account)) as server:
        wait_for("every row", lambda: results.totals.rows_written == 2 * MARKS + len(made["fills.v1"]))
        wait_for("every decision", lambda: part(server, "account")["data"].get("decisions") == MARKS)
        wait_for("a curve", lambda: len(part(server, "curve?range=all")["data"]["t_ms"]) > 10)
        wait_for("the newest decisions", lambda: part(server, "decisions")["data"]["newest"] != [])
        yield server


def test_every_part_is_had(page: PageServer) -> None:
    for name in page.parts:
        told = part(page, name)
        assert told["error"] is None and told["data"] and told["as_of_ms"], name
    assert all(part(page, "servers")["data"]["servers"].values())


def test_the_account_and_its_curve_end_at_the_last_mark(page: PageServer, made: dict) -> None:
    mark, account = made["equity.v1"][-1], part(page, "account")["data"]
    assert (account["equity"], account["event_ms"]) == (mark["equity"], mark["ts_order"] / 1e6)
    for span in ("15m", "1h", "1d", "all"):
        curve = part(page, f"curve?range={span}")["data"]
        assert curve["equity"][-1] == mark["equity"] and curve["t_ms"][-1] == mark["ts_order"] // 1_000_000
    equity = [row["equity"] for row in made["equity.v1"]]
    assert (min(curve["low"]), max(curve["high"])) == (min(equity), max(equity))


def test_decisions_are_those_of_the_topic(page: PageServer, made: dict) -> None:
    found, last = part(page, "decisions")["data"], made["decisions.v1"][::-1]
    assert [d["id"] for d in found["judged"]] == [str(row["decision_id"]) for row in last[:40]]
    assert {d["symbol"]: d["id"] for d in found["newest"]} == {
        row["symbol"]: str(row["decision_id"]) for row in reversed(last)}
    assert [d["failed_gate"] for d in found["judged"]] == [row["failed_gate"] for row in last[:40]]


def test_another_account_is_not_this_one(stack: Settings, page: PageServer) -> None:
    with served(parts(stack, "nobody' OR '1'='1")) as other:
        assert part(other, "account")["data"] == {"account": "nobody' OR '1'='1", "known": False}
        assert part(other, "curve")["data"]["t_ms"] == [] and part(other, "decisions")["data"]["judged"] == []


def test_a_server_that_is_away_is_named_and_the_others_are_had(stack: Settings) -> None:
    away = stack.model_copy(update={"questdb": stack.questdb.model_copy(update={"http_port": 1})})
    with served(parts(away, "paper")) as server:
        assert part(server, "curve")["error"] == "QuestDB does not answer"
        assert part(server, "flow")["error"] is None
        assert part(server, "servers")["data"]["servers"]["QuestDB"] is False


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_a_browser_shows_it(page: PageServer, width: int, dark: bool) -> None:
    with chromium() as tabs:
        tab = tabs()
        tab.screen(width, 900, dark)
        tab.go(page.url)
        tab.until("decisions", "document.querySelectorAll('#decisions li').length === 12")
        tab.ask("document.querySelector('#more').click()")
        tab.until("all of them", "document.querySelectorAll('#decisions li').length === 40")
        tab.ask("document.querySelector('[data-range=all]').click()")
        tab.until("the curve", "document.querySelector('#chart-equity path.line')")
        tab.until("the servers", "document.querySelector('#health')?.innerText.includes('QuestDB')")
        tab.shoot(PICTURES / f"stack-{width}.png")
        assert tab.ask("document.documentElement.scrollWidth") <= width
        assert "QuestDB silent" not in tab.text("#health") and tab.complaints == []


def test_the_stack_serves_the_page_at_its_address(stack: Settings) -> None:
    supervise.start_program(stack, "web")
    wait_for("the page", lambda: probes.answers(probes.web, stack))
    with urllib.request.urlopen(stack.web.url, timeout=10) as answer:
        assert b"<title>Sigmaflow</title>" in answer.read()
