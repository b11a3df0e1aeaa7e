"""BLAKE2b-128 over many records of one buffer, each sealed over the one before, without a Python object a record.

What `jobs.chain.chained.linked` gives, for the account's hot path: hashlib makes an object, a slice and a string for
each record, which took twice as long as the hash itself, a fifth of the account's operator. The standard is RFC 7693,
the names are those of its section 3.
"""
from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

BLOCK, WORDS, SIZE = 128, 16, 16
"""Bytes and words of a block, bytes of a digest."""
HEX = 2 * SIZE
"""Bytes of a digest as hexadecimal digits."""
TAIL = 1 + HEX
"""Bytes of such a digest as an Avro string: its length, a zigzag integer, comes first."""

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_IV = np.array([0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
                0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179], np.uint64)
_PARAMETERS = np.uint64(0x01010000 | SIZE)
"""No key, no tree, a digest of so many bytes."""
_SIGMA = np.array([
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4], [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13], [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11], [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5], [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
], np.uint8)


@numba.njit(inline="always")
def _turned(word, bits):
    return (word >> np.uint64(bits)) | (word << np.uint64(64 - bits))


@numba.njit(inline="always")
def _mix(a, b, c, d, x, y):
    a = a + b + x
    d = _turned(d ^ a, 32)
    c = c + d
    b = _turned(b ^ c, 24)
    a = a + b + y
    d = _turned(d ^ a, 16)
    c = c + d
    return a, _turned(b ^ c, 63), c, d


@numba.njit(cache=True)
def _compress(h, words, at, count, last):
    """Take the block whose words begin at `at` into `h`; `count` bytes have been taken with it."""
    v0, v1, v2, v3, v4, v5, v6, v7 = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
    v8, v9, v10, v11, v12, v13, v14, v15 = _IV[0], _IV[1], _IV[2], _IV[3], _IV[4], _IV[5], _IV[6], _IV[7]
    v12 ^= np.uint64(count)
    if last:
        v14 = ~v14
    m = words[at:at + WORDS]
    for s in _SIGMA:
        v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[s[0]], m[s[1]])
        v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[s[2]], m[s[3]])
        v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[s[4]], m[s[5]])
        v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[s[6]], m[s[7]])
        v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[s[8]], m[s[9]])
        v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[s[10]], m[s[11]])
        v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[s[12]], m[s[13]])
        v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[s[14]], m[s[15]])
    h[0] ^= v0 ^ v8
    h[1] ^= v1 ^ v9
    h[2] ^= v2 ^ v10
    h[3] ^= v3 ^ v11
    h[4] ^= v4 ^ v12
    h[5] ^= v5 ^ v13
    h[6] ^= v6 ^ v14
    h[7] ^= v7 ^ v15


@numba.njit(cache=True)
def _link(pool, start, length, skip, chain, known):
    """Seal each record; `chain` is the value before the first, if it is `known`, and gets that of the last."""
    text = np.zeros((HEX + max(0, length.max() - skip - TAIL)) // BLOCK * BLOCK + BLOCK, np.uint8)
    words = text.view(np.uint64)
    h = np.zeros(8, np.uint64)
    digest = h.view(np.uint8)
    for row in range(start.shape[0]):
        first, end = start[row] + skip, start[row] + length[row] - TAIL
        size = end - first
        if known:
            text[:HEX] = chain
            text[HEX:HEX + size] = pool[first:end]
            size += HEX
        else:
            text[:size] = pool[first:end]
        blocks = max(1, (size + BLOCK - 1) // BLOCK)
        text[size:blocks * BLOCK] = 0
        h[:] = _IV
        h[0] ^= _PARAMETERS
        for block in range(blocks - 1):
            _compress(h, words, block * WORDS, (block + 1) * BLOCK, False)
        _compress(h, words, (blocks - 1) * WORDS, size, True)
        for k in range(SIZE):
            chain[2 * k], chain[2 * k + 1] = _DIGITS[digest[k] >> 4], _DIGITS[digest[k] & 15]
        known = True
        pool[end] = 2 * HEX
        pool[end + 1:end + TAIL] = chain


def link(pool: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int64], skip: int,
         previous: bytes) -> bytes:
    """Put the chain's value into the last TAIL bytes of each record, one or more, and give the last one; `previous` is
    the value before the first, nothing where there is none. The first `skip` bytes of a record are not sealed.

    >>> import hashlib
    >>> record = np.frombuffer(b"-text" + bytes(TAIL), np.uint8).copy()
    >>> value = link(record, np.array([0]), np.array([len(record)]), 1, b"")
    >>> value == hashlib.blake2b(b"text", digest_size=16).hexdigest().encode(), record[-TAIL:].tobytes() == b"@" + value
    (True, True)
    """
    chain = np.zeros(HEX, np.uint8)
    chain[:len(previous)] = np.frombuffer(previous, np.uint8)
    _link(pool, start, length, skip, chain, len(previous) > 0)
    return chain.tobytes()
