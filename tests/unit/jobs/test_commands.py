"""A command holds from a place that every restart and every replay reads again."""
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.chain.chained import CHAIN, Chained, linked
from jobs.chain.commands import ACCOUNT, MODEL, PROFILE, STATES, Command, Ruling, Rulings, command, group, ruling
from jobs.chain.inprocess import MemoryEdges, contracts
from jobs.chain.messages import COMMANDS, RULINGS, RecordReader, RecordWriter
from schemas.codec import HEADER
from udfs import profiles


def account(edges: MemoryEdges, place: int) -> Rulings:
    return Rulings(edges, ACCOUNT, STATES, lambda: place)


def test_a_command_holds_from_the_next_place_on_and_only_once() -> None:
    edges = MemoryEdges(1, [], [])
    edges.given.append(Command(0, "halt"))
    rulings = account(edges, 7)
    rulings.learn()
    rulings.learn()
    assert edges.ruled == [Ruling(0, "halt", "", ACCOUNT, 7)]
    assert rulings.numbers(5, 4).tolist() == [0, 0, STATES.index("halt"), 0]


def test_a_restart_takes_the_place_that_was_ruled() -> None:
    edges = MemoryEdges(1, [], [])
    edges.given.append(Command(0, "reduce"))
    account(edges, 7).learn()
    again = account(edges, 3)
    again.learn()
    assert len(edges.ruled) == 1 and np.flatnonzero(again.numbers(1, 10)).tolist() == [6]


def test_a_place_that_cannot_be_told_yet_is_ruled_on_later() -> None:
    edges, place = MemoryEdges(1, [], []), list[int]()
    edges.given.append(Command(0, "model", "abc"))
    rulings = Rulings(edges, 2, MODEL, lambda: place[0] if place else None)
    rulings.learn()
    assert not edges.ruled
    place.append(40)
    rulings.learn()
    assert rulings.models(np.array([39, 40, 41]), {"abc": 1}.__getitem__, 0).tolist() == [0, 1, 1]


def test_scopes_and_kinds_are_kept_apart() -> None:
    edges = MemoryEdges(2, [], [])
    edges.given += [Command(0, "model", "abc"), Command(1, "halt")]
    account(edges, 1).learn()
    Rulings(edges, 1, MODEL, lambda: 9).learn()
    assert [(r.kind, r.partition) for r in edges.ruled] == [("halt", ACCOUNT), ("model", 1)]


@given(st.lists(st.tuples(st.sampled_from(STATES[1:]), st.integers(0, 30)), max_size=12), st.integers(1, 9))
def test_cuts_do_not_move_a_command(given_at: list[tuple[str, int]], size: int) -> None:
    """Commands given while micro-batches of one size run, replayed with micro-batches of another."""
    edges = MemoryEdges(1, [], [])
    told = sorted(given_at, key=lambda pair: pair[1])

    def run(size: int, live: bool) -> list[int]:
        seq = [0]
        rulings = Rulings(edges, ACCOUNT, STATES, lambda: seq[0] + 1)
        out: list[int] = []
        while seq[0] < 40:
            while live and told and told[0][1] <= seq[0]:
                edges.given.append(Command(len(edges.given), told.pop(0)[0]))
            rulings.learn()
            count = min(size, 40 - seq[0])
            out += rulings.numbers(seq[0] + 1, count).tolist()
            seq[0] += count
        return out

    assert run(size, live=True) == run(11, live=False) == run(40, live=False)


def test_a_ruling_is_a_message() -> None:
    made = Ruling(3, "model", "abc", 2, 1_000)
    assert ruling(made.record("paper")) == made


def test_the_settings_are_ruled_on_once_and_again_where_they_change() -> None:
    edges = MemoryEdges(1, [], [])

    def started(name: str, first: int) -> None:
        Rulings(edges, ACCOUNT, PROFILE, lambda: None).declare(profiles.get(name), first)

    for name, first in (("default", 1), ("default", 90), ("reference", 120), ("reference", 130), ("default", 110)):
        started(name, first)
    assert [(r.config_digest, r.first) for r in edges.ruled] == [
        (profiles.get("default").digest, 1), (profiles.get("reference").digest, 120)]
    assert edges.ruled[0].settings == profiles.get("default").text and edges.ruled[0].command == -1
    assert ruling(edges.ruled[1].record("paper")) == edges.ruled[1]


def test_a_ruling_seals_its_command() -> None:
    value = RecordWriter(COMMANDS, 5).write({"account": "paper", "kind": "halt", "model_digest": "", "reason": "why",
                                             "ts_sent": 7})
    edges = MemoryEdges(1, [], [])
    edges.given.append(command(3, value, {"kind": "halt", "model_digest": ""}))
    account(edges, 7).learn()
    assert edges.ruled[0].command_hash == command(3, value, {"kind": "halt", "model_digest": ""}).hash != 0
    assert command(3, value[:-1] + b"\x01", {"kind": "halt", "model_digest": ""}).hash != edges.ruled[0].command_hash


def test_each_worker_chains_what_it_writes_and_a_restart_goes_on() -> None:
    writer, reader = RecordWriter(RULINGS, contracts().id(RULINGS)), RecordReader(contracts().writers(RULINGS))
    made = [Ruling(0, "halt", "", ACCOUNT, 7), Ruling(1, "model", "abc", 2, 9), Ruling(2, "resume", "", ACCOUNT, 8)]
    log = Chained(writer, group)
    values = [log.write(r.record("paper")) for r in made]
    bodies = [value[HEADER:-33] for value in values]
    chains = [value[-32:] for value in values]
    assert chains == [linked(b"", bodies[0]), linked(b"", bodies[1]), linked(chains[0], bodies[2])]
    assert [reader.read(value)[CHAIN].encode() for value in values] == chains
    again = Chained(writer, group)
    for value in values[:2]:
        again.note(reader.read(value))
    assert again.write(made[2].record("paper")) == values[2]
