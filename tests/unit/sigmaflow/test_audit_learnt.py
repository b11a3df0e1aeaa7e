"""The auditor on what a chain learnt: rulings, commands, frontiers, and the settings that every limit is held against.

Records are sealed by chains, so that a changed byte is found whatever it says. The faults here are sealed anew, as a
chain with a fault would seal them: only what other records say can find them.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from jobs.chain import commands
from jobs.chain.chained import Chained
from jobs.chain.inprocess import contracts
from jobs.chain.messages import RecordWriter
from sigmaflow import sample_log
from sigmaflow.audit import config
from sigmaflow.audit.check import Report, audit
from sigmaflow.audit.findings import Finding
from sigmaflow.audit.log import COMMANDS, DECISIONS, FILLS, FRONTIERS, RULINGS, TICKS, Log, Record
from udfs import profiles

Row = dict[str, Any]
SCOPES: dict[str, Callable[[Any], object]] = {RULINGS: commands.group, FRONTIERS: lambda _: None}


@cache
def log() -> Log:
    return next(sample_log.many(0))


def rows(topic: str, made: Log | None = None) -> list[Row]:
    return [sample_log.decode(r.value or b"", topic) for r in (made or log()).records[topic][0]]


def with_rows(topic: str, held: list[Row]) -> Log:
    """The log with other records in one topic, sealed as its writers seal them."""
    chain = Chained(RecordWriter(topic, contracts().id(topic)), SCOPES.get(topic, lambda _: None))
    values = [chain.write(row) if topic in SCOPES else sample_log.encode(row, topic) for row in held]
    records = [Record(n, sample_log.ACCOUNT.encode(), value) for n, value in enumerate(values)]
    return replace(log(), records={**log().records, topic: {0: records}})


def found(made: Log, complete: bool = True) -> list[Finding]:
    return audit(made, complete, limit=1_000).findings


def rules(made: Log, complete: bool = True) -> set[str]:
    return {finding.rule for finding in found(made, complete)}


def changed(topic: str, at: int, **values: Any) -> Log:
    return with_rows(topic, [row | values if n == at else row for n, row in enumerate(rows(topic))])


def of_kind(*kinds: str) -> int:
    """Place of the first ruling of a kind."""
    return next(n for n, row in enumerate(rows(RULINGS)) if row["kind"] in kinds)


def with_settings(part: str, **values: Any) -> Log:
    """The log with other settings, under a digest that is theirs in rulings and decisions, all sealed anew."""
    at = of_kind("profile")
    settings = json.loads(rows(RULINGS)[at]["settings"])
    settings[part] |= values
    text = json.dumps(settings, separators=(",", ":"))
    made = changed(RULINGS, at, settings=text, config_digest=config.digest(text))
    decisions = [row | {"config_digest": config.digest(text)} for row in rows(DECISIONS)]
    chain = Chained(RecordWriter(DECISIONS, contracts().id(DECISIONS)), lambda _: None)
    records = [r._replace(value=chain.write(row)) for r, row in zip(made.records[DECISIONS][0], decisions, strict=True)]
    return replace(made, records={**made.records, DECISIONS: {0: records}})


def test_sealing_anew_is_no_fault() -> None:
    for topic in (RULINGS, FRONTIERS, COMMANDS):
        assert found(with_rows(topic, rows(topic))) == []
    assert found(with_settings("fills")) == []


# ----------------------------------------------------------------------------------------------------------- settings


def test_the_settings_are_those_of_the_profile_and_their_digest_is_that_of_decisions() -> None:
    row = rows(RULINGS)[of_kind("profile")]
    assert row["settings"] == sample_log.profile().text and row["first"] == 1
    assert row["config_digest"] == config.digest(row["settings"]) == rows(DECISIONS)[0]["config_digest"]


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_can_be_read_back(name: str) -> None:
    made, profile = config.parse(profiles.get(name).text), profiles.get(name)
    assert made.digest == profile.digest
    assert made.fills == profile.fills.model_dump() and made.sizing == profile.sizing.model_dump()


@pytest.mark.parametrize(("part", "name", "value", "rule"), [
    ("fills", "fee_bps", 0.03, "the fee is that of the settings"),
    ("fills", "max_position", 31_000.0, "limit of position is the profile's"),
    ("fills", "max_gross", None, "limit of gross is the profile's"),
    ("fills", "max_concentration", 0.49, "limit of concentration is the profile's"),
    ("fills", "concentration_from", 10.0, "value of concentration"),
    ("fills", "cvar_limit", 1.0, "limit of account_cvar is the profile's"),
    ("fills", "lot", 1e-3, "limit of quantity is the profile's"),
    ("fills", "latency_ns", 40_000_000, "an order is filled when it is due"),
    ("fills", "latency_ns", 1, "an order that is due is filled"),
    ("fills", "size", "whole", "quantity is what is displayed"),
    ("fills", "price", "mid", "the price is that of the settings"),
    ("fills", "impact_bps", 5.0, "the price is that of the settings"),
    ("fills", "order", "limit", "order_limit is that of the settings"),
    ("fills", "order_life_ns", 1, "an order ends by its rule"),
    ("fills", "initial_cash", 2e6, "equity is cash + positions x mark"),
    ("fills", "mark_every_ns", 0, "a mark is due"),
    ("fills", "reduce_drawdown", 1e-9, "the state follows from equity, settings and commands"),
    ("fills", "halt_drawdown", 1e-9, "the state follows from equity, settings and commands"),
    ("fills", "max_day_loss", 1e-9, "the state follows from equity, settings and commands"),
    ("sizing", "entry", 0.11, "limit of entry is the profile's"),
    ("sizing", "cost_ratio", 0.001, "limit of cost is the profile's"),
    ("sizing", "select", 4, "limit of selection is the profile's"),
    ("sizing", "reference_equity", 5e5, "target_fraction is that of its decision and tick"),
    ("sizing", "symbol_cap", 10.0, "a target is within its caps"),
    ("sizing", "gross_cap", 10.0, "a target is within its caps"),
    ("admission", "max_ahead_s", 1e9, "the reason is what the input shows")])
def test_a_chain_that_did_not_keep_to_its_settings(part: str, name: str, value: Any, rule: str) -> None:
    assert rule in rules(with_settings(part, **{name: value}))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"sizing":{},"fills":{},"admission":{}}'])
def test_settings_that_are_none(text: str) -> None:
    made = rules(changed(RULINGS, of_kind("profile"), settings=text, config_digest=config.digest(text)))
    assert {"the settings are those of a profile", "the settings of a run are in the log"} <= made


def test_settings_that_came_later_than_a_decision() -> None:
    made = found(changed(RULINGS, of_kind("profile"), first=20))
    assert made[0].rule == "the settings of a run are in the log" and made[0].position.startswith(RULINGS)


# ----------------------------------------------------------------------------------------------- commands and rulings


@pytest.mark.parametrize(("field", "value", "rule"), [
    ("first", 60, "the command is that of a ruling"), ("kind", "halt", "kind is that of the command"),
    ("command", 2, "command_hash is that of the command"), ("command", 9, "a command that is ruled on is there"),
    ("command_hash", 5, "command_hash is that of the command"),
    ("model_digest", "x", "model_digest is that of the command"),
    ("account", "other", "the key is the account"), ("kind", "unknown", "the kind is a known one"),
    ("partition", 1, "the command is that of a ruling")])
def test_a_ruling_that_says_something_else(field: str, value: Any, rule: str) -> None:
    assert rule in rules(changed(RULINGS, of_kind("reduce"), **{field: value}))


def test_a_command_ruled_on_twice() -> None:
    held = rows(RULINGS)
    assert "a command is ruled on once in each scope" in rules(with_rows(RULINGS, [*held, held[of_kind("halt")]]))


@pytest.mark.parametrize("kind", ["reduce", "halt", "profile", "schema_unknown"])
def test_a_ruling_that_was_never_written(kind: str) -> None:
    at = of_kind(kind)
    made = found(with_rows(RULINGS, [row for n, row in enumerate(rows(RULINGS)) if n != at]))
    assert made and any(finding.position.startswith(RULINGS) for finding in made)


@pytest.mark.parametrize(("field", "value"), [("kind", "halt"), ("reason", "none"), ("ts_sent", 1), ("account", "x")])
def test_a_command_that_says_something_else(field: str, value: Any) -> None:
    made = found(changed(COMMANDS, 0, **{field: value}))
    assert (f"{COMMANDS}:0:0", "command_hash is that of the command") in {(f.position, f.rule) for f in made}


def test_a_command_that_nobody_ruled_on_is_on_its_way_until_all_is_done() -> None:
    made = with_rows(COMMANDS, [*rows(COMMANDS), rows(COMMANDS)[0] | {"kind": "halt"}])
    assert found(made, complete=False) == []
    assert rules(made) == {"a command is ruled on"}
    assert found(with_rows(COMMANDS, [*rows(COMMANDS), rows(COMMANDS)[0] | {"kind": "model"}])) == []


@pytest.mark.parametrize(("field", "value", "rule"), [
    ("first", 0, "a version is unknown from a tick on that was refused"),
    ("schema_id", 77, "a ruling says from where on a version is unknown"),
    ("partition", 1, "a ruling says from where on a version is unknown")])
def test_a_version_that_was_ruled_on_otherwise(field: str, value: int, rule: str) -> None:
    assert rule in rules(changed(RULINGS, of_kind("schema_unknown"), **{field: value}))


def test_a_version_that_was_accepted_while_unknown() -> None:
    row = rows(RULINGS)[of_kind("schema_unknown")] | {"partition": 0, "first": 0, "schema_id": contracts().id(TICKS)}
    assert "a version is not known yet" in rules(with_rows(RULINGS, [*rows(RULINGS), row]))


def test_a_model_that_no_decision_used() -> None:
    row = rows(RULINGS)[0] | {"kind": "model", "command": -1, "partition": 0, "first": 9, "model_digest": "abc",
                              "command_hash": 0}
    assert rules(with_rows(RULINGS, [*rows(RULINGS), row])) == {"model_digest is that in force"}


# ---------------------------------------------------------------------------------------------------------- frontiers


def test_ticks_behind_a_frontier_come_at_its_time() -> None:
    """A frontier that was never acted on: a day ahead, before the first tick."""
    row = rows(FRONTIERS)[0] | {"offset": 3, "partition": 1, "ts_order": sample_log.START_NS + 86_400 * 10**9}
    assert rules(with_rows(FRONTIERS, [row, *rows(FRONTIERS)])) == {"ts_order follows from ticks and frontiers"}


def test_a_tick_that_was_not_waited_for() -> None:
    last = len(rows(FRONTIERS)) - 1
    made = found(with_rows(FRONTIERS, rows(FRONTIERS)[:last]))
    assert [(f.position, f.rule) for f in made] == [
        (f"{FRONTIERS}:0:{last - 1}", "a tick waits for every partition")]


@pytest.mark.parametrize("field", ["account", "ts_order", "offset"])
def test_a_last_frontier_that_says_something_else(field: str) -> None:
    last = len(rows(FRONTIERS)) - 1
    value = {"account": "other", "ts_order": 5, "offset": 10**6}[field]
    assert found(changed(FRONTIERS, last, **{field: value}))


def test_what_retention_removed_of_frontiers_is_not_missed() -> None:
    kept = log().records[FRONTIERS][0][2:]
    made = replace(log(), records={**log().records, FRONTIERS: {0: kept}}, starts={(FRONTIERS, 0): 2})
    assert found(made) == []


def test_a_run_that_computes_another_again_has_its_rulings_from_there() -> None:
    """Partition 0 is the recorded run's, 1 its own."""
    empty: list[Record] = []
    both = {topic: {**log().records[topic], 1: empty} for topic in (RULINGS, FRONTIERS, COMMANDS)}
    assert found(replace(log(), records={**log().records, **both})) == []


def test_a_second_account_is_named() -> None:
    records = list(log().records[FILLS][0])
    records[4] = records[4]._replace(key=b"other")
    made: Report = audit(replace(log(), records={**log().records, FILLS: {0: records}}), True)
    assert made.findings[0].position == f"{FILLS}:0:{records[4].offset}"
