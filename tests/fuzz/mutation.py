"""Mutations of byte strings, and the corpus of inputs that reached something new."""
from __future__ import annotations

from collections.abc import Hashable, Sequence
from random import Random

EDGES = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff" * 9 + b"\x01", b"\xff" * 8 + b"\x7f", b"\x80" * 10 + b"\x01",
         b"\x00" * 8, b"\x00" * 6 + b"\xf0\x7f", b"\x00" * 6 + b"\xf8\x7f", b"\x01" + b"\x00" * 7,
         b"\xff" * 6 + b"\xef\x7f", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
         b"\xef\xbf\xbf", b":", b"-", b"1e999", b"nan", b"9" * 40, b"null", b"[]", b"{}", b'"', b",", b" ", b"_")
"""Bytes at the edges of what is read: varints, doubles, UTF-8 that is almost well-formed, numbers and punctuation."""

KEPT = 2_000
"""Inputs in a corpus; a new one then takes the place of a random one that is no seed."""


def mutate(random: Random, data: bytes, others: Sequence[bytes], longest: int = 4_096) -> bytes:
    """The bytes after one to four changes; `others` are what a splice takes its second half from."""
    made = bytearray(data)
    for _ in range(1 + int(random.expovariate(1.2))):
        _change(random, made, others)
    return bytes(made[:longest])


def _change(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    at, kind = random.randrange(len(made) + 1), random.randrange(8)
    end = min(len(made), at + 1 + int(random.expovariate(0.25)))
    if kind == 0 and at < len(made):
        made[at] ^= 1 << random.randrange(8)
    elif kind == 1 and at < len(made):
        made[at] = random.randrange(256)
    elif kind == 2:
        del made[at:end]
    elif kind == 3:
        made[at:at] = made[at:end]
    elif kind == 4:
        del made[at:]
    elif kind == 5:
        made[at:at] = random.choice(EDGES)
    elif kind == 6:
        edge = random.choice(EDGES)
        made[at:at + len(edge)] = edge
    else:
        other = random.choice(others)
        made[at:] = other[min(len(other), random.randrange(len(other) + 1)):]


class Corpus:
    """Inputs that each showed something no input before it had shown."""

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self._seeds = len(seeds)
        self._held = list(seeds)
        self._seen: set[Hashable] = set()

    def __len__(self) -> int:
        return len(self._held)

    def next(self, random: Random) -> bytes:
        """A mutation of some input; seeds are taken for a third of them, so that the run does not drift away."""
        among = self._seeds if random.random() < 1 / 3 else len(self._held)
        return mutate(random, self._held[random.randrange(among)], self._held)

    def learn(self, random: Random, data: bytes, signal: Hashable) -> bool:
        """Keep an input whose signal (lines reached, verdict, flags) is new."""
        if signal in self._seen:
            return False
        self._seen.add(signal)
        if len(self._held) < KEPT:
            self._held.append(data)
        else:
            self._held[random.randrange(self._seeds, KEPT)] = data
        return True
