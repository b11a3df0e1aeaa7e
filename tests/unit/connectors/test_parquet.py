"""The reference file: in file order, seq from 1 for each symbol, however it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from connectors.market.columns import COLUMNS, concat
from connectors.market.parquet import read
from sigmaflow.errors import UserError

ROWS = 1_000


@pytest.fixture
def reference(tmp_path: Path) -> tuple[Path, pa.Table]:
    """A file of the reference's form."""
    rng = np.random.default_rng(1)
    table = pa.table({
        "symbol": [f"SYM{i}" for i in rng.integers(0, 5, ROWS)], "ts": np.arange(ROWS, dtype=np.int64) * 1_000 + 10**18,
        "bid": rng.random(ROWS), "ask": rng.random(ROWS) + 1, "bid_size": rng.integers(1, 9, ROWS),
        "ask_size": rng.integers(1, 9, ROWS)})
    path = tmp_path / "ticks.parquet"
    pq.write_table(table, path, row_group_size=300)
    return path, table


@pytest.mark.parametrize("chunk", [1, 64, 10_000])
def test_rows_come_in_file_order(reference: tuple[Path, pa.Table], chunk: int) -> None:
    path, table = reference
    ticks, whole = concat(read(path, chunk=chunk)), concat(read(path))
    assert [ticks.instruments[i] for i in ticks.instrument] == [("REF", name) for name in table["symbol"].to_pylist()]
    for name in COLUMNS:
        assert_array_equal(getattr(ticks, name), getattr(whole, name), err_msg=name)
    for name in ("bid", "ask", "bid_size", "ask_size"):
        assert_array_equal(getattr(ticks, name), table[name].to_numpy())
    assert_array_equal(ticks.ts_event, table["ts"].to_numpy())
    for i in range(5):
        seq = ticks.seq[ticks.instrument == i]
        assert_array_equal(seq, np.arange(1, len(seq) + 1))


def test_only_the_first_rows_are_read_where_asked(reference: tuple[Path, pa.Table]) -> None:
    assert len(concat(read(reference[0], rows=301, chunk=100))) == 301


@pytest.mark.parametrize("rows", [0, -1, ROWS + 1])
def test_more_rows_than_there_are_is_an_error(reference: tuple[Path, pa.Table], rows: int) -> None:
    with pytest.raises(UserError, match="ROWS must be from 1 to the 1000"):
        list(read(reference[0], rows))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    with pytest.raises(UserError, match="must exist"):
        list(read(path))
    path.write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="whole Parquet file"):
        list(read(path))
    pq.write_table(pa.table({"symbol": ["A"], "ts": [1]}), path)
    with pytest.raises(UserError, match="ask, ask_size, bid, bid_size missing"):
        list(read(path))
    full = {"symbol": ["A"], "ts": [1], "bid": [1.0], "ask": [None], "bid_size": [1], "ask_size": [1]}
    pq.write_table(pa.table(full), path)
    with pytest.raises(UserError, match="no null"):
        list(read(path))
