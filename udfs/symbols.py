"""From venue and symbol, as bytes in a buffer, to a small number that indexes state, without a Python object a row."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.packed import Packed, Text
from udfs.stage import KeyedState

START, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
UNKNOWN = -1


@numba.njit(cache=True)
def _hash(venue_pool, venue_start, venue_length, pool, start, length, out):
    """FNV-1a (64 bits) of venue, a colon and symbol (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    for row in range(out.shape[0]):
        value = START
        for k in range(venue_length[row]):
            value = (value ^ np.uint64(venue_pool[venue_start[row] + k])) * _PRIME
        value = (value ^ np.uint64(58)) * _PRIME
        for k in range(length[row]):
            value = (value ^ np.uint64(pool[start[row] + k])) * _PRIME
        out[row] = value


@numba.njit(cache=True)
def _find(hashes, table, slots, out):
    """Slot of each hash by open addressing; the number of rows that are not in the table."""
    mask = np.uint64(table.shape[0] - 1)
    unknown = 0
    for row in range(hashes.shape[0]):
        at = hashes[row] & mask
        while slots[at] >= 0 and table[at] != hashes[row]:
            at = (at + np.uint64(1)) & mask
        out[row] = slots[at]
        unknown += slots[at] < 0
    return unknown


@numba.njit(cache=True)
def _mix(key, seq, out):
    for row in range(out.shape[0]):
        z = key[row] + np.uint64(seq[row]) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[row] = np.int64(z ^ (z >> np.uint64(31)))


@numba.njit(cache=True)
def _digest(pool, start, length, skip, rows, out):
    for i in range(rows.shape[0]):
        value = out[rows[i]]
        for k in range(start[i] + skip, start[i] + length[i]):
            value = (value ^ np.uint64(pool[k])) * _PRIME
        out[rows[i]] = value


def digests(values: Packed, skip: int, rows: NDArray[np.int64], out: NDArray[np.uint64]) -> None:
    """Put each value, its first `skip` bytes left out, into the FNV-1a hash of its row, in place; START begins one."""
    _digest(values.pool, values.start, values.length, skip, np.ascontiguousarray(rows), out)


@numba.njit(cache=True)
def _distinct(slots, places, found, local):
    """Each slot once, in the order in which they come, and the place of each row's among them; how many there are."""
    count = 0
    for row in range(slots.shape[0]):
        slot = slots[row]
        if places[slot] < 0:
            places[slot], found[count] = count, slot
            count += 1
        local[row] = places[slot]
    return count


def distinct(slots: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slots, all below `most`, each once, and for each row the place of its slot among them.

    >>> [found.tolist() for found in distinct(np.array([7, 3, 7]), 8)]
    [[7, 3], [0, 1, 0]]
    """
    found, local = np.empty(len(slots), np.int64), np.empty(len(slots), np.int64)
    return found[:_distinct(slots, np.full(most, -1), found, local)], local


def mixed(key: NDArray[np.uint64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids of what a key and a number identify: the splitmix64 finaliser over both (Steele et al. 2014)."""
    out = np.empty(len(key), np.int64)
    _mix(np.ascontiguousarray(key), np.ascontiguousarray(number), out)
    return out


def hashes(venue: Text, symbol: Text) -> NDArray[np.uint64]:
    """One 64-bit hash of `VENUE:SYMBOL` for each row."""
    out = np.empty(len(symbol.start), np.uint64)
    _hash(venue.pool, venue.start, venue.length, symbol.pool, symbol.start, symbol.length, out)
    return out


class Places:
    """The places of some names, so that text in messages becomes small numbers again.

    >>> Places(("kelly", "lot")).of(Text.table([b"lot", b"", b"kelly"])).tolist()
    [1, -1, 0]
    """

    def __init__(self, names: Sequence[str]) -> None:
        table = Text.table([name.encode() for name in names])
        known = hashes(table, table)
        self._order = np.argsort(known)
        self._known = known[self._order]

    def of(self, text: Text) -> NDArray[np.int64]:
        """Place of each row's name, UNKNOWN where it is none of them."""
        wanted = hashes(text, text)
        at = np.minimum(np.searchsorted(self._known, wanted), len(self._known) - 1)
        return np.where(self._known[at] == wanted, self._order[at], UNKNOWN)


_SALT = np.uint64(0x9E3779B97F4A7C15)
"""Tells the symbols of one part from those of the next."""


class Slots:
    """The slots of a KeyedState by hash."""

    def __init__(self, state: KeyedState) -> None:
        self._state = state
        self._room = -1

    def _rebuild(self) -> None:
        """The table anew, at most half full when every slot is taken: a part was opened, or there is more room."""
        self._room = len(self._state.states[0].symbols)
        slots = np.array([slot for slot, name in enumerate(self._state.names) if name], np.int64)
        size = 2 << self._room.bit_length()
        self._table, self._slots = np.zeros(size, np.uint64), np.full(size, UNKNOWN, np.int64)
        names = [self._state.names[slot].split(b":", 1) for slot in slots.tolist()]
        keys = self._keys(Text.table([venue for venue, _ in names]), Text.table([symbol for _, symbol in names]),
                          slots // self._state.room)
        for key, slot in zip(keys, slots.tolist(), strict=True):
            self._insert(key, slot)

    def _keys(self, venue: Text, symbol: Text, part: NDArray[np.int64]) -> NDArray[np.uint64]:
        return hashes(venue, symbol) ^ part.view(np.uint64) * _SALT

    def _insert(self, key: Any, slot: int) -> None:
        mask = len(self._table) - 1
        at = int(key) & mask
        while self._slots[at] >= 0:
            at = (at + 1) & mask
        self._table[at], self._slots[at] = key, slot

    def find(self, venue: Text, symbol: Text, part: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slot of each row in its part; a symbol that is new there gets the next one."""
        if self._room != len(self._state.states[0].symbols):
            self._rebuild()
        key = self._keys(venue, symbol, part)
        out = np.empty(len(key), np.int64)
        while _find(key, self._table, self._slots, out):
            row = int(np.argmin(out))
            slot = self._state.slot(venue.at(row) + b":" + symbol.at(row), int(part[row]))
            if self._room != len(self._state.states[0].symbols):
                self._rebuild()
            else:
                self._insert(key[row], slot)
        return out
