"""The auditor: logs that the chain wrote are clean, and every fault made in one is found and named.

Hashes seal most records, so that a changed byte is found whatever it says. The hand-made faults here are sealed anew,
as a chain with a wrong ledger would seal them: only the rule that is broken can find them.
"""
from __future__ import annotations

import hashlib
import io
import pkgutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import cycle
from random import Random
from typing import Any

import fastavro
import pytest

import schemas
import sigmaflow.audit
from sigmaflow import sample_log
from sigmaflow.audit import admission as judged
from sigmaflow.audit import mutations
from sigmaflow.audit.check import Report, audit
from sigmaflow.audit.decode import Decoder
from sigmaflow.audit.hashes import START, fnv1a, signed
from sigmaflow.audit.log import DEAD, DECISIONS, EQUITY, FILLS, INTENTS, TICKS, TOPICS, Log, Record
from sigmaflow.audit.mutations import DOUBLE, KINDS
from sigmaflow.settings import ROOT
from udfs import profiles
from udfs.stages import admission

Row = dict[str, Any]
SEEDS = range(3)
SEALED = (FILLS, EQUITY)


@cache
def log(seed: int = 0) -> Log:
    """A clean log: with seed 0 orders wait for a later tick, with 1 they are filled at once, with 2 they rest."""
    made = sample_log.many(seed)
    return next(made)


@cache
def decoder() -> Decoder:
    return Decoder(log().schemas, remember=True)


def audited(made: Log, complete: bool = True, limit: int = 1_000) -> Report:
    return audit(made, complete, decoder(), limit)


def rows(made: Log, topic: str, partition: int = 0) -> list[Row]:
    """Decoded values of a partition, copies that may be changed."""
    return [sample_log.decode(r.value or b"", topic) for r in made.records[topic][partition]]


def with_records(made: Log, topic: str, records: list[Record], partition: int = 0) -> Log:
    return replace(made, records={**made.records, topic: {**made.records[topic], partition: records}})


def forged(made: Log, topic: str, at: int, change: Callable[[Row], Row]) -> Log:
    """The log with one row changed, and everything sealed anew."""
    records = list(made.records[topic][0])
    records[at] = records[at]._replace(value=sample_log.encode(change(rows(made, topic)[at]), topic))
    return sealed(with_records(made, topic, records))


def sealed(made: Log) -> Log:
    """The log with effects and hash chain of its decisions computed from what it says."""
    bodies: dict[int, list[bytes]] = {}
    for topic in SEALED:
        for row, record in zip(rows(made, topic), made.records[topic][0], strict=True):
            bodies.setdefault(row["account_seq"], []).append((record.value or b"")[5:])
    chain, records = b"", []
    for row, record in zip(rows(made, DECISIONS), made.records[DECISIONS][0], strict=True):
        effects = START
        for body in bodies.get(row["account_seq"], []):
            effects = fnv1a(body, effects)
        value = sample_log.encode(row | {"effects": signed(effects)}, DECISIONS)[:-32]
        chain = hashlib.blake2b(value[5:-1] + chain, digest_size=16).hexdigest().encode()
        records.append(record._replace(value=value + chain))
    return with_records(made, DECISIONS, records)


def position(made: Log, topic: str, at: int, partition: int = 0) -> str:
    return f"{topic}:{partition}:{made.records[topic][partition][at].offset}"


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, str):
        return value + "x"
    if value is None:
        return 1
    if isinstance(value, float):
        return value * (1 + 2e-5) + 1e-3
    if isinstance(value, list):
        return [value[0] | {"value": 7.0}, *value[1:]]
    return value + 1


def first(made: Log, topic: str, where: Callable[[Row], bool]) -> int:
    """Place of the first row of which something holds, some way into the topic."""
    return next(n for n, row in enumerate(rows(made, topic)) if n > 3 and where(row))


# --------------------------------------------------------------------------------------------------------- clean logs


