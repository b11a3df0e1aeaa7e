"""rulings.v1 and commands.v1: what people told the chain, from where on it held, and the settings of the run.

Every ruling is sealed by a hash chain, and seals the command that it is on by a hash. Both topics are short (one record
for each command, contract or change of settings), so they are held whole. A command without a ruling is sealed by
nothing: it has done nothing yet.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sigmaflow.audit import config
from sigmaflow.audit.config import Config
from sigmaflow.audit.decode import HEADER, Decoder, Message
from sigmaflow.audit.findings import Findings, Weight
from sigmaflow.audit.hashes import fnv1a, signed
from sigmaflow.audit.log import COMMANDS, RULINGS, Source
from sigmaflow.audit.stream import Chain, readable

ACCOUNT, NOBODY = -1, -1
NONE = "NONE"
STATES = frozenset({"resume", "reduce", "halt"})
GROUPS = {"model": "model", "profile": "profile", "schema_unknown": "schema", "schema_known": "schema",
          "indicator": "indicator"}
"""Kinds that one worker rules on, in one chain; the others are of the account's state."""


@dataclass
class Span:
    """Offsets of a partition in which ticks of a schema id are refused; `end` is None where they still are."""

    opened: Message
    end: int | None = None
    met: bool = False
    """Whether the tick that it was opened for was refused."""

    def holds(self, offset: int) -> bool:
        """Whether an offset lies in it."""
        return bool(offset >= self.opened.row["first"] and (self.end is None or offset < self.end))


@dataclass
class Rulings:
    """All rulings of a log, by what they are about; `last` is the position of the last one."""

    last: str = f"{RULINGS}:0:0"
    configs: list[tuple[int, Config]] = field(default_factory=list)
    _states: dict[int, Message] = field(default_factory=dict)
    _models: dict[int, list[Message]] = field(default_factory=dict)
    _spans: dict[tuple[int, int], list[Span]] = field(default_factory=dict)

    def add(self, m: Message) -> None:
        """Take the next ruling."""
        row = m.row
        self.last = m.position
        if row["kind"] == "model":
            self._models.setdefault(row["partition"], []).append(m)
        elif row["kind"] == "schema_unknown":
            self._spans.setdefault((row["partition"], row["schema_id"]), []).append(Span(m))
        elif row["kind"] == "schema_known":
            for span in self._spans.get((row["partition"], row["schema_id"]), [])[-1:]:
                span.end = row["first"]
        elif row["kind"] in STATES and row["partition"] == ACCOUNT:
            self._states[row["first"]] = m

    def config(self, account_seq: int) -> Config | None:
        """Settings in force at a place of the account; None where no ruling says."""
        return next((held for first, held in reversed(self.configs) if first <= account_seq), None)

    def command(self, account_seq: int) -> str:
        """Command that holds from a place of the account on, as decisions name it."""
        m = self._states.get(account_seq)
        return m.row["kind"].upper() if m else NONE

    def model(self, partition: int, offset: int) -> str:
        """Digest of the model in force at a tick."""
        held = (m.row for m in reversed(self._models.get(partition, [])))
        return next((str(row["model_digest"]) for row in held if row["first"] <= offset), "")

    def refuses(self, partition: int, offset: int, schema_id: int | None) -> bool:
        """Whether ticks of a schema id are refused at an offset. Notes that a ruling's first tick was met."""
        found = False
        for span in self._spans.get((partition, -1 if schema_id is None else schema_id), []):
            found |= span.holds(offset)
            span.met |= span.opened.row["first"] == offset
        return found

    def unmet(self, partition: int, start: int, end: int) -> Iterator[Message]:
        """Rulings to refuse whose first tick is kept in a partition, and was not refused."""
        for (of, _), spans in self._spans.items():
            for span in spans if of == partition else ():
                if not span.met and start <= span.opened.row["first"] < end:
                    yield span.opened


