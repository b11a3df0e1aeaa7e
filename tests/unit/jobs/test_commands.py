"""A command holds from a place that every restart and every replay reads again."""
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.chain.commands import ACCOUNT, MODEL, STATES, Command, Ruling, Rulings, ruling
from jobs.chain.inprocess import MemoryEdges


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
