"""The reference ticks, made once: 2,000,000 rows, the same as bench/gen_ticks.py of the shared folder writes.

The stream of NumPy's PCG64 settles every row; the digest tells at once where a version of NumPy draws otherwise.
Another file of that form, as the same program writes it with another seed, has the sums of the peers' kernel.
"""
from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from connectors.market import parquet
from sigmaflow.errors import UserError
from sigmaflow.settings import ROOT

PROGRAMS = ROOT / "tests" / "bench" / "peers"
"""What others would write, and knows nothing of the chain."""
FILE = ROOT / "build" / "bench" / "ticks.parquet"
ROWS, SEED, SYMBOLS = 2_000_000, 20240102, 10
DOLLARS = (48, 62, 75, 90, 104, 121, 150, 183, 220, 270)
DIGEST = "08bb2cb89a31b56e"

SUMS: dict[int, dict[str, float]] = {
    20_000: {"fills": 462, "volume": 281934, "pnl": 2255.625, "eq": 1646762.796875,
        "sig": -366.199400640345, "cv": 4.369106362222267, "spr": 532.5625},
    50_000: {"fills": 1453, "volume": 875126, "pnl": 10499.6171875, "eq": 21500483.765625,
        "sig": -250.89101161969342, "cv": 13.180424577791221, "spr": 1334.015625},
    100_000: {"fills": 3099, "volume": 1870871, "pnl": 24034.6484375, "eq": 108439188.96875,
        "sig": -81.99277996341095, "cv": 27.68934394607084, "spr": 2669.453125},
    200_000: {"fills": 6424, "volume": 3883476, "pnl": 50598.2421875, "eq": 483543622.9921875,
        "sig": -234.79956979467966, "cv": 56.834294694359656, "spr": 5322.609375},
    500_000: {"fills": 16073, "volume": 9729827, "pnl": 129750.4375, "eq": 3218327258.7890625,
        "sig": 230.4603451871849, "cv": 145.69023917768834, "spr": 13291.515625},
    1_000_000: {"fills": 32209, "volume": 19575373, "pnl": 264443.109375, "eq": 13055496936.5,
        "sig": -1090.5047741600267, "cv": 297.04416029596746, "spr": 26573.265625},
    2_000_000: {"fills": 64901, "volume": 39537274, "pnl": 531668.1875, "eq": 52868774173.015625,
        "sig": -2983.8572011765445, "cv": 611.4678313031355, "spr": 53141.6875},
}
"""Checksums over the first rows, as nineteen independent programs agree on them (bench/reference.json)."""


@dataclass(frozen=True)
class Reference:
    """A file of reference ticks: its rows, and the checksums that its first ones must give."""

    path: Path
    rows: int

    def portion(self, wanted: float) -> int:
        """The rows to take for so many wanted: as many as there are; of our own file a number with published sums."""
        if self.path != FILE:
            return min(int(wanted), self.rows)
        return max((count for count in SUMS if count <= wanted), default=min(SUMS))

    def sums(self, count: int) -> dict[str, float]:
        """Checksums over the first rows."""
        return SUMS[count] if self.path == FILE else computed(self.path, count)


@cache
def computed(path: Path, count: int) -> dict[str, float]:
    """The sums of the peers' kernel over a file's first rows: it shares no code with the chain."""
    ran = subprocess.run([sys.executable, str(PROGRAMS / "sums.py"), "--ticks", str(path), "--count", str(count)],
                         capture_output=True, text=True, cwd=PROGRAMS, check=True)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def reference(file: Path | None = None) -> Reference:
    """The given file, or the bench's own, made where it is missing. Raises UserError for a file of another form."""
    path = _own() if file is None else file.resolve()
    return Reference(path, parquet.open_parquet(path).metadata.num_rows)


def _own() -> Path:
    if not FILE.exists():
        FILE.parent.mkdir(parents=True, exist_ok=True)
        fresh = FILE.with_suffix(".new")
        pq.write_table(generate(), fresh, compression="snappy", row_group_size=100_000)
        os.replace(fresh, FILE)
    return FILE


def generate() -> pa.Table:
    """All rows. Raises UserError where they are not those that the checksums are of."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    symbol = rng.integers(0, SYMBOLS, ROWS).astype(np.int32)
    ts = 1_704_205_800_000_000_000 + np.cumsum(rng.integers(1_000, 99_000, ROWS, dtype=np.int64))
    bid, ask = np.empty(ROWS), np.empty(ROWS)
    bid_size, ask_size = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    for s in range(SYMBOLS):
        at = np.flatnonzero(symbol == s)
        bid[at], ask[at], bid_size[at], ask_size[at] = _symbol(rng, len(at), DOLLARS[s])
    digest = hashlib.sha256(b"".join(a.tobytes() for a in (symbol, ts, bid, ask, bid_size, ask_size))).hexdigest()[:16]
    if digest != DIGEST:
        raise UserError("bench", f"the reference ticks must have digest {DIGEST}", f"they have {digest}",
                        "use the NumPy of constraints.txt")
    names = pa.array([f"SYM{i}" for i in range(SYMBOLS)])
    return pa.table({"symbol": pa.DictionaryArray.from_arrays(pa.array(symbol), names).cast(pa.string()), "ts": ts,
                     "bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size})


def _symbol(rng: np.random.Generator, n: int, dollars: int) -> tuple[NDArray[np.float64], ...]:
    """Bid, ask and sizes of one symbol, prices on a grid of 1/128 dollar; a latent book pressure leads the price."""
    noise = rng.standard_normal(n).tolist()
    pressure, x = np.empty(n), 0.0
    for i in range(n):
        x = 0.97 * x + 0.2 * noise[i]
        pressure[i] = x
    drift = np.zeros(n)
    drift[1:] = 0.35 * pressure[:-1]
    step = np.rint(rng.normal(0.0, 1.6, n) + drift).astype(np.int64)
    k = np.maximum(dollars * 128 + np.cumsum(step), 10 * 128)
    half = np.where(k & 1, rng.choice([1, 3], n, p=[.9, .1]), rng.choice([2, 4], n, p=[.9, .1]))
    noises = rng.normal(0, 0.45, (2, n))
    bid_size = np.clip(20_000 * np.exp(0.5 * pressure + noises[0]), 5_000, 200_000).astype(np.int64)
    ask_size = np.clip(20_000 * np.exp(-0.5 * pressure + noises[1]), 5_000, 200_000).astype(np.int64)
    return (k - half) / 128.0, (k + half) / 128.0, bid_size, ask_size