def load(log: Source, decoder: Decoder, findings: Findings, complete: bool) -> Rulings:
    """Read both topics and hold them against each other. `complete`: every command to an account was ruled on."""
    found = Rulings()
    for number in log.partitions(RULINGS):
        trimmed = log.starts.get((RULINGS, number), 0) > 0
        commands = _commands(log, decoder, number, findings)
        ruled: set[tuple[int, int]] = set()
        chains: dict[tuple[int, str], Chain] = {}
        for m in readable(decoder.messages(log, RULINGS, number), findings):
            scope = m.row["partition"], GROUPS.get(m.row["kind"], "state")
            _ruling(m, chains.setdefault(scope, Chain(not trimmed, findings)), commands, ruled, found, findings)
        if complete:
            _unruled(commands.values(), {command for command, _ in ruled}, found, findings)
    return found


def _commands(log: Source, decoder: Decoder, number: int, findings: Findings) -> dict[int, Message]:
    """Commands by offset; of these, keys must be accounts."""
    held = log.partitions(COMMANDS)
    found = {m.offset: m for m in readable(decoder.messages(log, COMMANDS, number), findings)} if number in held else {}
    for m in found.values():
        if m.key != m.row["account"].encode():
            findings.damaged(m, "the key is the account", m.key, m.row["account"].encode())
    return found


def _ruling(m: Message, chain: Chain, commands: dict[int, Message], ruled: set[tuple[int, int]], found: Rulings,
            findings: Findings) -> None:
    whole, row = chain.check(m), m.row
    if m.key != row["account"].encode():
        findings.damaged(m, "the key is the account", m.key, row["account"].encode())
    if row["kind"] in ("none", "unknown"):
        findings.damaged(m, "the kind is a known one", row["kind"], "that of a ruling")
    if row["command"] != NOBODY and row["kind"] != "indicator":  # its value is in the ruling itself, under the chain
        _command(m, whole, commands.get(row["command"]), findings)
        if (row["command"], row["partition"]) in ruled:
            findings.doubled(m, "a command is ruled on once in each scope", row["command"], "no ruling before on it")
        ruled.add((row["command"], row["partition"]))
    if row["kind"] == "profile":
        _settings(m, found, findings)
    found.add(m)


def _command(m: Message, whole: bool, command: Message | None, findings: Findings) -> None:
    """A ruling's command is there, has its bytes, and says what the ruling says."""
    row, position = m.row, f"{COMMANDS}:{m.partition}:{m.row['command']}"
    if command is None:
        findings.lost(position, "a command that is ruled on is there", "none", m.position, Weight.CONTRADICTION)
        return
    if signed(fnv1a((command.raw or b"")[HEADER:])) != row["command_hash"]:
        findings.differs(command if whole else m, "command_hash is that of the command",
                         signed(fnv1a(command.body)), row["command_hash"])
        return
    for name in ("account", "kind", "model_digest"):
        findings.equal(m, f"{name} is that of the command", row[name], command.row[name])


def _settings(m: Message, found: Rulings, findings: Findings) -> None:
    """The settings are what their digest says."""
    wanted = config.digest(m.row["settings"])
    if wanted != m.row["config_digest"]:
        findings.damaged(m, "config_digest is that of the settings", m.row["config_digest"], wanted)
    try:
        found.configs.append((m.row["first"], config.parse(m.row["settings"])))
    except (ValueError, TypeError, KeyError) as error:
        findings.damaged(m, "the settings are those of a profile", repr(error), "JSON of a profile")


def _unruled(commands: Iterable[Message], ruled: set[int], found: Rulings, findings: Findings) -> None:
    """A command to the account's state holds from a place, or nothing has read it. Those to others are not its own."""
    accounts = {held.account for _, held in found.configs}
    for m in commands:
        if m.offset not in ruled and m.row["kind"] in STATES and m.row["account"] in accounts:
            findings.lost(found.last, "a command is ruled on", f"none on {m.position}", "one after this")
            findings.differs(m, "a command is ruled on", "no ruling", "one ruling", Weight.ABSENCE)