def test_it_imports_nothing_of_what_it_audits() -> None:
    names = [f"sigmaflow.audit.{module.name}" for module in pkgutil.iter_modules(sigmaflow.audit.__path__)]
    assert len(names) > 8
    program = (f"import sys, {', '.join(names)}\n"
               "print([m for m in sys.modules if m.split('.')[0] in ('jobs', 'udfs') or m == 'schemas.codec'])")
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_its_words_are_those_of_admission() -> None:
    assert dict(admission.REASONS.values()) == judged.DETAILS


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_chain_wrote_is_clean(seed: int) -> None:
    report = audited(log(seed))
    assert report.findings == [] and report.found == 0 and report.pending == 0
    assert report.accepted + report.duplicate + report.rejected == sum(map(len, log(seed).records[TICKS].values()))
    assert report.duplicate > 3 and report.rejected > 5 and len(log(seed).records[FILLS][0]) > (20, 20, 5)[seed]


def test_limits_bind_and_orders_are_replaced_in_the_samples() -> None:
    """Otherwise the clean logs would say little about the rules of the ledger."""
    decided = [row for seed in SEEDS for row in rows(log(seed), DECISIONS)]
    assert {"warm", "entry", "direction", "selection", "position", "gross", ""} <= {
        row["failed_gate"] for row in decided}
    assert {"fixed_notional", "cvar_budget", "selection"} <= {row["binding_constraint"] for row in decided}
    assert {"REPLACED", "NOT_REDUCING", "EXPIRED", "NONE"} <= {row["ended_as"] for row in decided}
    filled = [row for seed in SEEDS for row in rows(log(seed), FILLS)]
    assert {row["liquidity"] for row in filled} == {"TAKER", "MAKER"}
    assert any(row["part"] > 1 for row in filled) and any(row["remaining"] for row in filled)


@pytest.mark.parametrize("name", profiles.names())
def test_the_shipped_profiles_are_clean(name: str) -> None:
    made = sample_log.make(ticks=1_500, symbols=2, wanted=profiles.get(name))
    assert audited(made).findings == []


def test_a_profile_with_impact_is_clean() -> None:
    wanted = sample_log.profile()
    fills = wanted.fills.model_copy(update={"impact_bps": 3.0})
    made = sample_log.make(ticks=400, wanted=wanted.model_copy(update={"fills": fills}))
    assert audited(made).findings == [] and len(made.records[FILLS][0]) > 20


@pytest.mark.parametrize("behind", [1, 40, 200])
def test_what_a_running_chain_has_not_decided_yet_is_pending(behind: int) -> None:
    made = log()
    cut = with_records(made, DECISIONS, made.records[DECISIONS][0][:-behind])
    running, ended = audited(cut, complete=False), audited(cut)
    assert running.found == 0 and running.pending >= behind
    assert ended.lost >= behind


def test_what_retention_removed_is_not_missed() -> None:
    made = log()
    starts = {(TICKS, 0): 20, (INTENTS, 0): made.records[INTENTS][0][12].offset}
    for (topic, partition), start in starts.items():
        kept = [r for r in made.records[topic][partition] if r.offset >= start]
        made = with_records(made, topic, kept, partition)
    assert audited(replace(made, starts=starts)).findings == []
    assert audited(made).lost > 0


def test_records_of_another_version_are_read_as_todays() -> None:
    """A writer that knows one field more and another less, which has a default."""
    tick = schemas.load("tick")
    fields = [field for field in tick["fields"] if field["name"] != "last_price"]
    newer = tick | {"fields": [*fields, {"name": "note", "type": "string", "default": ""}]}
    row = sample_log.decode(log().records[TICKS][0][-1].value or b"", TICKS)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(newer), row | {"note": "new"})
    found = Decoder({TICKS: {99: newer}}).decode(TICKS, struct.pack(">bI", 0, 99) + out.getvalue())
    assert found == (row | {"last_price": None}, "")


def test_an_empty_log_is_clean() -> None:
    assert audited(Log({}, log().schemas)).found == 0


# ---------------------------------------------------------------------------------------------------------- mutations


@pytest.mark.parametrize(("topic", "kind"), [(topic, kind) for topic in TOPICS for kind in KINDS
                                             if (topic, kind) != (DEAD, DOUBLE)])
