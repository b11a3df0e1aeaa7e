"""The keyed operator: whom it calls with what, and its state, which a worker sees at once and Flink when written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from jobs.chain.messages import NEXT, Emission, MicroBatch
from jobs.chain.meters import Seen
from jobs.chain.microbatch import FlinkStore, MicroBatchOperator
from jobs.chain.packing import BATCHES, CHECKPOINT, OPEN, pack_batch
from sigmaflow.settings import ROOT
from udfs.stage import Store

WORKER = """
import builtins
from pyflink.fn_execution.beam.beam_sdk_worker_main import CustomPrint
builtins.print = CustomPrint(print).print
import {}
"""
"""What a worker of process mode does before it unpickles what a job has sent."""


class State(dict[str, bytes]):
    """Keyed state as far as a store uses it, and how often it was written."""

    writes = 0

    def put(self, key: str, value: bytes) -> None:
        self.writes += 1
        self[key] = value

    def remove(self, key: str) -> None:
        self.writes += 1
        self.pop(key, None)


def test_many_puts_are_one_write_of_what_stands_then() -> None:
    state, page = State(), [0]
    store = FlinkStore(state)
    for page[0] in range(1, 4):
        store.put("page/0", lambda: bytes(page))
    assert store.get("page/0") == b"\3" and not state and not store.flushed
    page[0] = 7
    store.flush()
    assert state == {"page/0": b"\7"} and state.writes == 1 and store.flushed


def test_nothing_is_written_twice() -> None:
    state = State()
    store = FlinkStore(state)
    store.put("a", lambda: b"1")
    store.flush()
    store.flush()
    assert state.writes == 1


def test_what_is_removed_is_gone_at_once_and_from_flink_when_written() -> None:
    state = State(old=b"1")
    store = FlinkStore(state)
    assert store.get("old") == b"1"
    store.remove("old")
    assert store.get("old") is None and state == {"old": b"1"}
    store.put("new", lambda: b"2")
    store.remove("new")
    store.flush()
    assert state == {} and store.get("new") is None
    assert state.writes == 1  # of what came and went Flink hears nothing


def test_what_was_written_and_is_put_again_before_it_goes_is_gone() -> None:
    state = State()
    store = FlinkStore(state)
    store.put("chunk:1", lambda: b"1")
    store.flush()
    store.put("chunk:1", lambda: b"2")
    store.remove("chunk:1")
    store.flush()
    assert state == {} and store.flushed


def test_a_store_made_anew_reads_what_was_written() -> None:
    state = State()
    store = FlinkStore(state)
    store.put("kept", lambda: b"1")
    store.flush()
    store.put("kept", lambda: b"2")  # comes after the checkpoint, and is lost with the operator
    assert FlinkStore(state).get("kept") == b"1"


class Recorder:
    """A worker that notes what it is called with, and puts one value in the store of each key."""

    seen = Seen()

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.called: list[list[MicroBatch]] = []
        self.beats = 0

    def take(self, shard: int, store: Store) -> None:
        self.opened.append(shard)
        store.put("shard", lambda: b"%d" % shard)

    def process(self, batches: Sequence[MicroBatch]) -> list[Emission]:
        self.called.append(list(batches))
        return [Emission(NEXT, payload=b"rows")]

    def idle(self) -> list[Emission]:
        self.beats += 1
        return []


def opened(held: Recorder | None, shard: int, store: Store) -> Recorder:
    """As the jobs do it for shards: one worker for all of them."""
    worker = held or Recorder()
    worker.take(shard, store)
    return worker


class Subtask:
    """What Flink gives an operator: keyed state, a current key, timers at a clock that is set by hand."""

    def __init__(self, keys: Sequence[int], states: dict[int, State], beat_ms: int = 0) -> None:
        self.states, self.key, self.now, self.timers = states, keys[0], 0, list[int]()
        self.operator = MicroBatchOperator(opened, keys, ["t"], beat_ms)
        self.operator.open(self)  # type: ignore[arg-type]

    def get_map_state(self, descriptor: Any) -> Subtask:
        return self

    def get_metrics_group(self) -> Subtask:
        return self

    def add_group(self, name: str, value: str) -> Subtask:
        return self

    def counter(self, name: str) -> Subtask:
        return self

    def inc(self, n: int) -> None:
        """Nobody counts here."""

    def get_current_key(self) -> int:
        return self.key

    def timer_service(self) -> Subtask:
        return self

    def current_processing_time(self) -> int:
        return self.now

    def register_processing_time_timer(self, at: int) -> None:
        self.timers.append(at)

    def keys(self) -> list[str]:
        return list(self.states[self.key])

    def put(self, name: str, value: bytes) -> None:
        self.states[self.key].put(name, value)

    def tell(self, key: int, word: int, payload: bytes = b"") -> list[Any]:
        """Hand over an element of this key; the rows it leads to."""
        self.key = key
        return list(self.operator.process_element((word, payload), self))  # type: ignore[arg-type]

    def fire(self, key: int, at: int) -> None:
        """A timer of this key."""
        self.key = key
        list(self.operator.on_timer(at, self))  # type: ignore[arg-type]

    @property
    def worker(self) -> Recorder:
        assert isinstance(self.operator._worker, Recorder)
        return self.operator._worker


def test_one_worker_is_called_with_micro_batches_of_all_keys() -> None:
    subtask = Subtask((5, 9), {5: State(), 9: State()})
    for key in (9, 5, 9):
        subtask.tell(key, OPEN)
    batches = [MicroBatch("t", shard, [b"x"], [shard]) for shard in (0, 1)]
    rows = subtask.tell(9, BATCHES, b"".join(pack_batch(batch, ["t"]) for batch in batches))
    assert subtask.worker.opened == [1, 0]
    assert [[batch.shard for batch in call] for call in subtask.worker.called] == [[0, 1]]
    assert [row[0] for row in rows] == [NEXT]


def test_a_checkpoint_writes_each_key_where_it_belongs() -> None:
    states = {5: State(), 9: State()}
    subtask = Subtask((5, 9), states)
    subtask.tell(5, OPEN)
    subtask.tell(9, OPEN)
    subtask.tell(5, CHECKPOINT)
    assert states == {5: {"shard": b"0"}, 9: {}}
    subtask.tell(9, CHECKPOINT)
    assert states[9] == {"shard": b"1"}


def test_a_key_that_never_came_has_nothing_to_write() -> None:
    subtask = Subtask((5, 9), {5: State(), 9: State()})
    assert subtask.tell(9, CHECKPOINT) == [] and not subtask.states[9]


def test_timers_from_before_a_restart_add_no_beats() -> None:
    """They begin with the key, since nothing may come for it, and from then on the beat is one, not one more."""
    subtask = Subtask((0,), {0: State()}, beat_ms=50)
    subtask.now = 1_000
    subtask.fire(0, 990)
    subtask.fire(0, 995)
    assert subtask.worker.opened == [0] and subtask.worker.beats == 0 and subtask.timers == [1_050]
    subtask.tell(0, OPEN)
    subtask.now = 1_050
    subtask.fire(0, 1_050)
    assert subtask.worker.beats == 1 and subtask.timers == [1_050, 1_100]


@pytest.mark.parametrize("module", ["jobs.chain.microbatch", "udfs.pandas_udfs"])
def test_a_worker_of_process_mode_can_import_it(module: str) -> None:
    """PyFlink puts a method in print's place there, and numba looks print up by its name."""
    ran = subprocess.run([sys.executable, "-c", WORKER.format(module)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
