"""Where a backtest's ticks come from: recorded files of any known format, Parquet, or a span of a run's log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from confluent_kafka import Message

import schemas
from connectors.consume import messages
from connectors.market import parquet
from connectors.market.columns import Ticks
from connectors.market.recordings import Recording, open_recording
from connectors.market.records import Refused
from connectors.partitioner import partition
from connectors.ticks import TickEncoder
from jobs.chain.commands import Ruling
from jobs.chain.contracts import Contracts, lookup
from jobs.chain.inprocess import contracts
from jobs.chain.known_schemas import KNOWN, UNKNOWN
from jobs.chain.shard import TICKS
from sigmaflow import recording
from sigmaflow.backtest.tick_log import TickLog, TickLogWriter
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings
from udfs.order import Frontier

STAGE = "backtest"
CHUNK = 32_768
"""Ticks that are written at a time: four partitions give micro-batches of some thousands."""

Progress = Callable[[float], None]
"""Told the share of the source that was read, 0 to 1."""


@dataclass(frozen=True)
class Input:
    """A log, what reads it, and what is said of it. `refused` lines of files could not be read and are no ticks."""

    log: TickLog
    source: str
    contracts: Contracts
    frontiers: list[Frontier] = field(default_factory=list)
    rulings: list[Ruling] = field(default_factory=list)
    rejected_at_edge: int = 0
    refused: list[Refused] = field(default_factory=list)


def from_files(files: Sequence[Path], path: Path, progress: Progress, rows: int = 0) -> Input:
    """Write the ticks of files, merged in time, as the market's producers would; at most `rows`, 0 is all.

    Raises UserError for a file that is missing, damaged or of no known format, and for files without a quote.
    """
    if not files:
        raise UserError(STAGE, "FILES or --from must be given", "neither is",
                        "write for example: sigmaflow backtest btcusdt.gz")
    source = " ".join(file.name for file in files)
    if any(is_parquet(file) for file in files):
        return write(_parquet(files, rows, progress), path, source)
    read = open_recording(list(files))
    made = write(_limited(_recorded(read, progress), rows), path, source)
    return Input(made.log, source, made.contracts, rejected_at_edge=read.rejected, refused=read.refused)


def is_parquet(file: Path) -> bool:
    """Whether a file begins as Parquet does."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(4) == b"PAR1"


def _parquet(files: Sequence[Path], rows: int, progress: Progress) -> Iterator[Ticks]:
    if len(files) > 1:
        raise UserError(STAGE, "a Parquet file must be given alone", f"there are {len(files)} files",
                        "backtest one after another")
    total = rows or parquet.open_parquet(files[0]).metadata.num_rows
    done = 0
    for ticks in parquet.read(files[0], rows or None, CHUNK):
        yield ticks
        done += len(ticks)
        progress(done / total)


def _recorded(read: Recording, progress: Progress) -> Iterator[Ticks]:
    for ticks in read.ticks(CHUNK):
        yield ticks
        progress(read.lines_read / read.line_count)


def _limited(chunks: Iterator[Ticks], rows: int) -> Iterator[Ticks]:
    left = rows
    for ticks in chunks:
        yield ticks if not rows or len(ticks) <= left else ticks.take(slice(0, left))
        left -= len(ticks)
        if rows and left <= 0:
            return


def write(chunks: Iterable[Ticks], path: Path, source: str) -> Input:
    """Write ticks as the market's producers would: encoded, and each instrument in the partition that Kafka gives it.
    """
    known = contracts()
    encoder, shards = TickEncoder(known.id(TICKS)), schemas.shards()
    with TickLogWriter(path, shards) as writer:
        for ticks in chunks:
            keys, values = encoder.encode(ticks)
            shard = np.fromiter((partition(key, shards) for key in keys), np.int64, len(keys))
            for place in np.unique(shard).tolist():
                writer.append(place, [values[row] for row in np.flatnonzero(shard == place).tolist()])
        return Input(writer.finish(), source, known)


def from_log(settings: Settings, namespace: str, path: Path, since: int | None, until: int | None) -> Input:
    """Write the ticks of a run's log whose Kafka timestamps lie in [since, until), seconds since 1970; None is open.

    The account's order is that of the recorded run, as far as its frontiers tell; what people commanded it is left out.
    Raises UserError where broker or registry do not answer, and for a span without ticks.
    """
    known = lookup(settings.registry.url, schemas.topics())
    name = schemas.in_run(TICKS, namespace)
    with TickLogWriter(path, schemas.shards()) as writer:
        for chunk in _chunks(m for m in messages(name, settings) if _within(m, since, until)):
            for shard in sorted({m.partition() for m in chunk}):
                own = [m for m in chunk if m.partition() == shard]
                writer.append(shard, [m.value() for m in own], [m.offset() for m in own],
                              [m.timestamp()[1] // 1_000 for m in own])
        log = writer.finish()
    if not log.rows:
        raise UserError(STAGE, f"the span of {name} must hold ticks", "it holds none",
                        "give another --since or --until")
    frontiers, rulings = recording.settled(settings, namespace, known)  # after the ticks, so that none is missed
    judged = [ruling for ruling in rulings if ruling.kind in (KNOWN, UNKNOWN)]
    return Input(log, f"log of {namespace or 'market'}", known, frontiers, judged)


def _within(message: Message, since: int | None, until: int | None) -> bool:
    stamp = message.timestamp()[1] / 1_000
    return (since is None or stamp >= since) and (until is None or stamp < until)


def _chunks(held: Iterator[Message]) -> Iterator[list[Message]]:
    while chunk := list(islice(held, CHUNK)):
        yield chunk
