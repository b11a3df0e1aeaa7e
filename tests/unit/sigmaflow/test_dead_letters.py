"""Dead letters: listed once each, shown whole, and sent again at most once; what the chain then makes of them."""
from __future__ import annotations

from collections import Counter

import pytest

from jobs.chain.contracts import Contracts
from jobs.chain.inprocess import Chain, Log, contracts
from jobs.chain.messages import DECISIONS
from jobs.chain.shard import DEAD, TICKS
from sigmaflow.dead_letters import REPLAYED_FROM, Payloads, Plan, letters, listing, one, parse_place, plan, shown_letter
from sigmaflow.errors import UserError
from tests import reference_strategy
from tests.histories import SHARDS, ListHistory, eager, history
from tests.unit.jobs.test_chain import log

UNREGISTERED = 99
"""Schema id that the registry learns only later."""


@pytest.fixture
def run() -> ListHistory:
    return history(2_000)


def known(*ids: int) -> Contracts:
    """Contracts that know ticks of some more schema ids."""
    held = contracts()
    ticks = held.versions[TICKS] | {number: held.schema(TICKS) for number in ids}
    return Contracts(held.ids, held.versions | {TICKS: ticks})


def chain(ticks: Log, held: Contracts) -> ListHistory:
    return ListHistory(Chain(eager(), SHARDS, 100, known=held).run(["pipeline"], ticks), held)


def sent(before: ListHistory, made: Plan, held: Contracts) -> ListHistory:
    """The run after the ticks of a plan were sent again, to the partition that they came from."""
    ticks = [list(part) for part in before.topics[TICKS]]
    headers = dict(before.headers)
    for letter in made.send:
        partition = letter.place[0]
        headers[partition, len(ticks[partition])] = [("other", b"x"), (REPLAYED_FROM, letter.origin.encode())]
        ticks[partition].append(letter.original or b"")
    after = chain(ticks, held)
    after.headers = headers
    return after


def test_every_dead_letter_is_listed_once_by_reason(run: ListHistory) -> None:
    written = [run.decode(DEAD, kept.value or b"") for kept in run.stream(DEAD)]
    run.topics[DEAD][0] += run.topics[DEAD][0][-5:]  # a restart wrote some again
    made = listing(letters(run), 7)
    assert made.counts == Counter(row["reason"] for row in written) and len(made.counts) == 2
    assert [letter.fields for letter in made.newest] == written[-7:]
    assert listing(letters(run, "duplicate"), 7).counts.keys() == {"duplicate"}


def test_a_dead_letter_is_shown_with_its_tick_where_it_can_be_read(run: ListHistory) -> None:
    for letter in letters(run):
        shown = shown_letter(run, one(run, letter.place))
        assert shown["letter"]["payload"] == run.topics[TICKS][letter.place[0]][letter.place[1]]
        assert ("unreadable" in shown["tick"]) == (letter.fields["reason"] == "truncated")
    with pytest.raises(UserError, match="must hold a dead letter of input 0:0"):
        one(run, (0, 0))


def test_keys_are_those_of_the_ticks_and_none_where_there_is_none(run: ListHistory) -> None:
    payloads = Payloads(run)
    for letter in letters(run):
        tick, _ = payloads.tick(letter.original)
        assert payloads.key(letter.original) == (f"REF:{tick['symbol']}".encode() if tick else None)
    assert payloads.key(None) is None


def test_nothing_is_sent_twice(run: ListHistory) -> None:
    first = plan(run)
    assert len(first.send) == len(list(letters(run)))
    after = sent(run, first, contracts())
    second = plan(after)
    assert len(list(letters(after))) == 2 * len(first.send)  # refused once more: the market has passed them by
    assert (second.send, second.sent_before, second.refused_again) == ([], len(first.send), len(first.send))
    again = plan(after, again=True)
    assert {letter.place for letter in again.send} == after.headers.keys()
    assert plan(sent(after, again, contracts()), again=True).sent_before == 2 * len(first.send)


def test_a_feed_refused_whole_is_accepted_after_the_fix() -> None:
    ticks = log(reference_strategy.ticks(600), SHARDS)
    foreign = [[b"\0" + UNREGISTERED.to_bytes(4, "big") + m[5:] for m in part] for part in ticks]
    refused = chain(foreign, contracts())
    assert Counter(letter.fields["reason"] for letter in letters(refused)) == {"unknown_schema": 600}
    after = sent(refused, plan(refused, "unknown_schema"), known(UNREGISTERED))
    assert len(after.topics[DECISIONS][0]) == 600


def test_of_a_reason_and_of_an_input(run: ListHistory) -> None:
    made = plan(run, "truncated")
    assert {letter.fields["reason"] for letter in made.send} == {"truncated"}
    place = made.send[0].place
    assert [letter.place for letter in plan(run, at=place).send] == [place]
    for reason, at in (("crossed", None), ("duplicate", place), ("", (0, 0))):
        with pytest.raises(UserError, match="must hold a dead letter"):
            plan(run, reason, at)


@pytest.mark.parametrize("text", ["7", "a:b", "1:-2", ":", ""])
def test_a_bad_place_is_told(text: str) -> None:
    with pytest.raises(UserError, match="PARTITION:OFFSET"):
        parse_place(text)
