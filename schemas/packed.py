"""Columns of bytes: many strings, or many messages, as slices of one buffer, so that a column costs one object."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Text:
    """A column of strings as slices of one buffer: `pool[start[i]:start[i] + length[i]]`."""

    pool: NDArray[np.uint8]
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    def at(self, row: int) -> bytes:
        """The bytes of one row."""
        return self.pool[self.start[row]:self.start[row] + self.length[row]].tobytes()

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The same strings for other rows, without copying the bytes."""
        return type(self)(self.pool, self.start[rows], self.length[rows])

    @classmethod
    def table(cls, values: Sequence[bytes]) -> Self:
        """One row for each value.

        >>> Text.table([b"BTC", b"ETH"]).at(1)
        b'ETH'
        """
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        pool = np.frombuffer(bytearray().join(values) or bytearray(1), np.uint8)
        return cls(pool, np.cumsum(lengths) - lengths, lengths)


NULL = -1
"""Length of a message that is null."""


class Packed(Text, Sequence["bytes | None"]):
    """Messages, or their keys, as such a column. As a sequence it gives bytes, None for a null value.

    >>> list(Packed.of([b"ab", None, b"c"]))
    [b'ab', None, b'c']
    """

    @staticmethod
    def of(messages: Sequence[bytes | None]) -> Packed:
        """These messages, one behind the other in the buffer."""
        if isinstance(messages, Packed):
            return messages
        packed = Packed.table([message or b"" for message in messages])
        for row, message in enumerate(messages):
            if message is None:
                packed.length[row] = NULL
        return packed

    @staticmethod
    def concat(parts: Sequence[Packed]) -> Packed:
        """The messages of all parts.

        >>> list(Packed.concat([Packed.of([b"ab"]), Packed.of([None, b"c"])]))
        [b'ab', None, b'c']
        """
        if len(parts) == 1:
            return parts[0]
        starts, lengths = [part.start for part in parts], np.concatenate([part.length for part in parts])
        pool = parts[0].pool
        if any(part.pool is not pool for part in parts):
            ends = np.cumsum([len(part.pool) for part in parts])
            starts = [part.start + (end - len(part.pool)) for part, end in zip(parts, ends, strict=True)]
            pool = np.concatenate([part.pool for part in parts])
        return Packed(pool, np.concatenate(starts), lengths)

    @property
    def null(self) -> NDArray[np.bool_]:
        """Which messages are null."""
        return self.length < 0

    def __len__(self) -> int:
        return len(self.start)

    @overload
    def __getitem__(self, row: int) -> bytes | None: ...

    @overload
    def __getitem__(self, row: slice) -> Packed: ...

    def __getitem__(self, row: int | slice) -> bytes | Packed | None:
        if isinstance(row, slice):
            return Packed(self.pool, self.start[row], self.length[row])
        return None if self.length[row] < 0 else self.at(row)

    def __iter__(self) -> Iterator[bytes | None]:
        if self.null.any():
            return iter([self[row] for row in range(len(self))])
        return iter(self.values())

    def values(self) -> list[bytes]:
        """Those that are not null, as bytes."""
        kept = self.take(np.flatnonzero(self.length >= 0)) if self.null.any() else self
        if not len(kept):
            return []
        low = int(kept.start.min())
        whole = kept.pool[low:int((kept.start + kept.length).max())].tobytes()
        starts, ends = kept.start - low, kept.start + kept.length - low
        return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def run(self) -> NDArray[np.uint8]:
        """The bytes of all messages, which must lie one behind the other and none of them be null."""
        if not len(self):
            return self.pool[:0]
        end = int(self.start[-1] + self.length[-1])
        if end - int(self.start[0]) != int(self.length.sum()):
            raise ValueError("messages do not lie one behind the other")
        return self.pool[self.start[0]:end]
