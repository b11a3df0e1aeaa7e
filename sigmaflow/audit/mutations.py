"""Seeded mutations: one record of a clean log changed, dropped, doubled or swapped, and whether the audit finds it.

    python -m sigmaflow.audit.mutations --cases 10000 --seed 1

Three changes leave nothing to find and are not made. A dead letter written twice is legal: its topic is at-least-once.
So is the order between letters of different partitions, and between rulings of different scopes: nobody relies on it.
The key of a tick that cannot be read has no right value.
"""
from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import fastavro

import schemas
from sigmaflow.audit import rulings
from sigmaflow.audit.check import Report, audit
from sigmaflow.audit.decode import HEADER, Decoder, Row
from sigmaflow.audit.findings import DIFFERING, DOUBLED, LOST
from sigmaflow.audit.log import DEAD, LEARNT, RULINGS, TICKS, TOPICS, Log, Record

CHANGE, DROP, DOUBLE, SWAP = "change", "drop", "double", "swap"
KINDS = (CHANGE, DROP, DOUBLE, SWAP)
AS = {CHANGE: DIFFERING, SWAP: DIFFERING, DROP: LOST, DOUBLE: DOUBLED}
"""What a mutation is counted as in the summary."""

CONTIGUOUS = frozenset({TICKS, DEAD, *LEARNT})
"""Topics without transactions: a broker that never had a record has no gap in its place."""

CASES_A_LOG = 1_000


@dataclass(frozen=True)
class Mutation:
    """One mutation: the log behind it, the positions that name it, and those with their neighbours'.

    A record that is gone is named by its own position or by that of the one after which it is missing.
    """

    topic: str
    kind: str
    log: Log
    positions: frozenset[str]
    near: frozenset[str]

    def __str__(self) -> str:
        return f"{self.kind} {', '.join(sorted(self.positions))}"


class Verdict(NamedTuple):
    """Whether a mutation was found; whether the first finding names it; whether any names it or a neighbour."""

    found: bool
    exact: bool
    near: bool


def mutate(log: Log, random: Random, topic: str = "", kind: str = "") -> Mutation:
    """A random mutation, of a given topic and kind where they are not empty. Draws again where nothing would change."""
    while True:
        of = topic or random.choice([t for t in TOPICS if any(log.records.get(t, {}).values())])
        how = kind or random.choice(KINDS)
        partition, records = random.choice([(p, part) for p, part in sorted(log.records[of].items()) if part])
        at = random.randrange(len(records))
        changed = _changed(of, how, records, at, random)
        if changed is not None and changed != records:
            return _mutation(log, of, how, partition, records, changed, at)


def _mutation(log: Log, topic: str, kind: str, partition: int, records: list[Record], changed: list[Record],
              at: int) -> Mutation:
    touched = {records[at].offset} if kind != DOUBLE else {changed[at + 1].offset}
    if kind == SWAP:
        touched.add(records[at + 1].offset)
    if kind == DROP:
        touched.add(next((r.offset for r in reversed(records[:at]) if topic != DEAD or r.key == records[at].key), 0))
    beside = {r.offset for side in (records, changed) for r in side[max(0, at - 1):at + 3]}
    named, near = (frozenset(f"{topic}:{partition}:{n}" for n in offsets) for offsets in (touched, touched | beside))
    parts = {**log.records[topic], partition: changed}
    return Mutation(topic, kind, Log({**log.records, topic: parts}, log.schemas, log.starts), named, near)


def _changed(topic: str, kind: str, records: list[Record], at: int, random: Random) -> list[Record] | None:
    """The records behind a mutation of the one at `at`; None where it is not made."""
    if kind == CHANGE:
        return _change(topic, records, at, random)
    if kind == DROP:
        return _renumbered(topic, records[:at] + records[at + 1:], at, -1)
    if kind == DOUBLE:
        return None if topic == DEAD else [*records[:at + 1], *(r._replace(offset=r.offset + 1) for r in records[at:])]
    if at + 1 == len(records) or _apart(topic, records[at], records[at + 1]):
        return None
    one, two = records[at], records[at + 1]
    return [*records[:at], two._replace(offset=one.offset), one._replace(offset=two.offset), *records[at + 2:]]


