"""The keyed, stateful, vectorised operator: one Python call for what came for all keys of a subtask. Written once, used
by all jobs.

PyFlink has no `applyInPandasWithState`; this is it. The JVM collects what arrives within a few milliseconds, or while
Python is busy (`jobs/chain/jvm`), `MicroBatchOperator` hands it to the worker of its keys, and the worker's emissions
become rows. So a call covers the more ticks the busier the machine is. State is one MapState from name to bytes for
each key: what a worker touched is written once a checkpoint, and read only when the operator starts or is restored.

Measured on two cores against other hosts (shared facts 1 and 3 of PyFlink 2.3): one call a tick 11,000 ticks/s, a
stateless Pandas UDF hop 150,000 to 200,000 but 37 ms at the median because process mode flushes by bundle, this form
288,000 at 6 ms. So stateful stages run here in thread mode, and the Pandas UDFs of udfs/pandas_udfs.py serve SQL.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor

from jobs.chain import compiling
from jobs.chain.messages import HOT, LEDGER, NEXT, Emission, MicroBatch
from jobs.chain.meters import Counter, Meters, Seen
from jobs.chain.packing import BATCHES, OPEN, pack, pack_rows, unpack
from udfs.stage import Store

PACKED = Types.PICKLED_BYTE_ARRAY()
"""State values: in thread mode any other array type is turned into a Python object for each byte."""

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
BATCH = Types.ROW([Types.INT(), BYTES])
"""What an operator takes: a word and micro-batches, as jobs/chain/packing.py unpacks them."""

OUTPUT = Types.ROW([Types.INT(), BYTES])
"""What an operator gives: sink and payload."""


class Worker(Protocol):
    """Runs stages for the keys of a subtask. `seen` is of its last call."""

    seen: Seen

    def process(self, batches: Sequence[MicroBatch]) -> list[Emission]: ...

    def idle(self) -> list[Emission]: ...


Make = Callable[["Worker | None", int, Store], Worker]
"""What runs another shard too, with its number and store, beside those that the worker so far runs, if there is one."""


class FlinkStore:
    """A worker's store in Flink's keyed state: used while its key is the current one.

    What is put is packed and written at `flush`: a write into the JVM costs tens of microseconds, and a busy worker
    would make some at every call, but only what stands there at a checkpoint is ever read. Most rows that wait for
    another shard come and go between two checkpoints: of them Flink hears nothing.
    """

    def __init__(self, state: MapState) -> None:
        self._state = state
        self._written = set(state.keys())
        self._waiting: dict[str, Callable[[], bytes] | None] = {}

    def get(self, key: str) -> bytes | None:
        if key in self._waiting:
            make = self._waiting[key]
            return make() if make else None
        found = self._state.get(key)
        return None if found is None else bytes(found)

    def put(self, key: str, make: Callable[[], bytes]) -> None:
        self._waiting[key] = make

    def remove(self, key: str) -> None:
        if key in self._written:
            self._waiting[key] = None
        else:
            self._waiting.pop(key, None)

    @property
    def flushed(self) -> bool:
        """Whether Flink's state has all of it."""
        return not self._waiting

    def flush(self) -> None:
        """Write what waits into Flink's state."""
        for key, make in self._waiting.items():
            if make:
                self._state.put(key, make())
                self._written.add(key)
            else:
                self._state.remove(key)
                self._written.remove(key)
        self._waiting.clear()


