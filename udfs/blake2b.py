"""BLAKE2b-128 over many records of one buffer, each sealed over the one before, without a Python object a record.

What `jobs.chain.chained.linked` gives, for the account's hot path: hashlib makes an object, a slice and a string for
each record, which took twice as long as the hash itself, a fifth of the account's operator. The value before is hashed
behind a record, so that only the block it is in must wait for it: those in front of that are taken for several records
at once, one in each lane of the processor's vectors. The standard is RFC 7693, the names are those of its section 3.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

BLOCK, WORDS, SIZE = 128, 16, 16
"""Bytes and words of a block, bytes of a digest."""
HEX = 2 * SIZE
"""Bytes of a digest as hexadecimal digits."""
TAIL = 1 + HEX
"""Bytes of such a digest as an Avro string: its length, a zigzag integer, comes first."""
LANES = 8
"""Records side by side: 64-bit lanes of the widest vectors there are. LLVM takes as many narrower ones as it needs."""

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_IV = (0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
       0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179)
_BEGIN = np.array(_IV, np.uint64) ^ np.array([0x01010000 | SIZE, 0, 0, 0, 0, 0, 0, 0], np.uint64)
"""State before the first block: no key, no tree, a digest of so many bytes."""
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4), (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13), (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11), (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5), (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3))
_MIXED = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
          (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
"""Words of the work vector that each of a round's eight calls of G mixes: columns, then diagonals."""
_MORE, _LAST = np.uint64(0), np.uint64(2**64 - 1)
"""What the word for the last block is changed by."""
_WORD = ir.IntType(64)


