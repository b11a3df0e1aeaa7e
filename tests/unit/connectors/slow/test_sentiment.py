"""Scores: the lexicon on labelled headlines, a local model's answers checked to the letter, and each asked once."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from connectors.slow.lexicon import Lexicon
from connectors.slow.ollama import Ollama, checked
from connectors.slow.sentiment import Item, Scorer, about
from sigmaflow.errors import NotRunning, UserError
from tests.headlines import HEADLINES
from tests.slow_server import NOW, Asked, Host, ListLog, Reply

LEXICON = Lexicon()
BAND = 0.05
"""Compound scores within it are neutral, as VADER's authors say."""


def label(score: float) -> int:
    return int(score > BAND) - int(score < -BAND)


def test_the_lexicon_on_labelled_headlines() -> None:
    """Better than chance (1/3) by far, and than the general lexicon; figures are in docs/slow-data.md."""
    texts, wanted = [text for text, _ in HEADLINES], [sign for _, sign in HEADLINES]
    plain = SentimentIntensityAnalyzer()
    ours = balanced_accuracy_score(wanted, [label(LEXICON.rate(text).score or 0.0) for text in texts])
    general = balanced_accuracy_score(wanted, [label(plain.polarity_scores(text)["compound"]) for text in texts])
    assert ours > 0.75 and ours > general + 0.1, (ours, general)


@pytest.mark.parametrize(("text", "sign"), [
    ("Profit beats estimates", 1), ("Profit does not beat estimates", -1), ("Shares are not falling", 1),
    ("Regulator never approved the fund", -1), ("The company is bankrupt", -1), ("The company is not bankrupt", 1)])
def test_negation(text: str, sign: int) -> None:
    assert label(LEXICON.rate(text).score or 0.0) == sign


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300))
def test_any_text_has_a_score_within_bounds(text: str) -> None:
    found = LEXICON.rate(text)
    assert found == LEXICON.rate(text)
    assert found.score is not None and -1 <= found.score <= 1
    assert found.confidence is not None and 0 <= found.confidence <= 1 and np.isfinite(found.score)


def item(number: int, title: str = "Shares soar", ts_recv: int = NOW) -> Item:
    return Item("news.v1", number, {"id": f"i{number}", "title": title, "text": "", "symbols": "AAPL",
                                    "ts_published": ts_recv + 5, "ts_recv": ts_recv})


def scored(model: Any, items: list[Item], log: ListLog, words: tuple[str, ...] = (), oldest_s: float = 0.0) -> Scorer:
    async def run() -> Scorer:
        scorer = Scorer(model, log, about(words), oldest_s, lambda: NOW + 7, lambda text: None, 0.01)
        await scorer.run(iter([items]), asyncio.Event())
        return scorer

    return asyncio.run(run())


def test_an_item_is_scored_once_and_says_who_scored_it() -> None:
    log = ListLog()
    scored(LEXICON, [item(1), item(2, "Bitcoin plunges")], log, ("BTCUSDT=bitcoin",))
    scored(LEXICON, [item(1), item(2, "Bitcoin plunges"), item(3)], log)
    assert [(r["item_id"], r["symbols"], r["offset"]) for r in log.records] == [
        ("i1", "AAPL", 1), ("i2", "AAPL,BTCUSDT", 2), ("i3", "AAPL", 3)]
    first = log.records[0]
    assert first["model"] == "lexicon" and len(first["model_digest"]) == 16 and first["score"] > 0
    assert (first["ts_published"], first["ts_known"]) == (NOW, NOW + 7)      # a publisher's clock may be ahead


def test_what_about_must_read() -> None:
    with pytest.raises(UserError, match="--about must read SYMBOL=word,word"):
        about(["BTCUSDT"])


# ------------------------------------------------------------------------------------------------------------ ollama