def _apart(topic: str, one: Record, two: Record) -> bool:
    """Whether two records have no order between them."""
    if topic == RULINGS:
        a, b = ((m["partition"], rulings.GROUPS.get(m["kind"], "state")) for m in map(_ruling, (one, two)))
        return a != b
    return topic == DEAD and one.key != two.key


def _ruling(record: Record) -> Row:
    schema = fastavro.parse_schema(schemas.load(schemas.topics()[RULINGS].schema))
    found: Row = fastavro.schemaless_reader(io.BytesIO((record.value or b"")[HEADER:]), schema, None)
    return found


def _renumbered(topic: str, records: list[Record], at: int, by: int) -> list[Record]:
    if topic not in CONTIGUOUS:
        return records
    return records[:at] + [r._replace(offset=r.offset + by) for r in records[at:]]


def _change(topic: str, records: list[Record], at: int, random: Random) -> list[Record] | None:
    """Another value for one byte of key or value."""
    record = records[at]
    key, value = record.key or b"", record.value or b""
    if not key + value:
        return None
    place, flip = random.randrange(len(key + value)), random.randrange(1, 256)
    if place < len(key):
        new = record._replace(key=_flipped(key, place, flip))
    else:
        new = record._replace(value=_flipped(value, place - len(key), flip))
    return [*records[:at], new, *records[at + 1:]]


def _flipped(data: bytes, place: int, flip: int) -> bytes:
    return data[:place] + bytes([data[place] ^ flip]) + data[place + 1:]


def judge(mutation: Mutation, decoder: Decoder) -> Verdict:
    """Audit a mutated log as one that no job is behind."""
    report = audit(mutation.log, complete=True, decoder=decoder)
    named = [finding.position for finding in report.findings]
    exact = bool(named) and named[0] in mutation.positions
    return Verdict(bool(named), exact, not mutation.near.isdisjoint(named))


def run(logs: Iterator[Log], cases: int, seed: int) -> dict[str, int | float]:
    """Judge this many mutations of some logs; counts, `exact` and `near` as in Verdict."""
    began, counts = time.perf_counter(), Counter[str]()
    for first in range(0, cases, CASES_A_LOG):
        log = next(logs)
        decoder = Decoder(log.schemas, remember=True)
        _clean(audit(log, complete=True, decoder=decoder))
        for case in range(first, min(first + CASES_A_LOG, cases)):
            mutation = mutate(log, Random(f"{seed}:{case}"))
            _count(mutation, case, judge(mutation, decoder), counts)
    names = ("exact", "near", LOST, DOUBLED, DIFFERING, "found")
    return {"cases": cases} | {name: counts[name] for name in names} | {
        "seconds": round(time.perf_counter() - began, 1)}


def _clean(report: Report) -> None:
    if report.found:
        raise AssertionError(f"the log must be clean before it is changed, but {report.findings[0]}")


def _count(mutation: Mutation, case: int, verdict: Verdict, counts: Counter[str]) -> None:
    counts.update({"found": verdict.found, "exact": verdict.exact, "near": verdict.near,
                   AS[mutation.kind]: verdict.found})
    if not verdict.near:
        print(f"case {case}: {mutation} is {'found elsewhere' if verdict.found else 'not found'}", file=sys.stderr)


def main() -> int:
    """Mutate logs of the in-process chain; one line of JSON. Exit code 1 unless every mutation is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    from sigmaflow import sample_log  # makes the logs; only here, so that the auditor does not know the chain

    found = run(sample_log.many(options.seed), options.cases, options.seed)
    print(json.dumps(found), flush=True)
    return 0 if found["found"] == options.cases else 1


if __name__ == "__main__":
    sys.exit(main())
