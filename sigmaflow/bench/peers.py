"""What others would write: programs of tests/bench/peers over the same ticks, each in an environment of its own.

An environment is made with pip from the pinned file beside the program, once, under build/peers. Where that cannot be
done, or a program fails or gives other sums, the result is the reason and no figure.
"""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka.admin import AdminClient

import schemas
from connectors import broker, topics
from connectors.consume import messages
from connectors.market import parquet
from connectors.ticks import TickWriter
from jobs.chain.messages import DECISIONS, FILLS
from jobs.chain.shard import TICKS
from sigmaflow import supervise
from sigmaflow.bench import cpu, figures
from sigmaflow.bench.ticks import PROGRAMS, Reference
from sigmaflow.runs import send
from sigmaflow.settings import ROOT, Settings

ENVIRONMENTS = ROOT / "build" / "peers"
TIMEOUT_S = 600


@dataclass(frozen=True)
class Peer:
    """A program, and the part of the ticks that it gets: a slow one is measured over fewer.

    Those with Kafka write a row for each tick and the fills, as bench/SEMANTICS.md has them. `kind` says what is done
    otherwise: PLAIN, the strategy as it is written by hand in Python, not the numba kernel that the others share;
    FILLS_ONLY, no rows.
    """

    environment: str
    program: str
    share: float = 1.0
    kafka: bool = True
    kind: str = ""

    @property
    def name(self) -> str:
        """Its place in the results.

        >>> Peer("kafka-loop", "kafka_loop.py", kind=PLAIN).name
        'kafka-loop-plain'
        """
        return "-".join(filter(None, (self.environment, self.kind)))


PLAIN, FILLS_ONLY = "plain", "fills"
PEERS = (*(Peer("kafka-loop", "kafka_loop.py", kind=kind) for kind in ("", PLAIN, FILLS_ONLY)),
         Peer("bytewax", "bytewax_flow.py", 0.5),
         *(Peer("quix-state", "quix_state.py", 0.25, kind=kind) for kind in ("", PLAIN, FILLS_ONLY)),
         Peer("nautilus", "nautilus_orders.py", kafka=False))


class Unusable(Exception):
    """Why a peer gives no figure."""


def prepare(name: str) -> Path:
    """The Python of a peer's environment, made where it is missing or its pins have changed. Raises Unusable."""
    home, wanted = ENVIRONMENTS / name, PROGRAMS / f"{name}.txt"
    stamp, digest = home / ".ready", hashlib.sha256(sys.version.encode() + wanted.read_bytes()).hexdigest()
    python = home / "bin" / "python"
    if stamp.exists() and stamp.read_text() == digest and python.exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    # By our own pip, and only what is imported gets compiled: half the time of a pip for each that compiles all.
    for command in ([sys.executable, "-m", "venv", "--without-pip", str(home)],
                    [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-compile",
                     "--disable-pip-version-check", "-r", str(wanted)]):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise Unusable(f"its environment cannot be made: {_last(ran.stderr or ran.stdout)}")
    stamp.write_text(digest)
    return python


def environments() -> dict[str, Future[Path]]:
    """The Python of every peer's environment, made in the background where it is missing: half a minute."""
    pool = ThreadPoolExecutor(os.cpu_count())
    found = {name: pool.submit(prepare, name) for name in dict.fromkeys(peer.environment for peer in PEERS)}
    pool.shutdown(wait=False)
    return found


def measure(settings: Settings, reference: Reference, rows: int, fills_only: bool = True) -> dict[str, Any]:
    """Every peer over its share of so many rows of the ticks, one after another, when all environments are there.

    Those that write fills only if `fills_only`.
    """
    topics.setup(settings, quiet=True)
    pythons = environments()
    wait(pythons.values())
    found: dict[str, Any] = {}
    for peer in (peer for peer in PEERS if fills_only or peer.kind != FILLS_ONLY):
        try:
            found[peer.name] = one(settings, peer, pythons[peer.environment].result(), reference,
                                   reference.portion(rows * peer.share))
        except Unusable as reason:
            found[peer.name] = {"reason": str(reason)}
    return found


