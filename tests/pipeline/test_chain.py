"""The chain on a real broker, registry and Flink cluster: reference sums, six jobs, bad input, a killed TaskManager."""
from __future__ import annotations

import random
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

import schemas
from connectors import consume
from connectors.market import parquet
from connectors.market.simulator import Config, generate
from connectors.registry import value_schema_id
from connectors.ticks import TickEncoder
from sigmaflow import chaos, poison, reference, submit, trials
from sigmaflow.runs import Run, send
from sigmaflow.settings import Settings
from sigmaflow.tally import Tally
from tests import reference_strategy
from tests.commands import send_raw
from tests.waiting import wait_for

ROWS = 12_000


@pytest.fixture(scope="module")
def columns() -> dict[str, Any]:
    return reference_strategy.ticks(ROWS, symbols=6, seed=11)


@pytest.fixture(scope="module")
def file(columns: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ticks") / "ticks.parquet"
    names = pa.array([f"SYM{s}" for s in columns["symbol"]])
    pq.write_table(pa.table(columns | {"symbol": names}), path)
    return path


def assert_sums(found: dict[str, Any], columns: dict[str, Any]) -> None:
    wanted = reference_strategy.checksums(columns)
    assert wanted["fills"] > 20
    assert found["rows"] == ROWS
    assert {name: found[name] for name in ("fills", "volume", "pnl", "eq", "spr")} == {
        name: wanted[name] for name in ("fills", "volume", "pnl", "eq", "spr")}
    assert found["sig"] == pytest.approx(wanted["sig"], abs=1e-6)
    assert found["cv"] == pytest.approx(wanted["cv"], rel=1e-9)


def test_reference_sums(stack: Settings, file: Path, columns: dict[str, Any]) -> None:
    assert_sums(reference.run(str(file), 0, "one", parallelism=2), columns)


def test_reference_sums_of_six_jobs_with_foreign_records_on_their_topics(stack: Settings, file: Path,
                                                                         columns: dict[str, Any]) -> None:
    """They are there before the jobs: what an operator reads back at its start is among them."""
    with Run("foreign", "reference", "six", taps="all", settings=stack, submit=False) as r:
        foreign_records(stack, r)
        r.start()
        send(r.writer, parquet.read(file), ROWS)
        r.settle()
        assert_sums(reference.checksums(r), columns)


def test_what_a_checkpoint_covers_is_committed_though_nothing_more_comes(stack: Settings) -> None:
    """So that the lag of a quiet log is known. The connector by itself commits when its poll is over, 10 s later."""
    with Run("quiet", "reference", taps="features.v1", settings=stack) as r:
        send(r.writer, generate(Config(count=2_000)), 2_000)
        wait_for("the last tick's features", lambda: r.ends()["features.v1"] == 2_000)
        done = submit.checkpoints(r.job_ids[0], stack)
        wait_for("two more checkpoints", lambda: submit.checkpoints(r.job_ids[0], stack) >= done + 2)
        time.sleep(1)  # the commit is asynchronous
        assert r.behind(r.written()) == 0


def foreign_records(stack: Settings, r: Run) -> None:
    """What none of our programs writes, on every topic but the ticks', whose are dead letters, and those summed up."""
    for name in set(schemas.topics()) - {"market.ticks.v1", "fills.v1", "decisions.v1"}:
        own = struct.pack(">bI", 0, value_schema_id(name, stack))
        send_raw(stack, r.topic(name), b"foreign", b"", None, struct.pack(">bI", 0, 999_999) + b"x", own,
                 own + b"\xff" * 20, key=b"paper", partition=0)


def test_a_killed_taskmanager_changes_nothing(stack: Settings, file: Path, columns: dict[str, Any]) -> None:
    with Run("killed", "reference", taps="risk.v1") as r:
        chunks = list(parquet.read(file, chunk=ROWS // 2))
        send(r.writer, chunks[:1], ROWS)
        time.sleep(3)
        trials.kill(stack, trials.busy(stack))
        send(r.writer, chunks[1:], ROWS)
        r.settle()
        assert_sums(reference.checksums(r), columns)
        assert submit.get_json(f"{stack.flink.rest_url}/jobs/{r.job_ids[0]}/checkpoints")["counts"]["restored"] >= 1


@pytest.mark.parametrize("fault", ["taskmanager-kill", "jobmanager-kill", "worker-kill", "rescale"])
def test_a_fault_under_load_loses_and_doubles_nothing(stack: Settings, fault: str) -> None:
    """The quick part of `make chaos`: the auditor and a recomputation find nothing."""
    tally = Tally()
    chaos.trial(stack, tally, fault, chaos.FAULTS[fault], random.Random(3))
    assert tally.clean and tally.cases > 1.5 * trials.RATE * chaos.FAULTS[fault].load_s / 2


def test_six_jobs_compute_a_recorded_run_again(stack: Settings) -> None:
    """The quick part of `make replay-identity`."""
    tally = Tally()
    with Run("recorded", "default", taps="all", settings=stack) as base:
        for chunk in generate(Config(count=3_000)):
            base.writer.write(chunk)
        base.settle()
        with Run("again", "default", "six", 2, "all", stack, batch_ms=20, recorded=base.namespace) as again:
            again.settle()
            trials.check(tally, "six jobs", again, base.namespace)
    assert tally.clean and tally.cases > 5 * 3_000


def test_poison_leaves_no_trace_but_dead_letters(stack: Settings) -> None:
    assert poison.run(3_000, seed=5)


def test_bad_input_becomes_dead_letters_and_the_chain_goes_on(stack: Settings, file: Path) -> None:
    with Run("poison", "default", taps="features.v1") as r:
        ticks = next(parquet.read(file, 3_000, chunk=3_000))
        keys, good = TickEncoder(reference_id(stack)).encode(ticks)
        poison = bad_messages(stack, ticks)
        producer = Producer({"bootstrap.servers": stack.kafka.bootstrap, "partitioner": "murmur2_random",
                             "message.max.bytes": 2_000_000})
        sent: list[tuple[bytes, bytes | None]] = list(zip(keys, good, strict=True))
        for n, (_, message) in enumerate(poison):
            sent.insert(500 * (n % 5) + n, (keys[0], message))
        for n, (key, message) in enumerate(sent):
            producer.produce(r.topic("market.ticks.v1"), message, key)
            if n % 1_000 == 0:
                producer.poll(0)
        producer.flush()
        r.settle()
        letters = [v for _, v, _, _ in consume.read_all(r.topic("market.ticks.v1.dlq"), stack)]
        assert sorted(v["reason"] for v in letters) == sorted(reason for reason, _ in poison)
        assert sorted(v["payload"] for v in letters) == sorted(message or b"" for _, message in poison)
        places = {(v["partition"], v["offset"]) for v in letters}
        accepted = [v for _, v, _, _ in consume.read_all(r.topic("features.v1"), stack)]
        assert len(accepted) == len(good)
        assert places.isdisjoint((v["partition"], v["offset"]) for v in accepted)
        assert len(places) + len(accepted) == r.ends()["market.ticks.v1"]


def reference_id(stack: Settings) -> int:
    return value_schema_id("market.ticks.v1", stack)


def bad_messages(stack: Settings, ticks: Any) -> list[tuple[str, bytes | None]]:
    """(reason, message) of every kind of bad input. All belong to the first tick's symbol."""
    encoder = TickEncoder(reference_id(stack))

    def changed(**values: float) -> bytes:
        first = ticks.take(np.array([0]))
        high = {"seq": 10**9}  # not a duplicate: what is wrong is what the test changed
        from dataclasses import replace

        return encoder.encode(replace(first, **{k: np.array([v]).astype(getattr(first, k).dtype)
                                                for k, v in (high | values).items()}))[1][0]

    whole = encoder.encode(ticks.take(np.array([0])))[1][0]
    bid, ts = float(ticks.bid[0]), int(ticks.ts_event[0])
    return [
        ("null_value", None), ("bad_magic", b"\x01" + whole[1:]), ("truncated", whole[:20]), ("truncated", b""),
        ("unknown_schema", struct.pack(">bI", 0, 999_999) + whole[5:]), ("trailing_bytes", whole + b"x"),
        ("bad_text", whole[:5] + b"\x06\xff\xfe\xfd" + whole[9:]), ("not_finite", changed(bid=float("nan"))),
        ("not_finite", changed(ask=float("inf"))), ("not_positive_price", changed(bid=-1.0)),
        ("not_positive_size", changed(bid_size=-5.0)), ("crossed", changed(ask=bid / 2)),
        ("time_ahead", changed(ts_event=ts + 7_200 * 10**9)),
        ("time_behind", changed(ts_event=ts - 86_400 * 10**9)), ("truncated", b"\0" * 4),
        ("bad_magic", b"x" * 1_000_000),
    ]