def asked(generate: Callable[[Asked], Reply], items: list[Item], log: ListLog, model: str = "small",
          limit_s: float = 2.0, oldest_s: float = 0.0) -> Host:
    """Score items by a model of a server on loopback whose digest counts up."""
    def reply(request: Asked) -> Reply:
        if request.path == "/api/tags":
            return 200, {}, {"models": [{"name": "small:latest", "digest": "d1"}]}
        return generate(request)

    async def run() -> Host:
        async with Host(reply) as host, asyncio.timeout(20):
            made = Ollama(model, host.address, limit_s)
            scorer = Scorer(made, log, {}, oldest_s, lambda: NOW, lambda text: None, 0.01)
            await scorer.run(iter([items]), asyncio.Event())
            await made.close()
            return host

    return asyncio.run(run())


def says(text: Any) -> Callable[[Asked], Reply]:
    return lambda request: (200, {}, {"model": "small", "response": text, "done": True})


def test_a_local_model_s_answer_is_kept_as_it_came() -> None:
    log, answer = ListLog(), '{"score": -0.5, "confidence": 0.9}'
    host = asked(says(answer), [item(1)], log)
    assert [(r["score"], r["confidence"], r["answer"], r["model"], r["model_digest"]) for r in log.records] == [
        (-0.5, 0.9, answer, "small", "d1")]
    assert b'"temperature":0' in host.asked[1].body.replace(b" ", b"")
    again = asked(says(answer), [item(1)], log)
    assert not again.asked and len(log.records) == 1        # the record is there: nobody is asked again


@pytest.mark.parametrize("said", [
    "", "good", '{"score": 1}', '{"score": 2, "confidence": 1}', '{"score": "1", "confidence": 1}', "[]", "null",
    '{"score": NaN, "confidence": 1}', '{"score": 1, "confidence": 1, "why": "x"}', '```json\n{"score": 1}```', 7,
    None])
def test_an_answer_that_is_not_what_was_asked_for_is_no_score(said: Any) -> None:
    log = ListLog()
    asked(says(said), [item(1)], log)
    (record,) = log.records
    assert record["score"] is None and record["confidence"] is None and record["error"]


def test_a_model_that_takes_too_long_is_left() -> None:
    async def run() -> None:
        async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            try:
                for _ in range(100):                       # drips, so that no single read is late
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n" if _ == 0 else b" ")
                    await writer.drain()
                    await asyncio.sleep(0.02)
            except ConnectionError:
                pass

        async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
            made = Ollama("small", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 0.2)
            found = await made.score("text")
            assert found.score is None and found.error == "no answer within 0.2 s"
            await made.close()

    asyncio.run(run())


def test_a_server_that_goes_away_is_asked_again_and_nothing_is_written_for_it() -> None:
    log, replies = ListLog(), [(503, {}, {}), (0, {}, {})]
    good = says('{"score": 1, "confidence": 1}')
    asked(lambda request: replies.pop(0) if replies else good(request), [item(1)], log)
    assert [r["score"] for r in log.records] == [1.0]


def test_old_texts_are_not_asked_about() -> None:
    log = ListLog()
    asked(says('{"score": 1, "confidence": 1}'), [item(1, ts_recv=NOW - 2 * 10**9), item(2)], log, oldest_s=1.0)
    assert [r["item_id"] for r in log.records] == ["i2"]


def test_no_server_and_no_model_are_told() -> None:
    with pytest.raises(UserError, match="Ollama must have the model big"):
        asked(says(""), [item(1)], ListLog(), model="big")
    with pytest.raises(NotRunning, match="start `ollama serve`"):
        scored(Ollama("small", "http://127.0.0.1:9", 0.5), [item(1)], ListLog())


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.none(), st.text(), st.dictionaries(st.text(), st.text()), st.lists(st.integers())))
def test_no_answer_breaks_the_check(answer: Any) -> None:
    for said in (answer, {"response": answer}, {"response": str(answer)}):
        found = checked(said)
        assert (found.score is None) == bool(found.error)
