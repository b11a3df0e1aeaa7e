"""Dead letters of a run: list them, show one, and send the ticks in them again after a fix.

Kafka is a log: a dead letter stays where it is. What was sent again carries the header `replayed-from` with the place
of the input it repeats, so that nothing is sent twice.
"""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from connectors.ticks import TickWriter
from jobs.chain.messages import RecordReader
from jobs.chain.shard import DEAD, TICKS
from schemas.codec import NULL_VALUE, OK, Decoder
from sigmaflow.errors import UserError
from sigmaflow.explain_view import print_rows
from sigmaflow.history import History, KafkaHistory
from sigmaflow.output import console, print_json
from sigmaflow.settings import load
from udfs.stages.admission import REASONS

STAGE = "dlq"
REPLAYED_FROM = "replayed-from"
"""Header of a record that was sent again: topic:partition:offset of the input that it repeats."""
SHOWN_DETAIL = 60

Place = tuple[int, int]
"""Partition and offset of an input."""


class Letter(NamedTuple):
    """One dead letter; `place` is the input's, `time_ms` when it was refused, ms since 1970-01-01 UTC."""

    place: Place
    fields: dict[str, Any]
    time_ms: int

    @property
    def time(self) -> str:
        """When it was refused, ISO 8601 in UTC."""
        return f"{np.datetime64(self.time_ms, 'ms')}Z"

    @property
    def origin(self) -> str:
        """The input as `replayed-from` names it."""
        return f"{self.fields['topic']}:{self.place[0]}:{self.place[1]}"

    @property
    def original(self) -> bytes | None:
        """The input's value as it came."""
        return None if self.fields["reason"] == REASONS[NULL_VALUE][0] else bytes(self.fields["payload"])


@dataclass
class Listing:
    """Dead letters counted by reason, and the newest of them."""

    counts: Counter[str] = field(default_factory=Counter)
    newest: deque[Letter] = field(default_factory=deque)


@dataclass
class Plan:
    """What a replay sends, and how many it leaves out: those sent before, and those that were refused once more."""

    send: list[Letter] = field(default_factory=list)
    sent_before: int = 0
    refused_again: int = 0


class Payloads:
    """Reads the ticks in dead letters, by the rules of the chain: whole and of a registered schema, or not at all."""

    def __init__(self, history: History) -> None:
        contracts = history.contracts
        self._decoder = Decoder(contracts.schema(TICKS), contracts.writers(TICKS))
        self._reader = RecordReader(contracts.writers(TICKS))

    def tick(self, payload: bytes | None) -> tuple[dict[str, Any] | None, str]:
        """The tick, or None and why it cannot be read."""
        verdict = int(self._decoder.decode([payload]).verdict[0])
        if payload is None or verdict != OK:
            return None, ": ".join(REASONS[verdict])
        return self._reader.read(payload), ""

    def key(self, payload: bytes | None) -> bytes | None:
        """The key that the tick has, VENUE:SYMBOL; None where it cannot be read."""
        tick, _ = self.tick(payload)
        return None if tick is None else f"{tick['venue']}:{tick['symbol']}".encode()


def letters(history: History, reason: str = "", at: Place | None = None) -> Iterator[Letter]:
    """Every dead letter once, in order, of one reason or input where asked; a restart may have written some again."""
    seen: set[Place] = set()
    for kept in history.stream(DEAD):
        try:
            fields = history.decode(DEAD, kept.value or b"")
        except UserError:  # nobody's letter: the alert UndecodableRecords tells of it
            continue
        place = (fields["partition"], fields["offset"])
        if place in seen or at not in (None, place) or reason not in ("", fields["reason"]):
            continue
        seen.add(place)
        yield Letter(place, fields, kept.time_ms)


def listing(found: Iterable[Letter], limit: int) -> Listing:
    """Count dead letters, and keep the newest `limit`."""
    made = Listing(newest=deque(maxlen=limit))
    for letter in found:
        made.counts[letter.fields["reason"]] += 1
        made.newest.append(letter)
    return made


def one(history: History, at: Place) -> Letter:
    """The dead letter of an input. Raises UserError where it has none."""
    letter = next(letters(history, at=at), None)
    if letter is None:
        raise _nothing(history, f"of input {at[0]}:{at[1]}")
    return letter


