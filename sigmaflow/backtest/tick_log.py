"""The input of a backtest: market.ticks.v1 as one file on disk, in blocks of one partition each.

Every run reads it from the beginning, so that a file is parsed once however many runs there are, memory does not grow
with its length, and it is known beforehand how many ticks there are and where each partition ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from jobs.chain.messages import MicroBatch
from jobs.chain.shard import TICKS

NULL = -1
"""Length of a message without a value."""


@dataclass(frozen=True)
class Block:
    """Some messages of one partition: where in the file they are, and how many. `stamped`: with Kafka timestamps."""

    shard: int
    rows: int
    position: int
    size: int
    stamped: bool


@dataclass
class TickLog:
    """A finished log. `ends` is the offset after the last message of each partition, 0 for an empty one."""

    path: Path
    ends: list[int]
    blocks: list[Block] = field(default_factory=list)
    rows: int = 0

    def batches(self) -> Iterator[MicroBatch]:
        """All micro-batches, in the order in which they were written."""
        with self.path.open("rb") as file:
            for block in self.blocks:
                yield _read(file, block)


class TickLogWriter:
    """Writes a log; `finish` gives it. On exit the file is closed."""

    def __init__(self, path: Path, shards: int) -> None:
        self._log = TickLog(path, [0] * shards)
        self._file = path.open("wb")

    def __enter__(self) -> TickLogWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def append(self, shard: int, messages: Sequence[bytes | None], offsets: Sequence[int] | None = None,
               stamps: Sequence[int] = ()) -> None:
        """Write messages of one partition, whose offsets follow the last ones unless they are given."""
        if not messages:
            return
        end = self._log.ends[shard]
        places = range(end, end + len(messages)) if offsets is None else offsets
        lengths = [NULL if message is None else len(message) for message in messages]
        numbers = [np.asarray(column, np.int64).tobytes() for column in (lengths, places, stamps)]
        packed = b"".join([*numbers, *(message for message in messages if message)])
        self._log.blocks.append(Block(shard, len(messages), self._file.tell(), len(packed), bool(stamps)))
        self._file.write(packed)
        self._log.ends[shard], self._log.rows = places[-1] + 1, self._log.rows + len(messages)

    def finish(self) -> TickLog:
        """The log, all of it in the file."""
        self._file.flush()
        return self._log


def _read(file: BinaryIO, block: Block) -> MicroBatch:
    file.seek(block.position)
    packed, rows = file.read(block.size), block.rows
    columns = 3 if block.stamped else 2
    numbers = np.frombuffer(packed, np.int64, columns * rows).reshape(columns, rows)
    lengths = numbers[0]
    ends = 8 * columns * rows + np.cumsum(np.maximum(lengths, 0))
    messages = [None if length == NULL else packed[end - length:end]
                for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)]
    return MicroBatch(TICKS, block.shard, messages, numbers[1].tolist(), numbers[2].tolist() if block.stamped else ())
