"""A recorded run against its recomputation, as streams: the same bytes, or the first message that is not."""
from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from jobs.chain.inprocess import contracts
from jobs.chain.messages import DECISIONS, FILLS, FRONTIERS, INTENTS, PROPOSALS
from jobs.chain.plans import TAPS
from jobs.chain.shard import DEAD, TICKS
from sigmaflow import sample_log, verify
from sigmaflow.audit.log import Log, Record
from sigmaflow.errors import UserError

FEATURES = "features.v1"


@cache
def log() -> Log:
    return sample_log.make(ticks=400, taps=TAPS)


def verified(made: Log, largest: int = 30) -> verify.Verdict:
    return verify.compare(verify.Recorded(made, contracts()), sample_log.profile(), largest=largest)


def with_records(topic: str, records: list[Record], partition: int = 0) -> Log:
    return replace(log(), records={**log().records, topic: {**log().records[topic], partition: records}})


@pytest.mark.parametrize("largest", [1, 7, 10_000])
def test_a_run_is_its_recomputation_however_it_is_cut(largest: int) -> None:
    verdict = verified(log(), largest)
    outputs = sum(len(part) for topic in (*TAPS, DEAD, INTENTS, FILLS, "equity.v1", DECISIONS)
                  for part in log().records[topic].values())
    assert verdict == verify.Verdict(cases=outputs)
    assert len(log().records[FRONTIERS][0]) > 2


@pytest.mark.parametrize("topic", [DECISIONS, FILLS, INTENTS, PROPOSALS, FEATURES, DEAD])
def test_a_changed_message_is_named(topic: str) -> None:
    records = list(log().records[topic][0])
    value = records[9].value or b""
    records[9] = records[9]._replace(value=value[:-3] + bytes([value[-3] ^ 1]) + value[-2:])
    (difference,) = verified(with_records(topic, records)).differences
    assert difference.position == f"{topic}:0:{records[9].offset}" and difference.found != difference.wanted


@pytest.mark.parametrize("topic", [DECISIONS, FEATURES])
def test_a_message_that_is_gone_is_named_by_the_next(topic: str) -> None:
    records = list(log().records[topic][0])
    del records[9]
    (difference,) = verified(with_records(topic, records)).differences
    assert difference.position == f"{topic}:0:{records[9].offset}"


def test_a_repeat_is_legal_only_where_delivery_is_at_least_once() -> None:
    records = list(log().records[FEATURES][0])
    assert not verified(with_records(FEATURES, [*records[:20], *records[5:]])).differences
    fills = list(log().records[FILLS][0])
    verdict = verified(with_records(FILLS, [*fills[:9], fills[8], *fills[9:]]))
    assert (verdict.doubled, verdict.differences) == (1, [])


def test_what_is_not_written_yet_is_missing_and_nothing_else() -> None:
    verdict = verified(with_records(DECISIONS, log().records[DECISIONS][0][:-7]))
    assert (verdict.missing, verdict.differences) == (7, [])


def test_a_message_too_many() -> None:
    records = list(log().records[INTENTS][0])
    records.append(records[2]._replace(offset=records[-1].offset + 1))
    (difference,) = verified(with_records(INTENTS, records)).differences
    assert (difference.found, difference.wanted) == ("a message", "nothing")


def test_a_topic_that_was_not_tapped_is_left_out() -> None:
    made = replace(log(), records={topic: held for topic, held in log().records.items() if topic != FEATURES})
    assert verified(made).differences == []


def test_a_log_without_its_beginning_cannot_be_computed_again() -> None:
    with pytest.raises(UserError, match="offset 0"):
        verified(with_records(TICKS, log().records[TICKS][1][5:], 1))