def test_every_kind_of_mutation_is_found_and_named(topic: str, kind: str) -> None:
    for case in range(12):
        mutation = mutations.mutate(log(case % 2), Random(f"{topic} {kind} {case}"), topic, kind)
        verdict = mutations.judge(mutation, decoder())
        assert verdict.found and verdict.near, str(mutation)


def test_five_hundred_seeded_mutations_are_found() -> None:
    small = (sample_log.make(ticks=120, symbols=3, seed=seed) for seed in cycle([5]))
    counted = mutations.run(small, 500, seed=2)
    assert counted["found"] == counted["cases"] == 500
    assert counted["lost"] + counted["doubled"] + counted["differing"] == 500
    assert counted["near"] == 500 and counted["exact"] > 475


# ------------------------------------------------------------------------------------------------------------- inputs


def test_a_dead_letter_may_be_repeated_but_not_contradicted() -> None:
    made, records = log(), log().records[DEAD][0]
    again = [*records, *(r._replace(offset=r.offset + len(records)) for r in records[5:])]
    report = audited(with_records(made, DEAD, again))
    assert report.found == 0 and report.repeats == len(records) - 5
    liar = rows(made, DEAD)[5] | {"payload": b"else"}
    again[len(records)] = again[len(records)]._replace(value=sample_log.encode(liar, DEAD))
    assert audited(with_records(made, DEAD, again)).findings[0].position == f"{DEAD}:0:{len(records) + 5}"


def test_letters_of_other_topics_are_left_out() -> None:
    made, records = log(), log().records[DEAD][0]
    row = rows(made, DEAD)[0] | {"topic": "signals.v1", "partition": 2, "offset": 7}
    letter = Record(len(records), b"signals.v1:2", sample_log.encode(row, DEAD))
    assert audited(with_records(made, DEAD, [*records, letter])).found == 0


@pytest.mark.parametrize(("field", "value", "rule"), [
    ("reason", "crossed", "the detail is that of the reason"), ("reason", "unlucky", "the reason is a known one"),
    ("detail", "because", "the detail is that of the reason"), ("stage", "risk", "the stage is admission"),
    ("payload", b"", "a dead letter has the bytes of its input"), ("partition", 1, "the key is topic:partition"),
])
def test_a_wrong_dead_letter(field: str, value: Any, rule: str) -> None:
    made = log()
    at = first(made, DEAD, lambda row: row["partition"] == 0 and row["reason"] == "duplicate")
    report = audited(forged(made, DEAD, at, lambda row: row | {field: value}))
    assert (position(made, DEAD, at), rule) in {(f.position, f.rule) for f in report.findings}


def test_a_reason_that_the_input_does_not_show() -> None:
    made = log()
    at = first(made, DEAD, lambda row: row["reason"] == "duplicate")
    report = audited(forged(made, DEAD, at, lambda row: row | {
        "reason": "crossed", "detail": judged.DETAILS["crossed"]}))
    assert [(f.position, f.rule) for f in report.findings] == [
        (position(made, DEAD, at), "the reason is what the input shows")]


def test_an_input_that_is_accepted_and_dead() -> None:
    made, records = log(), log().records[DEAD][0]
    tick = rows(made, DECISIONS)[-1]
    raw = made.records[TICKS][tick["partition"]][tick["offset"]].value
    row = rows(made, DEAD)[0] | {"partition": tick["partition"], "offset": tick["offset"], "payload": raw}
    letter = Record(len(records), f"{TICKS}:{tick['partition']}".encode(), sample_log.encode(row, DEAD))
    report = audited(with_records(made, DEAD, [*records, letter]))
    assert report.doubled == 1 and report.findings[-1].position == f"{DEAD}:0:{len(records)}"


def test_an_accepted_tick_that_admission_must_refuse() -> None:
    made = log()
    decided = rows(made, DECISIONS)
    at = len(decided) - 1
    place = decided[at]["partition"], decided[at]["offset"]
    ticks = list(made.records[TICKS][place[0]])
    crossed = sample_log.encode(sample_log.decode(ticks[place[1]].value or b"", TICKS) | {"ask": 1.0})
    ticks[place[1]] = ticks[place[1]]._replace(value=crossed)
    changed = with_records(made, TICKS, ticks, place[0])
    report = audited(forged(changed, DECISIONS, at, lambda row: row | {"tick_id": signed(fnv1a(crossed[5:]))}))
    assert "an accepted tick passes admission" in {f.rule for f in report.findings}


