"""intents.v1: one for each decision that has a target, in the same order; every field follows from others."""
from __future__ import annotations

from collections import Counter

from sigmaflow.audit.decisions import SIZING, Decisions
from sigmaflow.audit.decode import Message, Row
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.inputs import Inputs
from sigmaflow.audit.sequence import CAUSE, InOrder

DECIDED = (*CAUSE, "intent_id", "strategy", "target_notional", "binding_constraint", "mid", "score", "mu", "sigma",
           "cvar_975", "top_alpha")
"""Fields that the decision has too."""

QUOTED = ("bid", "ask", "bid_size", "ask_size")
"""Fields that the tick has too."""

DIGITS = 12
"""Significant digits that a reference equity has at most, so that it can be read off a fraction."""


class Intents:
    """The intents of one account against its decisions and ticks."""

    def __init__(self, decisions: Decisions, intents: InOrder, inputs: Inputs, findings: Findings) -> None:
        self._decisions, self._intents, self._inputs, self._findings = decisions, intents, inputs, findings
        self._of = {m.row["intent_id"]: m for m in intents.messages}
        self._references = self._reference_equities()

    def check(self, complete: bool, trimmed: bool) -> int:
        """Number of intents whose decision has not come yet; with `complete` that is a fault.

        `trimmed` says that retention has removed intents, so that those before the first one are not missed.
        """
        kept, number = not trimmed, 0
        for decision in self._decisions.messages:
            intent_id = decision.row["intent_id"]
            if intent_id is None:
                continue
            intent = self._of.pop(intent_id, None)
            if intent:
                self._compare(intent, decision, number + 1 if kept else intent.row["intent_seq"])
                kept, number = True, intent.row["intent_seq"]
            elif kept:
                self._missing(decision)
                number += 1
        return self._left(complete)

    def _missing(self, decision: Message) -> None:
        self._findings.lost(self._intents.before(decision.row["account_seq"]), "every target is an intent",
                            f"none for {decision.position}", "one after this")

    def _left(self, complete: bool) -> int:
        """Intents that no decision names."""
        early = [m for m in self._of.values() if m.row["account_seq"] > self._decisions.last and not complete]
        for m in self._of.values():
            if m not in early:
                self._findings.differs(m, "a decision names the intent", m.row["intent_id"], "the id of a decision",
                                       Weight.CONTRADICTION)
        return len(early)

    def _compare(self, intent: Message, decision: Message, number: int) -> None:
        expected = self._expected(intent.row, decision.row, number)
        if repr(intent.row) == repr(expected):  # tells bits apart that == does not: -0.0
            return
        for name, value in intent.row.items():
            if repr(value) != repr(expected[name]):
                self._findings.differs(intent, f"{name} is that of its decision and tick", value, expected[name])

    def _expected(self, found: Row, decision: Row, number: int) -> Row:
        """What the intent must be; quotes of a tick that is no longer kept are taken as they are."""
        expected = {name: decision[name] for name in DECIDED}
        expected["intent_seq"] = number
        expected["gates"] = decision["gates"][:len(SIZING)]
        expected["target_fraction"] = decision["target_notional"] / self._references.get(decision["config_digest"], 1.0)
        tick = self._inputs.ticks.get((decision["partition"], decision["offset"]))
        if tick:
            expected |= {name: tick.row[name] for name in QUOTED} | {"flags": tick.flags}
        return {name: expected.get(name, value) for name, value in found.items()}

    def _reference_equities(self) -> dict[str, float]:
        """Reference equity of each profile: what most of its intents say."""
        said: dict[str, Counter[float]] = {}
        for decision in self._decisions.messages:
            intent = self._of.get(decision.row["intent_id"])
            if intent and intent.row["target_fraction"]:
                ratio = decision.row["target_notional"] / intent.row["target_fraction"]
                said.setdefault(decision.row["config_digest"], Counter())[float(f"{ratio:.{DIGITS}g}")] += 1
        return {digest: ratios.most_common(1)[0][0] or 1.0 for digest, ratios in said.items()}