class _Lanes:
    """LLVM's instructions for so many messages side by side, one in each lane of a vector."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self._builder, self._lanes = builder, lanes
        self._kind = ir.VectorType(_WORD, lanes) if lanes > 1 else _WORD

    def constant(self, value: int) -> Any:
        """The same number in each lane."""
        return ir.Constant(self._kind, [value] * self._lanes if self._lanes > 1 else value)

    def spread(self, value: Any) -> Any:
        """A scalar in each lane."""
        if self._lanes == 1:
            return value
        index = ir.IntType(32)
        held = self._builder.insert_element(ir.Constant(self._kind, ir.Undefined), value, ir.Constant(index, 0))
        everywhere = ir.Constant(ir.VectorType(index, self._lanes), [0] * self._lanes)
        return self._builder.shuffle_vector(held, held, everywhere)

    def place(self, address: Any, at: int) -> Any:
        """Pointer to one word of each lane, `at` words of all lanes behind an address."""
        return self._builder.gep(self._builder.inttoptr(address, self._kind.as_pointer()), [ir.Constant(_WORD, at)])

    def load(self, address: Any, at: int) -> Any:
        """One word of each lane."""
        return self._builder.load(self.place(address, at), align=8)

    def mix(self, v: list[Any], places: tuple[int, ...], x: Any, y: Any) -> None:
        """G of section 3.1."""
        add, xor, (a, b, c, d) = self._builder.add, self._builder.xor, places
        for word, first, second in ((x, 32, 24), (y, 16, 63)):
            v[a] = add(add(v[a], v[b]), word)
            v[d] = self._turned(xor(v[d], v[a]), first)
            v[c] = add(v[c], v[d])
            v[b] = self._turned(xor(v[b], v[c]), second)

    def _turned(self, word: Any, bits: int) -> Any:
        right = self._builder.lshr(word, self.constant(bits))
        return self._builder.or_(right, self._builder.shl(word, self.constant(64 - bits)))

    def compress(self, state: Any, message: Any, count: Any, last: Any) -> None:
        """F of section 3.2, its twelve rounds without a loop: the work vector stays in registers."""
        xor = self._builder.xor
        h, m = ([self.load(address, at) for at in range(n)] for address, n in ((state, 8), (message, WORDS)))
        v = h + [self.constant(word) for word in _IV]
        v[12] = xor(v[12], self.spread(count))
        v[14] = xor(v[14], self.spread(last))
        for sigma in _SIGMA:
            for n, places in enumerate(_MIXED):
                self.mix(v, places, m[sigma[2 * n]], m[sigma[2 * n + 1]])
        for at in range(8):
            self._builder.store(xor(h[at], xor(v[at], v[at + 8])), self.place(state, at), align=8)


def _compressor(lanes: int) -> Any:
    """A function for kernels: take one block of each lane's message into its state.

    Addresses of the state and of the block, each word by word and in it lane by lane; bytes taken with this block; all
    bits set where it is the last.
    """
    @intrinsic
    def compress(typing: Any, state: Any, message: Any, count: Any, last: Any) -> tuple[Any, Callable[..., Any]]:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _Lanes(builder, lanes).compress(*arguments)
            return context.get_dummy_value()

        return types.void(types.uintp, types.uintp, types.uint64, types.uint64), code

    return compress


_compress, _compress_lanes = _compressor(1), _compressor(LANES)


@intrinsic
def _word(typing: Any, address: Any) -> tuple[Any, Callable[..., Any]]:
    """The eight bytes at an address, wherever it is."""
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], _WORD.as_pointer()), align=1)

    return types.uint64(types.uintp), code


@numba.njit(cache=True)
def _ahead(pool, first, size, states, message):
    """Take the blocks that lie whole within each of LANES bodies into their states; how many, as many of each."""
    blocks = size.min() // BLOCK
    for word in range(8):
        for lane in range(LANES):
            states[word * LANES + lane] = _BEGIN[word]
    for block in range(blocks):
        for lane in range(LANES):
            at = pool.ctypes.data + first[lane] + block * BLOCK
            for word in range(WORDS):
                message[word * LANES + lane] = _word(at + 8 * word)
        _compress_lanes(states.ctypes.data, message.ctypes.data, np.uint64((block + 1) * BLOCK), _MORE)
    return blocks


@numba.njit(cache=True)
def _link(pool, start, length, skip, chain, known):
    """Seal each record; `chain` is the value before the first, if it is `known`, and gets that of the last."""
    first, size = start + skip, length - skip - TAIL
    states, message = np.empty(8 * LANES, np.uint64), np.empty(WORDS * LANES, np.uint64)
    text = np.zeros((size.max() + HEX) // BLOCK * BLOCK + BLOCK, np.uint8)
    words, h = text.view(np.uint64), np.empty(8, np.uint64)
    digest = h.view(np.uint8)
    taken = 0
    for row in range(start.shape[0]):
        lane = row % LANES
        if lane == 0:
            group = slice(row, row + LANES)
            whole = known and row + LANES <= start.shape[0]
            taken = _ahead(pool, first[group], size[group], states, message) if whole else 0
        for word in range(8):
            h[word] = states[word * LANES + lane] if taken else _BEGIN[word]
        end = first[row] + size[row]
        rest = size[row] - taken * BLOCK
        for word in range((rest + 7) // 8):  # what it takes too much is of the record's tail
            words[word] = _word(pool.ctypes.data + end - rest + 8 * word)
        if known:
            for k in range(HEX):
                text[rest + k] = chain[k]
            rest += HEX
        blocks = max(1, (rest + BLOCK - 1) // BLOCK)
        for k in range(rest, blocks * BLOCK):
            text[k] = 0
        for block in range(1, blocks):
            _compress(h.ctypes.data, text.ctypes.data + (block - 1) * BLOCK, np.uint64((taken + block) * BLOCK), _MORE)
        _compress(h.ctypes.data, text.ctypes.data + (blocks - 1) * BLOCK, np.uint64(taken * BLOCK + rest), _LAST)
        for k in range(SIZE):
            chain[2 * k], chain[2 * k + 1] = _DIGITS[digest[k] >> 4], _DIGITS[digest[k] & 15]
        known = True
        pool[end] = 2 * HEX
        for k in range(HEX):
            pool[end + 1 + k] = chain[k]


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
