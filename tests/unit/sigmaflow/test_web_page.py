"""The web page in headless Chromium: drawn whole at a phone's and a desk's width, light and dark; ages, keys, outages.

Pictures are left in build/screenshots.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sigmaflow.settings import ROOT
from tests.browser import Tab, chromium
from tests.pages import OVERVIEW, Market, made_decisions, served

PICTURES = ROOT / "build" / "screenshots"
PHONE, DESK = (390, 844), (1280, 900)
DRAWN = """document.querySelector('#chart-equity path.line') && document.querySelector('#chart-drawdown path.line')
  && document.querySelectorAll('#decisions li').length === 12
  && document.querySelector('#health dl')?.children.length >= 7
  && document.querySelector('#positions tbody') && document.querySelectorAll('.meter .bar').length === 4"""
OVERHANG = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.hidden, .skip, svg')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(e => e.outerHTML.slice(0, 90))"""
TEXT_SIZES = """[...document.querySelectorAll('body *')].filter(e => [...e.childNodes].some(n => n.nodeType === 3
  && n.data.trim())).map(e => parseFloat(getComputedStyle(e).fontSize))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with chromium() as tab:
        yield tab()


@pytest.fixture(scope="module")
def base() -> Market:
    """Made once: a test gets a copy that it may change."""
    return Market(time.time())


@contextmanager
def page(browser: Tab, market: Market, size: tuple[int, int] = DESK, dark: bool = False,
         still: bool = True) -> Iterator[Tab]:
    """The page, loaded and drawn."""
    with served(market.parts()) as server:
        browser.screen(*size, dark, still)
        browser.go(server.url)
        yield browser
        browser.go("about:blank")  # before its server ends


@pytest.fixture
def market(base: Market) -> Market:
    made = Market.__new__(Market)
    made.__dict__ |= base.__dict__ | {"away": set(), "jobs": [OVERVIEW], "live": True}
    return made


@pytest.mark.parametrize(("size", "dark"), [(PHONE, False), (PHONE, True), (DESK, False), (DESK, True),
                                            ((320, 640), False), ((820, 1180), True)])
def test_the_page_is_whole_at_every_width(
    browser: Tab, market: Market, size: tuple[int, int], dark: bool
) -> None:
    with page(browser, market, size, dark, still=False) as tab:
        tab.until("the page to be drawn", DRAWN)
        tab.shoot(PICTURES / f"page-{size[0]}-{'dark' if dark else 'light'}.png")
        assert tab.ask("document.documentElement.scrollWidth") <= size[0], tab.ask(OVERHANG)
        assert tab.ask(OVERHANG) == []
        assert min(tab.ask(TEXT_SIZES)) >= 11
        assert tab.ask("getComputedStyle(document.body).backgroundColor") == (
            "rgb(15, 18, 24)" if dark else "rgb(246, 247, 249)")
        assert tab.text("#equity") == "999,661.81" and "−338.19 (−0.034 %) since the start" in tab.text("#since")
        assert tab.text("#state") == "ACTIVE" and tab.text("#pulse") == "live"
        assert tab.text(".meter[data-name=cvar]").split("\n")[1:] == ["44.81", "0.45 % of 10,000"]
        assert "reduce-only from 10.00 %, halt at 15.00 %" in tab.text(".meter[data-name=drawdown]")
        health = tab.text("#health")
        for words in ("pipeline (default) RUNNING", "11,322, newest", "5,012 ticks/s", "4,012 ticks (0.8 s) not final",
                      "12, newest 2 h ago", "Schema registry"):
            assert words in health
        first = tab.text("#decisions li")
        for words in ("BTCUSDT", "sent", "sell 1.4 at market", "−1.70 ± 8.30 bps", "micro price gap · kelly"):
            assert words in first
        assert all(tab.ask("[...document.querySelectorAll('.age')].map(e => /^\\d+ s old$/.test(e.textContent))"))
        assert tab.complaints == []


def test_a_row_opens_by_keyboard_to_every_gate_and_holds_the_list(browser: Tab, market: Market) -> None:
    with page(browser, market, PHONE) as tab:
        tab.until("the page to be drawn", DRAWN)
        tab.ask("document.querySelectorAll('#decisions summary')[2].focus()")
        tab.press("Enter")
        tab.until("its detail", "document.querySelector('#decisions .detail')")
        detail = tab.text("#decisions .detail")
        assert "✗ gross" in detail and "641,250 / 600,000" in detail and "✓ cost" in detail
        assert "sigmaflow explain 4611686018427396902" in detail
        assert tab.ask(OVERHANG) == []
        tab.shoot(PICTURES / "page-390-decision.png")
        market.decisions = made_decisions(market.last)
        for row in market.decisions["judged"]:
            row["decision_id"] += 5
        tab.until("the notice of newer ones", "!document.querySelector('#held').hidden")
        assert tab.text("#held") == "Held while a row is open. 5 newer"
        assert tab.ask("document.querySelectorAll('#decisions details[open]').length") == 1
        tab.ask("document.querySelector('#held button').click()")
        tab.until("the newer ones", "document.querySelector('#decisions li').dataset.id === '4611686018427396909'")
        assert tab.complaints == []


def test_the_newest_of_each_symbol_say_why_nothing_is_sent(browser: Tab, market: Market) -> None:
    with page(browser, market) as tab:
        tab.until("the page to be drawn", DRAWN)
        tab.ask("document.querySelector('[data-kind=newest]').click()")
        tab.until("three rows", "document.querySelectorAll('#decisions li').length === 3")
        assert tab.ask("[...document.querySelectorAll('#decisions li')].map(e => e.dataset.verdict)") == ["idle"] * 3
        assert "|score| 0.04 is below 0.1; 0.1 or more would have passed" in tab.text("#decisions li")


def test_the_curve_is_read_by_keyboard(browser: Tab, market: Market) -> None:
    with page(browser, market) as tab:
        tab.until("the page to be drawn", DRAWN)
        assert tab.ask("document.querySelector('#chart-equity').getAttribute('aria-label')").startswith("Equity from ")
        tab.ask("document.querySelector('#chart-equity').focus()")
        tab.press("Home")
        assert "· 0.00 (0.00 %)" in tab.text("#readout") and "CVaR" in tab.text("#readout")
        tab.press("Escape")
        assert tab.text("#readout").startswith("to ") and "−" in tab.text("#readout")


def test_a_span_is_asked_of_the_server(browser: Tab, market: Market) -> None:
    with page(browser, market) as tab:
        tab.until("the page to be drawn", DRAWN)
        tab.ask("document.querySelector('[data-range=all]').click()")
        tab.until("its answer", "performance.getEntriesByType('resource').some(e => e.name.endsWith('?range=all'))")
        assert tab.ask("document.querySelector('[data-range=all]').getAttribute('aria-pressed')") == "true"


def test_a_source_that_falls_silent_is_named_and_what_it_said_is_shown_as_old(
    browser: Tab, market: Market
) -> None:
    with page(browser, market) as tab:
        tab.until("the page to be drawn", DRAWN)
        market.away = {"QuestDB", "Flink"}
        tab.until("the notice", "document.querySelector('#notices')?.innerText.includes('QuestDB and Flink do not')")
        tab.until("Flink's row", "document.querySelector('#health').innerText.includes('Flink does not answer')")
        assert "QuestDB does not answer; shown is" in tab.text(".curve .age")
        assert tab.ask("document.querySelector('.curve').classList.contains('gone')")
        assert tab.text("#pulse") == "live", "the account is not QuestDB's"
        tab.shoot(PICTURES / "page-1280-questdb-away.png")
        tab.ask("document.querySelector('[data-range=all]').click()")
        tab.until("the other span without a curve", "!document.querySelector('#chart-equity path')")
        assert tab.text("#chart-equity") == "QuestDB does not answer"
        market.away = set()
        tab.until("its return", "document.querySelector('#chart-equity path') && !document.querySelector('.notice')")
        assert tab.complaints == []


def test_a_source_that_never_answered_leaves_no_old_figure(browser: Tab, market: Market) -> None:
    market.away = {"Redis", "QuestDB", "Flink", "Kafka"}
    with page(browser, market, PHONE) as tab:
        told = "Redis, QuestDB, Flink and Kafka do not answer."
        tab.until("the notice", f"document.querySelector('.notice.bad')?.innerText.startsWith('{told}')")
        tab.until("the curve's place", "document.querySelector('#chart-equity').innerText.startsWith('QuestDB does')")
        assert tab.text("#equity") == "–" and tab.text("#pulse") == "Redis does not answer"
        assert tab.ask(OVERHANG) == []
        tab.shoot(PICTURES / "page-390-nothing-answers.png")
        assert tab.complaints == []


def test_a_market_that_stands_grows_old_before_ones_eyes(browser: Tab, market: Market) -> None:
    market.live = False
    market.account = market.account | {"ts_order": market.account["ts_order"] - 90 * 10**9}
    with page(browser, market) as tab:
        tab.until("the age", "/^last mark \\d+ (s|min) ago$/.test(document.querySelector('#pulse')?.innerText)")
        assert tab.ask("document.querySelector('#h-risk + .age').classList.contains('warn')")
        assert "last wrote" in tab.text("#health")


@pytest.mark.parametrize(("state", "cause", "words"), [
    ("HALTED", "DRAWDOWN", "HALTED The drawdown reached its limit. No order passes."),
    ("REDUCING", "COMMAND", "REDUCING An operator's command. Only orders that make a position smaller pass.")])
def test_a_state_that_stops_trading_is_the_first_thing_read(
    browser: Tab, market: Market, state: str, cause: str, words: str
) -> None:
    market.account = market.account | {"state": state, "state_cause": cause}
    with page(browser, market, PHONE) as tab:
        tab.until("the notice", "document.querySelector('.notice')")
        assert tab.text(".notice") == words
        assert tab.text("#state") == state and state in tab.ask("document.title")
        assert tab.ask("document.querySelector('#notices').getAttribute('aria-live')") == "polite"
        tab.shoot(PICTURES / f"page-390-{state.lower()}.png")


def test_a_chain_that_failed_is_told(browser: Tab, market: Market) -> None:
    market.jobs = [OVERVIEW | {"state": "FAILED", "end-time": 5}]
    with page(browser, market) as tab:
        tab.until("the notice", "document.querySelector('.notice')")
        assert tab.text(".notice") == "Job pipeline (default) is FAILED."


def test_a_server_that_is_gone_is_told(browser: Tab, market: Market) -> None:
    with served(market.parts()) as server:
        tab = browser
        tab.screen(*DESK)
        tab.go(server.url)
        tab.until("the page to be drawn", DRAWN)
    tab.until("the notice", "document.querySelector('.notice')?.innerText.includes('server does not answer')")
    assert tab.text("#pulse") == "no answer"
    assert tab.ask("[...document.querySelectorAll('[data-part]')].every(e => e.classList.contains('gone'))")


def test_what_a_screen_reader_is_told(browser: Tab, market: Market) -> None:
    with page(browser, market) as tab:
        tab.until("the page to be drawn", DRAWN)
        nodes = [(node["role"]["value"], node.get("name", {}).get("value", ""))
                 for node in tab.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        roles = {role for role, _ in nodes}
        assert {"banner", "main", "contentinfo", "heading", "table", "rowheader", "columnheader", "meter"} <= roles
        unnamed = [role for role, name in nodes if role in ("button", "link", "meter", "image", "region")
                   and not name]
        assert unnamed == []
        assert {"OPEN RISK", "POSITIONS", "HEALTH", "DECISIONS", "EQUITY"} <= {n for r, n in nodes if r == "region"}
        assert tab.ask("document.documentElement.lang") == "en"


def test_motion_stops_where_it_is_not_wanted(browser: Tab, market: Market) -> None:
    for still, name in ((True, "none"), (False, "beat")):
        with page(browser, market, DESK, still=still) as tab:
            tab.until("live", "document.querySelector('#pulse')?.innerText === 'live'")
            assert tab.ask("getComputedStyle(document.querySelector('#pulse i')).animationName") == name
