"""intents.v1: one for each decision that has a target, in the same order; every field follows from others."""
from __future__ import annotations

from collections.abc import Iterator

from sigmaflow.audit.config import Config
from sigmaflow.audit.decisions import SIZING
from sigmaflow.audit.decode import Message, Row
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.inputs import Accepted
from sigmaflow.audit.log import INTENTS
from sigmaflow.audit.sequence import CAUSE
from sigmaflow.audit.stream import Stream

DECIDED = (*CAUSE, "intent_id", "strategy", "target_notional", "binding_constraint", "mid", "score", "mu", "sigma",
           "cvar_975", "top_alpha")
"""Fields that the decision has too."""

QUOTED = ("bid", "ask", "bid_size", "ask_size")
"""Fields that the tick has too."""

AHEAD = 4
"""Intents looked through for that of a decision: one that is out of its place is near it."""


class Intents:
    """The intents of the account, held against its decisions one by one.

    `trimmed` says that retention has removed intents, so that those before the first one are not missed.
    """

    def __init__(self, messages: Iterator[Message], trimmed: bool, findings: Findings) -> None:
        self._stream, self._kept, self._findings = Stream(messages), not trimmed, findings
        self._astray: list[Message] = []
        """Intents that were passed over; a later decision may still name them."""
        self._number = 0
        self._last_id: int | None = None
        self._position = f"{INTENTS}:0:0"

    def check(self, decision: Message, tick: Accepted | None, config: Config | None) -> None:
        """Hold the intent of the next decision against it."""
        wanted = decision.row["intent_id"]
        if wanted is None:
            return
        intent = self._take(wanted)
        if intent:
            self._number = self._number + 1 if self._kept else intent.row["intent_seq"]
            self._kept = True
            self._compare(intent, decision, tick, config)
            self._number = intent.row["intent_seq"]
        elif self._kept:
            self._findings.lost(self._position, "every target is an intent", f"none for {decision.position}",
                                "one after this")
            self._number += 1

    def _take(self, wanted: int) -> Message | None:
        """The intent of this id: the next one, one passed over, or one a little ahead."""
        for m in self._astray:
            if m.row["intent_id"] == wanted:
                self._astray.remove(m)
                self._findings.doubled(m, "intents come in the order of decisions", m.row["intent_seq"], self._number)
                return m
        ahead = [m for m in map(self._stream.peek, range(AHEAD)) if m]
        place = next((n for n, m in enumerate(ahead) if m.row["intent_id"] == wanted), None)
        if place is None:
            return None
        for _ in range(place):
            self._pass(self._stream.next())
        self._last_id = wanted
        found = self._stream.next()
        self._position = found.position
        return found

    def _pass(self, m: Message) -> None:
        """An intent before that of the decision: the last one again, or one whose decision may come later."""
        if m.row["intent_id"] == self._last_id:
            self._findings.doubled(m, "intent_id is unique", m.row["intent_id"], "no record before with it")
            return
        self._astray.append(m)
        if len(self._astray) > AHEAD:
            self._unnamed(self._astray.pop(0))

    def _unnamed(self, m: Message) -> None:
        self._findings.differs(m, "a decision names the intent", m.row["intent_id"], "the id of a decision",
                               Weight.CONTRADICTION)

    def finish(self, last: int, complete: bool) -> int:
        """Number of intents whose decision has not come yet, behind the last place; with `complete` a fault."""
        early = 0
        for m in (*self._astray, *self._stream):
            if m.row["intent_id"] == self._last_id:
                self._pass(m)
            elif m.row["account_seq"] > last and not complete:
                early += 1
            else:
                self._unnamed(m)
        return early

    def _compare(self, intent: Message, decision: Message, tick: Accepted | None, config: Config | None) -> None:
        expected = self._expected(intent.row, decision.row, tick, config)
        if repr(intent.row) == repr(expected):  # tells bits apart that == does not: -0.0
            return
        for name, value in intent.row.items():
            if repr(value) != repr(expected[name]):
                self._findings.differs(intent, f"{name} is that of its decision and tick", value, expected[name])

    def _expected(self, found: Row, decision: Row, tick: Accepted | None, config: Config | None) -> Row:
        """What the intent must be; quotes of a tick that is no longer kept are taken as they are."""
        expected = {name: decision[name] for name in DECIDED}
        expected["intent_seq"] = self._number
        expected["gates"] = decision["gates"][:len(SIZING)]
        if config:
            expected["target_fraction"] = decision["target_notional"] / config.sizing["reference_equity"]
        if tick:
            expected |= {name: tick.row[name] for name in QUOTED} | {"flags": tick.flags}
        return {name: expected.get(name, value) for name, value in found.items()}
