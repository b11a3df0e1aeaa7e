"""Reads the reference file, ticks.parquet: symbol, ts (ns), bid, ask, bid_size, ask_size, in file order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from connectors.market.columns import Instrument, Ticks
from sigmaflow.errors import UserError

VENUE = "REF"
STAGE = "reference"
_NAMES = ("symbol", "ts", "bid", "ask", "bid_size", "ask_size")


def open_parquet(path: Path) -> pq.ParquetFile:
    """The file, its columns checked. Raises UserError for a missing, damaged or other file."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise UserError(STAGE, f"{path} must exist", "it does not", "give FILE=ticks.parquet") from None
    except (pa.ArrowInvalid, OSError) as error:
        found = str(error).partition("\n")[0].rstrip(".")
        raise UserError(STAGE, f"{path} must be a whole Parquet file", found, "make it again") from None
    missing = set(_NAMES) - set(file.schema_arrow.names)
    if missing:
        raise UserError(STAGE, f"{path} must have the columns {', '.join(_NAMES)}",
                        f"{', '.join(sorted(missing))} missing", "give a file of that form")
    return file


def read(path: Path, rows: int | None = None, chunk: int = 65_536) -> Iterator[Ticks]:
    """The first `rows` ticks (None: all) in chunks; venue REF, seq from 1 for each symbol, no trades.

    Raises UserError where the file is not of that form, has fewer rows, or has a null.
    """
    file = open_parquet(path)
    wanted = file.metadata.num_rows if rows is None else rows
    if not 0 < wanted <= file.metadata.num_rows:
        raise UserError(STAGE, f"ROWS must be from 1 to the {file.metadata.num_rows} of {path}", f"it is {wanted}",
                        "give another ROWS")
    at: dict[Instrument, int] = {}
    seq: NDArray[np.int64] = np.zeros(0, np.int64)
    left = wanted
    for batch in file.iter_batches(batch_size=chunk, columns=list(_NAMES)):
        batch = batch.slice(0, left)
        if any(column.null_count for column in batch.columns):
            raise UserError(STAGE, f"{path} must have no null", f"one is in the {chunk} rows after row {wanted - left}",
                            "make it again")
        ticks, seq = _ticks(batch, at, seq)
        left -= len(ticks)
        yield ticks
        if left == 0:
            return


def _ticks(batch: pa.RecordBatch, at: dict[Instrument, int], seq: NDArray[np.int64]) -> tuple[Ticks, NDArray[np.int64]]:
    """One chunk, and the last seq of every instrument after it."""
    symbols = batch.column("symbol").dictionary_encode()
    places = np.array([at.setdefault((VENUE, name), len(at)) for name in symbols.dictionary.to_pylist()], np.int64)
    instrument = places[symbols.indices.to_numpy(zero_copy_only=False)]
    seq = np.concatenate([seq, np.zeros(len(at) - len(seq), np.int64)])
    rank, counts = _count_up(instrument, len(at))
    ts = batch.column("ts").to_numpy(zero_copy_only=False).astype(np.int64)
    bid, ask, bid_size, ask_size = (
        batch.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in _NAMES[2:])
    none, zero = np.full(len(ts), np.nan), np.zeros(len(ts), np.int64)
    ticks = Ticks(tuple(at), instrument, seq[instrument] + rank, ts, ts, bid, ask, bid_size, ask_size, none, none, zero,
                  zero)
    return ticks, seq + counts


def _count_up(instrument: NDArray[np.int64], instruments: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row its number, from 1, among the rows of its instrument; and how many rows each has."""
    counts = np.bincount(instrument, minlength=instruments)
    order = np.argsort(instrument, kind="stable")
    first = np.cumsum(counts) - counts
    rank = np.empty(len(instrument), np.int64)
    rank[order] = np.arange(len(instrument)) - np.repeat(first, counts) + 1
    return rank, counts
