"""State of the keyed operator: what a worker puts is seen by it at once, and by Flink when it is written."""

from __future__ import annotations

from jobs.chain.microbatch import FlinkStore


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


def test_a_store_made_anew_reads_what_was_written() -> None:
    state = State()
    store = FlinkStore(state)
    store.put("kept", lambda: b"1")
    store.flush()
    store.put("kept", lambda: b"2")  # comes after the checkpoint, and is lost with the operator
    assert FlinkStore(state).get("kept") == b"1"