class MicroBatchOperator(KeyedProcessFunction):
    """Runs one worker for all keys of a subtask. `beat_ms` above 0 calls `idle` that often, from the first key on.

    A key comes first with the word OPEN: then the worker reads the state that it has. What later calls are made with
    may be of several keys, for nothing of Flink's is touched in them. State reaches Flink with the word CHECKPOINT,
    which every input sends for each key right before the barrier of a checkpoint. Barriers are aligned, so nothing but
    a timer comes between the last of them and the snapshot.

    `keys` are those of shards by number, `topics` what may be read and written: a topic's number in a payload is its
    place there.
    """

    def __init__(self, make: Make, keys: Sequence[int], topics: Sequence[str], beat_ms: int = 0) -> None:
        self._make, self._beat_ms, self._topics = make, beat_ms, tuple(topics)
        self._shards = {key: number for number, key in enumerate(keys)}
        self._numbers = {topic: number for number, topic in enumerate(topics)}

    def open(self, runtime_context: RuntimeContext) -> None:
        self._state = runtime_context.get_map_state(MapStateDescriptor("stages", Types.STRING(), PACKED))
        compiling.tell()
        self._worker: Worker | None = None
        self._stores: dict[int, FlinkStore] = {}
        self._beats: dict[int, int] = {}
        group = runtime_context.get_metrics_group()

        def counter(name: str, le: str) -> Counter:
            made: Counter = (group.add_group("le", le) if le else group).counter(name)
            return made

        self._meters = Meters(counter)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        word, payload = value
        if word == BATCHES:
            assert self._worker
            began = time.perf_counter()
            emitted = self._worker.process(unpack(payload, self._topics))
            self._meters.call(time.perf_counter() - began, self._worker.seen)
            yield from self._rows(emitted)
        elif word == OPEN:
            self._open(ctx)
        elif (key := ctx.get_current_key()) in self._stores:
            self._stores[key].flush()

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        self._open(ctx)
        if timestamp != self._beats[ctx.get_current_key()]:  # set before a restart: the beat is another now
            return
        worker, store, began = self._worker, self._stores[ctx.get_current_key()], time.perf_counter()
        assert worker
        flushed = store.flushed
        emitted = worker.idle()
        if flushed:  # the barrier may be next
            store.flush()
        if worker.seen.ticks:
            self._meters.call(time.perf_counter() - began, worker.seen)
        self._schedule(ctx)
        yield from self._rows(emitted)

    def _open(self, ctx: Any) -> None:
        """Begin with the current key, if it is new."""
        key = ctx.get_current_key()
        if key in self._stores:
            return
        self._stores[key] = FlinkStore(self._state)
        self._worker = self._make(self._worker, self._shards[key], self._stores[key])
        if self._beat_ms:
            self._schedule(ctx)

    def _rows(self, emissions: Sequence[Emission]) -> Iterator[Row]:
        """One row for each sink and one for what goes to the next operator: every row is a call into the JVM."""
        for sink in (HOT, LEDGER):
            sent = [e for e in emissions if e.sink == sink]
            if sent:
                yield Row(sink, pack(sent, self._numbers))
        for e in emissions:
            if e.sink == NEXT:
                yield Row(NEXT, pack_rows(e.payload))

    def _schedule(self, ctx: Any) -> None:
        timers = ctx.timer_service()
        at = self._beats[ctx.get_current_key()] = timers.current_processing_time() + self._beat_ms
        timers.register_processing_time_timer(at)


def spread_keys(count: int, max_parallelism: int = 128) -> list[int]:
    """A key for each shard such that Flink spreads them evenly over 1, 2, 4, … subtasks.

    Flink places a key by its hash (KeyGroupRangeAssignment); small numbers may all land on one subtask. The keys found
    here fall into `count` equal ranges of key groups, one each.

    >>> spread_keys(2)
    [1, 0]
    """
    found: dict[int, int] = {}
    key = 0
    while len(found) < count:
        # The key is a Row of one integer, whose hash is 31 and the integer (RowUtils.deepHashCodeRow).
        found.setdefault(_murmur(31 + key) % max_parallelism * count // max_parallelism, key)
        key += 1
    return [found[i] for i in range(count)]


def _murmur(code: int) -> int:
    """MathUtils.murmurHash of Flink, on 32-bit integers."""
    mask = 0xFFFFFFFF
    code = code * 0xCC9E2D51 & mask
    code = (code << 15 | code >> 17) & mask
    code = code * 0x1B873593 & mask
    code = (code << 13 | code >> 19) & mask
    code = (code * 5 + 0xE6546B64) & mask
    code ^= 4
    code ^= code >> 16
    code = code * 0x85EBCA6B & mask
    code ^= code >> 13
    code = code * 0xC2B2AE35 & mask
    code ^= code >> 16
    signed = code - (1 << 32) if code >> 31 else code
    return 0 if signed == -(1 << 31) else abs(signed)
