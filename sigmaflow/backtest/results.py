"""What a backtest wrote, as the frames that the tear sheet is made of; messages are decoded as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

import schemas
from jobs.chain.contracts import Contracts
from jobs.chain.messages import DECISIONS, EQUITY, FILLS, Emission, RecordReader
from jobs.chain.shard import DEAD, TICKS
from schemas.codec import Decoder
from sigmaflow import record
from sigmaflow.backtest.tick_log import TickLog
from sigmaflow.record import Frames
from sigmaflow.report_costs import KEY

COLUMNS = {EQUITY: record.EQUITY, FILLS: record.FILLS, DECISIONS: record.DECISIONS}
Select = Callable[[pd.DataFrame], pd.DataFrame]


class Frame:
    """Named fields of one topic's messages, decoded a chunk at a time; `select` keeps what is wanted of a chunk."""

    def __init__(self, topic: str, columns: tuple[str, ...], contracts: Contracts,
                 select: Select | None = None) -> None:
        schema = contracts.schema(topic)
        self._reader = schema | {"fields": [f for f in schema["fields"] if f["name"] in columns]}
        self._decoder, self._select = Decoder(self._reader, contracts.writers(topic)), select
        self._waiting: list[bytes | None] = []
        self._parts: list[pd.DataFrame] = []

    def take(self, values: list[bytes]) -> None:
        """The next messages."""
        self._waiting += values
        while len(self._waiting) >= record.CHUNK:
            self._decode(self._waiting[:record.CHUNK])
            self._waiting = self._waiting[record.CHUNK:]

    def _decode(self, values: list[bytes | None]) -> None:
        part = record.decoded(self._decoder, self._reader, values)
        self._parts.append(self._select(part) if self._select else part)

    def whole(self) -> pd.DataFrame:
        """All rows."""
        if self._waiting or not self._parts:
            self._decode(self._waiting)
            self._waiting = []
        full = [part for part in self._parts if len(part)] or self._parts[:1]
        return pd.concat(full, ignore_index=True)


@dataclass
class Counts:
    """What became of the ticks: ticks = accepted + duplicate + rejected."""

    ticks: int = 0
    accepted: int = 0
    dead: Counter[str] = field(default_factory=Counter)

    def record(self) -> dict[str, object]:
        """As plain values."""
        reasons = dict(sorted(self.dead.items()))
        duplicate = reasons.pop("duplicate", 0)
        return {"ticks": self.ticks, "accepted": self.accepted, "duplicate": duplicate,
                "rejected": sum(reasons.values()), "rejected_by_reason": reasons}


class Collector:
    """Takes all emissions of a run. `lean` leaves the decisions out, one for each tick, but for their time.

    `span_ns` is the event time from the first admitted tick to the last.
    """

    def __init__(self, contracts: Contracts, lean: bool = False) -> None:
        self._lean, self._times = lean, (2**63 - 1, 0)
        columns = COLUMNS | ({DECISIONS: ("ts_order",)} if lean else {})
        select = {DECISIONS: self._timed}
        self.frames = {topic: Frame(topic, of, contracts, select.get(topic)) for topic, of in columns.items()}
        self.counts = Counts()
        self._letters = RecordReader(contracts.writers(DEAD))

    def take(self, emission: Emission) -> None:
        """Messages of one topic."""
        if emission.topic == DEAD:
            self.counts.dead.update(self._letters.read(value)["reason"] for value in emission.values.values())
        elif emission.topic in self.frames:
            self.frames[emission.topic].take(emission.values.values())

    def _timed(self, rows: pd.DataFrame) -> pd.DataFrame:
        if len(rows):
            first, last = int(rows["ts_order"].iloc[0]), int(rows["ts_order"].iloc[-1])  # decisions are in order
            self._times = min(self._times[0], first), max(self._times[1], last)
        return rows[:0] if self._lean else rows

    @property
    def span_ns(self) -> int:
        """0 until `frames` were made whole, and where no tick was admitted."""
        return max(0, self._times[1] - self._times[0])


def trades(log: TickLog, contracts: Contracts) -> pd.DataFrame:
    """Ticks at which another last trade shows than before, as the cost analysis wants them; other ticks say the same.

    The first tick of each instrument is kept: what it shows was traded before the log began.
    """
    frame = Frame(TICKS, record.TRADES, contracts, _changed)
    for batch in log.batches():
        frame.take([message for message in batch.messages if message])
    return frame.whole()


def _changed(ticks: pd.DataFrame) -> pd.DataFrame:
    shown = ticks[["last_price", "last_size", "last_side"]]
    before = ticks.groupby(KEY, sort=False)[list(shown)].shift()
    same = (shown.eq(before) | (shown.isna() & before.isna())).all(axis=1)
    return ticks[~same | ~ticks.duplicated(KEY)]


def save(frames: Frames, folder: Path) -> list[Path]:
    """Write the frames as Parquet files of a folder, which is made where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for topic in COLUMNS:
        files.append(folder / f"{schemas.topics()[topic].schema}.parquet")
        getattr(frames, topic.removesuffix(".v1")).to_parquet(files[-1], index=False)
    return files
