"""The fuzzing run: a short one finds nothing, and it would find and cut down what is wrong."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import admission, campaign
from tests.fuzz.lines_reached import LinesReached
from tests.fuzz.mutation import Corpus
from tests.fuzz.outcome import Faults, Outcome, smallest
from tests.fuzz.recordings import Lines, kinds


def test_twenty_thousand_cases_are_all_accounted_for() -> None:
    outcome = campaign.run(20_000, 11, 600.0, lambda _: None)
    assert outcome.clean, outcome.examples
    assert outcome.cases == 20_000


def test_the_same_seed_gives_the_same_inputs(tmp_path: Path) -> None:
    kind = kinds()[0]
    made = []
    for _ in range(2):
        fed, told = admission.Admission(Random(5)), Lines(Random(5), kind, tmp_path)
        batches: list[Sequence[bytes | None]] = []
        for target, held in ((fed, fed.batch(300)), (told, told.batch(300))):
            assert not target.try_batch(held)
            batches += [held, target.batch(300)]
        made.append(batches)
    assert made[0] == made[1]


def test_what_is_new_enters_the_corpus_once() -> None:
    corpus, random = Corpus([b"seed"]), Random(1)
    assert [corpus.learn(random, value, signal) for value, signal in ((b"a", 1), (b"b", 1), (b"c", 2))] == [
        True, False, True]
    assert len(corpus) == 3


def test_lines_are_reported_when_they_are_first_reached() -> None:
    reached: list[None] = []
    tracer = LinesReached([smallest.__code__.co_filename], lambda: reached.append(None))
    with tracer:
        smallest([1], lambda kept: True)
    few = len(reached)
    with tracer:
        smallest([1, 2, 3], lambda kept: 2 in kept)
    assert 0 < few < len(reached) == len(tracer)


class Fragile:
    """A target that fails where two bytes come together, and loses every third."""

    name, reached = "fragile", 0

    def batch(self, size: int) -> list[bytes]:
        return [bytes([n % 256]) for n in range(size)]

    def try_batch(self, inputs: Sequence[bytes]) -> Faults:
        return Faults(lost=inputs.count(b"\x03"), crash="pair" if b"\x07" in inputs and b"\x50" in inputs else "")

    def example(self, inputs: Sequence[bytes]) -> str:
        return " ".join(value.hex() for value in inputs)

    def parse(self, text: str) -> list[bytes]:
        return [bytes.fromhex(word) for word in text.split()]


def test_a_batch_is_cut_down_to_what_misbehaves_and_the_rest_goes_on() -> None:
    outcome = Outcome()
    campaign.turn(Fragile(), 200, outcome)
    assert (outcome.cases, outcome.lost, outcome.found, outcome.clean) == (200, 1, 1, False)
    assert sorted(example.split("'")[-2] for example in outcome.examples) == ["03", "07 50"]


@pytest.mark.parametrize("name", ["admission", *(f"lines of {kind.name}" for kind in kinds())])
def test_an_example_can_be_tried_again(name: str) -> None:
    outcome = campaign.reproduce(name, "00ff empty")
    assert outcome.clean and outcome.cases == 2