def plan(history: History, reason: str = "", at: Place | None = None, again: bool = False) -> Plan:
    """What a replay would send now; with `again` also ticks that were sent again and refused once more.

    Raises UserError where no dead letter is of that reason and input.
    """
    found = list(letters(history, reason, at))
    if not found:
        raise _nothing(history, " ".join([f"of reason {reason}"] * bool(reason) + [f"of input {at}"] * bool(at)))
    origins, resent = _sent(history)
    made = Plan()
    for letter in found:
        if letter.origin in origins:
            made.sent_before += 1
        elif letter.place in resent and not again:
            made.refused_again += 1
        else:
            made.send.append(letter)
    return made


def _sent(history: History) -> tuple[set[str], set[Place]]:
    """What was sent again so far: the inputs it repeats, and where it is itself."""
    origins: set[str] = set()
    resent: set[Place] = set()
    for kept in history.stream(TICKS):
        for name, value in kept.headers:
            if name == REPLAYED_FROM:
                origins.add(value.decode())
                resent.add((kept.partition, kept.offset))
    return origins, resent


def _nothing(history: History, which: str) -> UserError:
    return UserError(STAGE, f"{history.name(DEAD)} must hold a dead letter {which}".rstrip(), "it holds none",
                     "see `sigmaflow dlq list`, or name another run with --from")


def parse_place(text: str) -> Place:
    """PARTITION:OFFSET of an input, also with its topic in front. Raises UserError for anything else.

    >>> parse_place("2:17"), parse_place("market.ticks.v1:2:17")
    ((2, 17), (2, 17))
    """
    numbers = text.rsplit(":", 2)[-2:]
    if len(numbers) != 2 or not all(n.isdecimal() for n in numbers):
        raise UserError(STAGE, "an input must be named PARTITION:OFFSET", f"it is {text!r}",
                        "copy it from `sigmaflow dlq list`")
    return int(numbers[0]), int(numbers[1])


# --------------------------------------------------------------------------------------------------------- commands


def run_list(namespace: str, reason: str, limit: int, as_json: bool) -> None:
    """Print counts by reason and the newest dead letters."""
    made = listing(letters(KafkaHistory(load(), namespace), reason), limit)
    rows = [row(letter) for letter in made.newest]
    if as_json:
        print_json({"counts": made.counts, "newest": rows})
        return
    print_rows("dead letters", [{"reason": name, "count": count} for name, count in made.counts.most_common()])
    print_rows(f"the newest {len(rows)}", [r | {"detail": r["detail"][:SHOWN_DETAIL]} for r in rows])


def row(letter: Letter) -> dict[str, Any]:
    """A dead letter in one line."""
    return {"input": f"{letter.place[0]}:{letter.place[1]}", "reason": letter.fields["reason"],
            "time": letter.time, "detail": letter.fields["detail"]}


def run_show(namespace: str, at: str, as_json: bool) -> None:
    """Print one dead letter: all fields, and its tick where that can be read."""
    wanted = parse_place(at)
    history = KafkaHistory(load(), namespace)
    answer = shown_letter(history, one(history, wanted))
    if as_json:
        print_json(answer)
        return
    for name in ("letter", "tick"):
        print_rows(name, [{"field": key, "value": value} for key, value in answer[name].items()])


def shown_letter(history: History, letter: Letter) -> dict[str, Any]:
    """All that is known of a dead letter. `tick` has only `unreadable`, with the reason, where it cannot be read."""
    tick, why = Payloads(history).tick(letter.original)
    return {"letter": letter.fields | {"time": letter.time},
            "tick": {"unreadable": why} if tick is None else tick}


def run_replay(namespace: str, reason: str, at: str, again: bool, dry_run: bool) -> dict[str, int]:
    """Send the ticks in dead letters again; gives what was done with how many."""
    settings, place = load(), parse_place(at) if at else None
    history = KafkaHistory(settings, namespace)
    made = plan(history, reason, place, again)
    payloads, keyless = Payloads(history), 0
    writer = None if dry_run or not made.send else TickWriter(settings, history.name(TICKS))
    for letter in made.send:
        key = payloads.key(letter.original)
        keyless += key is None
        if writer is not None:
            writer.write_raw(key, letter.original, {REPLAYED_FROM: letter.origin})
    if writer is not None:
        writer.flush()
    if dry_run:
        counts = listing(made.send, 0).counts
        console().print("would be sent: " + (", ".join(f"{n:,} {name}" for name, n in counts.most_common()) or "none"))
    return {"sent": 0 if dry_run else len(made.send), "would_send": len(made.send) if dry_run else 0,
            "without_key": keyless, "sent_before": made.sent_before, "refused_again": made.refused_again}