# ------------------------------------------------------------------------------------ rules, each by a fault that seals

FREE = {EQUITY: {"account_cvar_975"}, FILLS: set[str](), INTENTS: set[str](),
        DECISIONS: {"code_digest", "sigma", "cvar_975", "effects", "chain",
                    "binding_constraint", "top_alpha"}}
"""Fields that follow from nothing else in these topics: hashes alone hold them."""

REPEATED = {"partition", "offset", "ts_order", "gates", "score", "order_limit"}
"""Fields of a decision that the records it caused repeat: where it alone is wrong, and sealed, they are named."""


another: dict[str, Callable[[Any], Any]] = {
    "side": lambda v: "SELL" if v == "BUY" else "BUY", "liquidity": lambda v: "MAKER" if v == "TAKER" else "TAKER",
    "state": lambda v: "HALTED", "state_cause": lambda v: "DRAWDOWN" if v == "NONE" else "NONE",
    "ended_as": lambda v: "EXPIRED" if v == "NONE" else "NONE", "command": lambda v: "HALT"}
"""Other symbols of enums."""


@pytest.mark.parametrize(("topic", "field"), [
    (topic, field["name"]) for topic in (INTENTS, FILLS, EQUITY, DECISIONS)
    for field in schemas.load(schemas.topics()[topic].schema)["fields"] if field["name"] not in FREE[topic]])
@pytest.mark.parametrize("seed", range(2))
def test_every_field_follows_from_others(topic: str, field: str, seed: int) -> None:
    made = log(seed)
    at = first(made, topic, lambda row: topic != DECISIONS or row["order_id"] is not None)
    value = {"failed_gate": lambda v: "warm"}.get(field, another.get(field, other))
    changed = forged(made, topic, at, lambda row: row | {field: value(row[field])})
    named = {f.position for f in audited(changed).findings}
    assert position(made, topic, at) in named or (topic == DECISIONS and field in REPEATED and named)


@pytest.mark.parametrize(("topic", "field"), [
    *((FILLS, field) for field in ("price", "fee", "part", "remaining", "liquidity", "quantity", "fill_id")),
    *((DECISIONS, field) for field in ("order_limit", "ended_order_id", "ended_as", "command"))])
def test_so_does_every_field_of_orders_that_rest(topic: str, field: str) -> None:
    test_every_field_follows_from_others(topic, field, 2)


def gate(name: str, **changes: Any) -> Callable[[Row], Row]:
    """A change of one check of a decision."""
    return lambda row: row | {"gates": [g | changes if g["gate"] == name else g for g in row["gates"]]}


@pytest.mark.parametrize(("name", "seed"), [("position", 2), ("gross", 0)])
def test_an_order_beyond_a_limit(name: str, seed: int) -> None:
    """A chain that let an order pass a limit: the check says so, the order is sent."""
    made = log(seed)
    at = first(made, DECISIONS, lambda row: row["failed_gate"] == name)
    report = audited(forged(made, DECISIONS, at, gate(name, passed=True)))
    assert (position(made, DECISIONS, at), f"{name} passes by its rule") in {
        (f.position, f.rule) for f in report.findings}


@pytest.mark.parametrize("name", ["position", "gross", "account_cvar", "quantity", "entry", "halt", "concentration"])
def test_a_limit_that_moves(name: str) -> None:
    made = log()
    at = first(made, DECISIONS, lambda row: row["order_id"] is not None)
    report = audited(forged(made, DECISIONS, at, gate(name, limit=1e9)))
    assert f"limit of {name} is the profile's" in {f.rule for f in report.findings}


@pytest.mark.parametrize("name", ["entry", "direction", "cost", "reducing", "range", "position", "gross",
                                  "concentration", "quantity"])
