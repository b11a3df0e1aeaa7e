"""Processor time of the stack by program and kind of thread, sampled from /proc while a run goes on.

In thread mode Python runs on the JVM's task threads, so an operator's thread is where Python is; all others are JVM.
"""
from __future__ import annotations

import bisect
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sigmaflow import supervise
from sigmaflow.settings import Settings

EVERY_S = 1.0
"""A sample reads some 500 files: 15 ms."""
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PYTHON = ("admit", "order, ", "sizing", "fills", "features", "alphas", "ensemble", "risk")
"""First letters of the names of operators that run Python (jobs/chain/topology.py)."""
KINDS = (("C1 Comp", "compiler"), ("C2 Comp", "compiler"), ("GC Thread", "collector"), ("G1 ", "collector"),
         ("VM Thread", "collector"), ("Source Data Fet", "Kafka consumer"), ("kafka-producer", "Kafka producer"),
         ("kafka-coordina", "Kafka consumer"), ("data-plane-kafk", "Kafka requests"), ("Source", "source"),
         ("OutputFlusher", "output flushers"), ("Time Trigger", "timers"), ("AsyncOperations", "checkpoints"),
         ("flink-", "Flink runtime"), ("pekko", "Flink runtime"), ("Flink Netty", "network"))
"""Kinds of JVM threads by the first letters of their names, of which Linux keeps fifteen."""

Times = dict[tuple[str, str], float]
"""Processor seconds since the start of the process, by program and kind of thread."""


def kind(program: str, thread: str) -> str:
    """What a thread does, by its name.

    >>> kind("taskmanager-1", "admit, features"), kind("kafka", "data-plane-kafka")
    ('Python operator: admit, features', 'Kafka requests')
    >>> kind("taskmanager-1", "Correlate[12] ->")
    'Correlate[12] ->'
    """
    if program.startswith("taskmanager") and thread.startswith(PYTHON):
        return f"Python operator: {thread}"
    return next((name for start, name in KINDS if thread.startswith(start)), thread)


class Processes:
    """Which program each process of the stack belongs to; a child belongs to its parent's."""

    def __init__(self, roots: Mapping[int, str]) -> None:
        self._program: dict[int, str | None] = dict(roots)

    def found(self) -> dict[int, str]:
        """Living processes that belong to a program."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        named = {pid: self._of(pid) for pid in sorted(pids)}
        return {pid: program for pid, program in named.items() if program}

    def _of(self, pid: int) -> str | None:
        if pid not in self._program:
            self._program[pid] = None  # also ends the search in a loop of reused numbers
            parent = _parent(pid)
            self._program[pid] = self._of(parent) if parent > 1 else None
        return self._program[pid]


def _parent(pid: int) -> int:
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return int(fields[2]) if fields else 0


def _stat(file: Path) -> list[str]:
    """Name, then the fields that follow it; empty where the process or thread is gone."""
    try:
        text = file.read_text()
    except OSError:
        return []
    start, end = text.index("("), text.rindex(")")
    return [text[start + 1:end], *text[end + 2:].split()]


def _seconds(fields: list[str]) -> float:
    """User and system time of a stat line."""
    return (int(fields[12]) + int(fields[13])) * TICK_S


def times(found: Mapping[int, str]) -> Times:
    """Processor time of these processes. What threads that have ended used is in the kind "ended"."""
    out: Times = {}
    for pid, program in found.items():
        whole = _stat(Path(f"/proc/{pid}/stat"))
        if not whole:
            continue
        left = _seconds(whole)
        for folder in _threads(pid):
            fields = _stat(folder / "stat")
            if fields:
                key = program, kind(program, fields[0])
                out[key] = out.get(key, 0.0) + _seconds(fields)
                left -= _seconds(fields)
        out[program, "ended"] = out.get((program, "ended"), 0.0) + max(0.0, left)
    return out


def _threads(pid: int) -> Iterable[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def resident(found: Mapping[int, str]) -> dict[str, int]:
    """Resident bytes by program."""
    out: dict[str, int] = {}
    for pid, program in found.items():
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
        out[program] = out.get(program, 0) + pages * os.sysconf("SC_PAGE_SIZE")
    return out


def stack_processes(settings: Settings) -> Processes:
    """The stack's programs, as the supervisor knows them."""
    states = supervise.states(settings)
    return Processes({int(state["pid"]): name for name, state in states.items() if state["pid"]})


@dataclass
class Sampler:
    """Samples a set of processes each second in a thread, for as long as the `with` lasts."""

    processes: Processes
    at: list[float] = field(default_factory=list)
    held: list[Times] = field(default_factory=list)

    def __enter__(self) -> Sampler:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            ended = self._ended.is_set()
            self.held.append(times(self.processes.found()))
            self.at.append(time.time())
            if ended:
                return
            self._ended.wait(EVERY_S)

    def between(self, start_s: float, end_s: float) -> Times:
        """Processor seconds used between two moments (of `time.time`), linear within a sample's interval."""
        first, last = self._at(start_s), self._at(end_s)
        return {key: value - first.get(key, 0.0) for key, value in last.items() if value > first.get(key, 0.0)}

    def _at(self, moment: float) -> Times:
        right = min(max(1, bisect.bisect_left(self.at, moment)), len(self.at) - 1)
        before, after = self.held[right - 1], self.held[right]
        share = (moment - self.at[right - 1]) / (self.at[right] - self.at[right - 1])
        share = min(1.0, max(0.0, share))
        return {key: before.get(key, 0.0) + share * (value - before.get(key, 0.0)) for key, value in after.items()}


def grouped(used: Times, by: Callable[[str, str], str]) -> dict[str, float]:
    """Seconds summed by a name made of program and kind.

    >>> grouped({("kafka", "a"): 1.0, ("kafka", "b"): 2.0}, lambda program, kind: program)
    {'kafka': 3.0}
    """
    out: dict[str, float] = {}
    for (program, kind_), seconds in used.items():
        name = by(program, kind_)
        out[name] = out.get(name, 0.0) + seconds
    return out


def by_program(program: str, kind_: str) -> str:
    """All TaskManagers are one."""
    return "taskmanagers" if program.startswith("taskmanager") else program


def by_language(program: str, kind_: str) -> str:
    """The stack's own Python, the JVMs that run the jobs, and the servers."""
    if kind_.startswith("Python operator"):
        return "python"
    return {"taskmanagers": "jvm"}.get(by_program(program, kind_), "servers")


def by_thread(program: str, kind_: str) -> str:
    """Program and kind of thread."""
    return f"{by_program(program, kind_)}: {kind_}"
