"""Symbols to slots: hashes and ids against plain Python, tables that grow, state that finds its symbol again."""
from __future__ import annotations

import numpy as np
import pytest

from jobs.chain.inprocess import Memory
from schemas.packed import Packed, Text
from udfs.stage import KeyedState, Stage, StateLayoutError
from udfs.symbols import START, Slots, digests, hashes, mixed

MASK = (1 << 64) - 1
NAMES = [(f"VENUE{n % 7}".encode(), f"SYM-{n}-é".encode()) for n in range(500)]


def step(state: object, columns: dict) -> dict:
    """Count each symbol's ticks."""
    np.add.at(state.symbols["ticks"], columns["slot"], 1)  # type: ignore[attr-defined]
    return columns


COUNT = Stage("count", step, np.dtype([("ticks", np.int64)]))


def opened(*stores: Memory) -> KeyedState:
    """State with a part for each store."""
    state = KeyedState((COUNT,))
    for store in stores:
        state.open(store)
    return state


def texts(order: np.ndarray) -> tuple[Text, Text]:
    """Venue and symbol columns for these numbers."""
    return Text.table([v for v, _ in NAMES]).take(order), Text.table([s for _, s in NAMES]).take(order)


def fnv(text: bytes) -> int:
    """FNV-1a in plain Python."""
    value = 0xCBF29CE484222325
    for byte in text:
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def splitmix(key: int, seq: int) -> int:
    """The finaliser of splitmix64 in plain Python, as a signed number."""
    z = (key + seq * 0x9E3779B97F4A7C15) & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    z ^= z >> 31
    return z - (1 << 64) if z >> 63 else z


def test_hashes_are_fnv_1a() -> None:
    venue, symbol = texts(np.arange(500))
    assert hashes(venue, symbol).tolist() == [fnv(v + b":" + s) for v, s in NAMES]


def test_ids_are_splitmix_of_hash_and_seq() -> None:
    key, seq = np.array([fnv(b"A:B"), MASK, 0], np.uint64), np.array([1, 2**40, 2**62])
    assert mixed(key, seq).tolist() == [splitmix(int(k), int(s)) for k, s in zip(key, seq, strict=True)]


def test_digests_go_on_where_the_row_was_left() -> None:
    out = np.full(3, START, np.uint64)
    digests(Packed.of([b"-abc", None, b"-d"]), 1, np.array([0, 1, 0]), out)
    assert out.tolist() == [fnv(b"abcd"), int(START), int(START)]


@pytest.mark.parametrize("cut", [1, 7, 501, 5_000])
def test_500_symbols_in_any_cut_have_the_slots_of_first_sight(cut: int) -> None:
    """The table is made anew when the room has doubled, and is almost half full: collisions are everywhere."""
    order = np.random.default_rng(8).integers(0, 500, 5_000)[:5_000 if cut > 1 else 900]
    store = Memory()
    state = opened(store)
    slots, seen = Slots(state), {}
    for start in range(0, len(order), cut):
        part = order[start:start + cut]
        venue, symbol = texts(part)
        found = slots.find(venue, symbol, np.zeros(len(part), np.int64))
        assert found.tolist() == [seen.setdefault(int(n), len(seen)) for n in part]
        state.run({"slot": found})
        state.save(found)
    again = opened(store)
    assert again.names == [NAMES[n][0] + b":" + NAMES[n][1] for n in seen]
    counts = np.bincount(order, minlength=500)
    assert again.states[0].symbols["ticks"][:len(seen)].tolist() == [counts[n] for n in seen]
    venue, symbol = texts(order)
    assert Slots(again).find(venue, symbol, np.zeros(len(order), np.int64)).tolist() == [seen[int(n)] for n in order]


def test_parts_keep_the_same_symbols_apart_and_can_be_told_apart_in_any_company() -> None:
    """Each part is kept as if it were alone: its store serves whichever parts are opened beside it, in any order."""
    rng = np.random.default_rng(3)
    order, part = rng.integers(0, 70, 4_000), rng.integers(0, 3, 4_000)
    stores = [Memory() for _ in range(3)]
    state = opened(*stores)
    slots = Slots(state)
    for rows in np.array_split(np.arange(4_000), 60):
        found = slots.find(*texts(order[rows]), part[rows])
        assert (found // state.room == part[rows]).all()
        state.run({"slot": found})
        state.save(found)
    for company in ((0,), (2, 1), (1, 2, 0)):
        again = opened(*(stores[n] for n in company))
        everywhere = Slots(again)
        for here, n in enumerate(company):
            mine = order[part == n]
            assert list(again.known(here)) == list(dict.fromkeys(b"%s:%s" % NAMES[k] for k in mine))
            at = everywhere.find(*texts(mine), np.full(len(mine), here))
            assert again.states[0].symbols["ticks"][at].tolist() == np.bincount(mine)[mine].tolist()
            assert [again.names[slot] for slot in at] == [b"%s:%s" % NAMES[k] for k in mine]


def test_state_of_another_layout_is_refused() -> None:
    store = Memory()
    state = opened(store)
    state.save(np.array([state.slot(b"A:B")]))
    changed = Stage("count", step, np.dtype([("ticks", np.float64)]))
    with pytest.raises(StateLayoutError, match=r"count: state of .* has another layout"):
        KeyedState((changed,)).open(store)