def test_a_check_that_saw_something_else(name: str) -> None:
    made = log()
    at = first(made, DECISIONS, lambda row: row["order_id"] is not None)
    report = audited(forged(made, DECISIONS, at, gate(name, value=0.123)))
    assert f"value of {name}" in {f.rule for f in report.findings}


def test_an_order_filled_twice() -> None:
    made = log()
    fills = rows(made, FILLS)
    at = next(n for n, fill in enumerate(fills[:-1]) if n > 5 and fill["remaining"] == 0)
    report = audited(forged(made, FILLS, at + 1, lambda row: row | {
        name: fills[at][name] for name in ("order_id", "intent_id", "quantity", "side", "ts_order_sent")}))
    assert {"an order is filled while it is open", "filled is never above ordered"} & {
        f.rule for f in report.findings if f.position == position(made, FILLS, at + 1)}


def test_an_order_filled_after_it_was_replaced() -> None:
    made = log()
    filled = {row["order_id"] for row in rows(made, FILLS)}
    replaced = {row["ended_order_id"] for row in rows(made, DECISIONS) if row["ended_as"] == "REPLACED"}
    old = next(row for row in rows(made, DECISIONS) if row["order_id"] in replaced - filled)
    at = next(n for n, row in enumerate(rows(made, FILLS))
              if row["symbol"] == old["symbol"] and row["account_seq"] > old["account_seq"])
    report = audited(forged(made, FILLS, at, lambda row: row | {
        "order_id": old["order_id"], "intent_id": old["intent_id"]}))
    assert ("an order is filled while it is open", "replaced") in {(f.rule, f.found) for f in report.findings}


@pytest.mark.parametrize(("seed", "topic", "rule"), [
    (0, FILLS, "every fill is in the ledger"), (1, FILLS, "an order that is due is filled"),
    *((seed, topic, rule) for seed in range(2) for topic, rule in (
        (EQUITY, "a fill is followed by a mark"), (INTENTS, "every target is an intent")))])
def test_a_record_that_was_never_written(seed: int, topic: str, rule: str) -> None:
    made = log(seed)
    seqs = {row["account_seq"] for row in rows(made, FILLS)}
    at = first(made, topic, lambda row: topic == INTENTS or row["account_seq"] in seqs)
    report = audited(sealed(with_records(made, topic, [r for n, r in enumerate(made.records[topic][0]) if n != at])))
    assert (position(made, topic, at - 1), rule) in {(f.position, f.rule) for f in report.findings}


def test_a_state_that_nothing_led_to() -> None:
    made = log()
    report = audited(forged(made, DECISIONS, 9, lambda row: row | {"state": "HALTED", "state_cause": "DRAWDOWN"}))
    assert (position(made, DECISIONS, 9), "the state follows from equity, settings and commands") in {
        (f.position, f.rule) for f in report.findings}


def test_a_halted_account_fills_only_what_reduces() -> None:
    """The tick before the first fill obeys a command to halt, and the fills go on."""
    made = log()
    seq = rows(made, FILLS)[0]["account_seq"]
    report = audited(forged(made, DECISIONS, seq - 2, lambda row: row | {"command": "HALT"}))
    assert {"a halted account fills only what reduces", "the command is that of a ruling"} <= {
        f.rule for f in report.findings}


def test_a_loss_is_not_negative() -> None:
    made = log()
    report = audited(forged(made, EQUITY, 9, lambda row: row | {"account_cvar_975": -1.0}))
    assert [f.rule for f in report.findings] == ["account_cvar_975 is a loss"]


def test_an_input_decided_twice() -> None:
    made = log()
    decided = rows(made, DECISIONS)
    report = audited(forged(made, DECISIONS, 9, lambda row: decided[8] | {
        "account_seq": row["account_seq"], "decision_id": row["decision_id"]}))
    assert "an input is decided once" in {
        f.rule for f in report.findings if f.position == position(made, DECISIONS, 9)}


def test_findings_beyond_the_limit_are_counted() -> None:
    made = log()
    report = audited(with_records(made, DECISIONS, made.records[DECISIONS][0][:10]), limit=20)
    assert len(report.findings) == 20 and report.found > 200