def one(settings: Settings, peer: Peer, python: Path, reference: Reference, count: int) -> dict[str, Any]:
    """Rate and cost of one peer in its environment. Raises Unusable."""
    file, sums = reference.path, reference.sums(count)
    state = ENVIRONMENTS / f"{peer.name}-state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    try:
        if not peer.kafka:
            return _run(settings, peer, python, ["--ticks", str(file), "--count", str(count)], count, sums)
        with _topics(settings, f"bench-{time.time_ns():x}.{peer.name}") as (ticks, fills, rows):
            send(TickWriter(settings, ticks), parquet.read(file, count), count)
            arguments = ["--bootstrap", settings.kafka.bootstrap, "--ticks", ticks, "--fills", fills,
                         "--count", str(count), "--state", str(state), *(["--plain"] if peer.kind == PLAIN else []),
                         *(["--rows", rows] if peer.kind != FILLS_ONLY else [])]
            result = _run(settings, peer, python, arguments, count, sums)
            _check_fills(settings, fills, sums)
            if peer.kind != FILLS_ONLY:
                _check_rows(settings, rows, count, sums)
            return result
    finally:
        shutil.rmtree(state, ignore_errors=True)


@contextmanager
def _topics(settings: Settings, prefix: str) -> Iterator[list[str]]:
    """Topics for a peer's ticks, fills and rows, laid out as ours: one partition for rows, as for decisions.

    What begins with their prefix, or is a changelog of it, goes at the end.
    """
    admin, known = AdminClient(broker.client(settings.kafka.bootstrap)), schemas.topics()
    names = {f"{prefix}.ticks": TICKS, f"{prefix}.fills": FILLS, f"{prefix}.rows": DECISIONS}
    topics.create(admin, [replace(known[like], name=name) for name, like in names.items()])
    try:
        yield list(names)
    finally:
        made = [name for name in admin.list_topics(timeout=broker.TIMEOUT_S).topics if prefix in name]
        for answer in admin.delete_topics(made).values():
            answer.result()


def _run(settings: Settings, peer: Peer, python: Path, arguments: list[str], count: int,
         sums: Mapping[str, float]) -> dict[str, Any]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONUNBUFFERED": "1",
                   "NUMBA_CACHE_DIR": str(ENVIRONMENTS / f"{peer.environment}-numba"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([str(python), str(PROGRAMS / peer.program), *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env=environment, cwd=PROGRAMS)
    kafka = cpu.Processes({int(supervise.states(settings)["kafka"]["pid"]): "kafka"} if peer.kafka else {})
    try:
        with cpu.Sampler(kafka) as sampler:
            output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Unusable(f"it did not end within {TIMEOUT_S} s") from None
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise Unusable(f"it ended with {process.returncode}: {_last(output)}")
    return result(peer.name, orjson.loads(output.splitlines()[-1]), count, sums, sampler.between)


def result(name: str, said: Mapping[str, Any], count: int, sums: Mapping[str, float],
           broker_used: Callable[[float, float], cpu.Times]) -> dict[str, Any]:
    """A peer's figures from its last line, and its broker's. Raises Unusable where its sums are not the reference's."""
    wrong = figures.differences(said["sums"], sums)
    if wrong or said["ticks"] != count:
        raise Unusable(f"it gives other results: {'; '.join(wrong) or said['ticks']}")
    used = cpu.grouped(broker_used(said["ended_s"] - said["seconds"], said["ended_s"]), cpu.by_program)
    programs = figures.per_tick({name: said["cpu_s"]} | used, count)
    return {"ticks": count, "ticks_per_s": round(count / said["seconds"], 1), "seconds": round(said["seconds"], 3),
            "cpu_us_per_tick": round(sum(programs.values()), 2), "cpu_us_by_program": programs, "note": said["note"],
            "versions": said["versions"]}


def _check_fills(settings: Settings, topic: str, sums: Mapping[str, float]) -> None:
    """The fills in Kafka must be those of the sums. Raises Unusable."""
    quantities = [abs(orjson.loads(m.value())["quantity"]) for m in messages(topic, settings)]
    wrong = figures.differences({"fills": len(quantities), "volume": sum(quantities)}, sums, ("fills", "volume"))
    if wrong:
        raise Unusable(f"its fills in Kafka are others: {'; '.join(wrong)}")


def _check_rows(settings: Settings, topic: str, count: int, sums: Mapping[str, float]) -> None:
    """The rows in Kafka must be as many as the ticks, and have the sums. Raises Unusable."""
    rows = np.array([(row["pnl"], row["s"], row["cvar"]) for row in map(
        orjson.loads, (m.value() for m in messages(topic, settings)))])
    found = dict(zip(("eq", "sig", "cv"), rows.sum(axis=0).tolist(), strict=True)) if len(rows) else {"eq": 0.0}
    wrong = figures.differences(found, sums, ("eq",))
    if wrong or len(rows) != count:
        raise Unusable(f"its rows in Kafka are others: {'; '.join(wrong) or len(rows)}")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["it said nothing"])[-1][:300]
