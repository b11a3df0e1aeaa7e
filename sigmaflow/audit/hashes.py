"""The hashes that tie records together, written once more from their definitions."""
from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numba
import numpy as np

MASK = (1 << 64) - 1
START = 0xCBF29CE484222325
CHAIN_DIGITS = 32
"""Hexadecimal digits of a value of the hash chain, the last field of a decision."""


@numba.njit(cache=True)
def _fnv(data: Any, value: Any) -> Any:
    for byte in data:
        value = (value ^ np.uint64(byte)) * np.uint64(0x100000001B3)
    return value


def fnv1a(data: bytes, start: int = START) -> int:
    """FNV-1a with 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/), going on from `start`.

    >>> hex(fnv1a(b"a"))
    '0xaf63dc4c8601ec8c'
    """
    return int(_fnv(np.frombuffer(data, np.uint8), np.uint64(start)))


def signed(value: int) -> int:
    """64 bits as Avro's long has them.

    >>> signed(MASK)
    -1
    """
    return value - (1 << 64) if value >> 63 else value


def mix(key: int, number: int) -> int:
    """Id of what a key and a number identify: the splitmix64 finaliser over both (Steele et al. 2014).

    >>> mix(0, 1)
    -2152535657050944081
    """
    z = (key + number * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return signed(z ^ (z >> 31))


@cache
def account_key(strategy: str, account: str) -> int:
    """Key of all ids of one account under one strategy."""
    return int.from_bytes(hashlib.sha256(f"{strategy}:{account}".encode()).digest()[:8], "little")


def chained(previous: bytes, body: bytes) -> bytes:
    """Value of the hash chain behind a decision: `previous` is the value before, `body` the record without its own."""
    return hashlib.blake2b(body + previous, digest_size=CHAIN_DIGITS // 2).hexdigest().encode()
