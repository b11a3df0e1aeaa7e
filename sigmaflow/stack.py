"""The local stack's life: start, stop, status, restart, logs, clean.

Kafka, registry, ZooKeeper, Flink, QuestDB, Redis and Prometheus start side by side under one supervisor; each is waited
for by a probe that asks it something, not by a sleep.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sigmaflow import jars, probes, programs, supervise
from sigmaflow.errors import Failed, NotRunning, UserError
from sigmaflow.output import Record, console, print_table, size
from sigmaflow.settings import Settings, load

# Expected seconds until a server answers, measured on two busy cores: only shapes the progress bars.
USUAL_S = {"Kafka": 8, "Schema registry": 14, "ZooKeeper": 3, "Flink": 16, "QuestDB": 5, "Redis": 1, "Prometheus": 1}
TIMEOUT_S = 180
LOG_HEADER = re.compile(r"==> .*/(.+)\.log <==")
"""What `tail` puts before the lines of another file."""
EDGES = ("simulate", "results", "web")
"""Programs around the chain, started after it and stopped before it."""


@contextmanager
def bars() -> Iterator[Progress]:
    """Progress bars; on a pipe only their last state is printed."""
    columns = (SpinnerColumn(), TextColumn("{task.description:<22}"), BarColumn(30),
               TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console()) as progress:
        yield progress


def check_ports(settings: Settings) -> None:
    """Raise UserError for the first port that another program holds, naming its setting."""
    for key, port in settings.ports().items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.kafka.host, port))
            except OSError as error:
                raise UserError(
                    "start",
                    f"port {port} ({key}) must be free",
                    f"another program holds it ({error.strerror.lower() if error.strerror else error})",
                    f"stop that program, change {key.split(' ')[0]} in docker/stack.toml or set SIGMAFLOW_PORT_OFFSET",
                ) from None


def get_jars(settings: Settings) -> None:
    """Fetch missing jars with a progress bar."""
    wanted = jars.missing(settings)
    if not wanted:
        jars.registry_home(settings)
        return
    with bars() as progress:
        total = sum(jar.size for jar in wanted)
        task = progress.add_task("Java parts", total=total, note=f"{len(wanted)} files, {total / 1e6:.0f} MB")
        lock = threading.Lock()

        def advance(size: int, name: str) -> None:
            with lock:
                progress.update(task, advance=size, note=name)

        jars.ensure(settings, advance)
        progress.update(task, note=f"{len(wanted)} files, {total / 1e6:.0f} MB")


def up(settings: Settings | None = None) -> bool:
    """Bring the servers up and wait until each answers; False when they already ran."""
    s = settings or load()
    if supervise.is_running(s):
        _revive(s)
        _wait(s)
        return False
    get_jars(s)
    supervise.sweep(s)  # left over by a supervisor that was killed
    check_ports(s)
    shutil.rmtree(s.data_dir / "tmp", ignore_errors=True)
    config = supervise.write_config(s, programs.write_files(s))
    supervise.launch(s, config)
    _wait(s)
    return True


def _revive(settings: Settings) -> None:
    """Start again what supervisord gave up or a user stopped."""
    states = supervise.states(settings)
    for _, names in servers(settings).values():
        for name in names:
            if states[name]["statename"] in ("STOPPED", "EXITED", "FATAL"):
                supervise.start_program(settings, name)


def servers(settings: Settings) -> dict[str, tuple[Callable[[Settings], bool], list[str]]]:
    """Servers of the running stack: what was installed since it started is not among them."""
    known = supervise.states(settings)
    return {label: part for label, part in probes.servers(settings).items() if set(part[1]) <= set(known)}


def _wait(settings: Settings) -> None:
    """Wait for every server at once, one bar each."""
    with bars() as progress:
        threads, failed = [], list[UserError]()
        give_up = threading.Event()

        def watch(label: str, probe: Callable[[Settings], bool], names: list[str]) -> None:
            task = progress.add_task(label, total=1.0, note="starting")
            try:
                _wait_one(settings, label, probe, names, lambda share: progress.update(task, completed=share), give_up)
                progress.update(task, completed=1.0, note="ready")
            except UserError as error:
                failed.append(error)
                give_up.set()
                progress.update(task, note="failed")

        for label, (probe, names) in servers(settings).items():
            # Daemons: Ctrl-C must not wait for them.
            threads.append(threading.Thread(target=watch, args=(label, probe, names), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]


def _wait_one(settings: Settings, label: str, probe: Callable[[Settings], bool], names: list[str],
              show: Callable[[float], None], give_up: threading.Event) -> None:
    """Poll until the server answers, or another one failed.

    Raises UserError with the log's last words when a program keeps exiting or time is up.
    """
    began = time.monotonic()
    while not probes.answers(probe, settings) and not give_up.is_set():
        waited = time.monotonic() - began
        show(min(0.95, waited / (USUAL_S[label] * 1.5)))
        states = supervise.states(settings)
        dead = [name for name in names if states[name]["statename"] == "FATAL"]
        if dead or waited > TIMEOUT_S:
            name = (dead or names)[0]
            found = "it keeps exiting" if dead else f"it did not within {TIMEOUT_S} s"
            log = settings.log_dir / f"{name}.log"
            raise Failed("start", f"{label} must answer", f"{found} ({_last_words(log)})", f"read {log}")
        time.sleep(0.25)


def _last_words(log: Path) -> str:
    """Last line of a log that says something about an error, else its last line."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines()[-200:] if line.strip()]
    except FileNotFoundError:
        return "no log"
    telling = [line for line in lines if "rror" in line or "xception" in line]
    return (telling or lines or ["empty log"])[-1].strip()[:200]


def down(settings: Settings | None = None) -> int:
    """Cancel the jobs, stop every program, end what is left; returns how many were left over."""
    from sigmaflow import start, submit

    s = settings or load()
    if supervise.is_running(s):
        # The edges first: no use in writing to a broker that goes.
        for name in EDGES:
            supervise.stop_program(s, name)
        start.stop_chain(s)
        # Jobs before servers: Python workers can outlive a TaskManager that is told to go (shared/STACK.md).
        submit.cancel_all(s)
        supervise.shut_down(s)
    left = supervise.sweep(s)
    supervise.socket_path(s).unlink(missing_ok=True)
    return left


def stop() -> None:
    """Stop the stack; data stays."""
    s = load()
    ran = supervise.is_running(s) or bool(supervise.processes(s))
    with console().status("stopping: jobs, market, servers"):
        down(s)
    left = len(supervise.processes(s))
    if left:
        raise Failed("stop", "no process may be left", f"{left} are", "run make stop again")
    console().print("Stopped; nothing is left running. Data stays in "
                    f"{s.data_dir}; make start goes on from there." if ran else "Nothing was running.")


def status() -> dict[str, Any]:
    """Each server, program and job with its state. Raises NotRunning where the stack does not run."""
    s = load()
    if not supervise.is_running(s):
        raise NotRunning("status", "the stack must run", "it does not", "run make start")
    states = supervise.states(s)
    parts = [_part(label, states, names, probes.answers(probe, s)) for label, (probe, names) in servers(s).items()]
    parts += [_part(name, states, [name], _edge_answers(name, states, s)) for name in EDGES if name in states]
    memory = sum(part["memory_bytes"] for part in parts)
    return {"page": s.web.url, "parts": parts, "memory_bytes": memory, "jobs": _jobs(s)}


def _edge_answers(name: str, states: Mapping[str, Mapping[str, Any]], settings: Settings) -> bool | None:
    """Whether the web page answers where it runs; nothing is asked of the other edges."""
    if name != "web" or states[name]["statename"] != "RUNNING":
        return None
    return probes.answers(probes.web, settings)


def _part(name: str, states: Mapping[str, Mapping[str, Any]], programs: list[str],
          answers: bool | None) -> dict[str, Any]:
    """One server or edge; `answers` is None where nothing is asked of it."""
    return {"name": name, "answers": answers,
            "programs": {program: states[program]["statename"].lower() for program in programs},
            "memory_bytes": sum(_memory(states[program]["pid"]) for program in programs)}


def _jobs(settings: Settings) -> list[dict[str, Any]]:
    """The living jobs; none where Flink does not answer, which its part says."""
    from sigmaflow import submit

    try:
        found = submit.jobs(settings)
    except UserError:
        return []
    return [{"id": job.id, "name": job.name, "state": job.state, "checkpoints": submit.checkpoints(job.id, settings)}
            for job in found]


def print_status(answer: Record) -> None:
    """Print what `status` found."""
    says = {None: "", True: "[green]yes[/]", False: "[red]no[/]"}
    print_table([{"server": part["name"], "answers": says[part["answers"]],
                  "processes": ", ".join(f"{name} {state}" for name, state in part["programs"].items()),
                  "memory": size(part["memory_bytes"]) if part["memory_bytes"] else ""} for part in answer["parts"]],
                cell=lambda _, value: str(value))
    console().print(f"web page {answer['page']}")
    console().print(f"memory in all {size(answer['memory_bytes'])}")
    for job in answer["jobs"]:
        console().print(f"job {job['name']} {job['state']} {job['id']}, {job['checkpoints']} checkpoints completed")


def _memory(pid: int) -> int:
    """Resident bytes of a process and its children; 0 when there is none."""
    import psutil

    if not pid:
        return 0
    try:
        process = psutil.Process(pid)
        return int(sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]))
    except psutil.NoSuchProcess:
        return 0


def memory_bytes(settings: Settings) -> int:
    """Resident bytes of the whole stack."""
    return sum(_memory_of(process) for process in supervise.processes(settings))


def _memory_of(process: object) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)  # type: ignore[attr-defined]
    except psutil.NoSuchProcess:
        return 0


def logs(program: str = "", lines: int = 40, follow: bool = True, as_json: bool = False) -> None:
    """Follow the logs of one program, or of all; `as_json`: an object a line."""
    s = load()
    found = sorted(s.log_dir.glob(f"{program or '*'}.log"))
    if not found:
        known = ", ".join(sorted(file.stem for file in s.log_dir.glob("*.log"))) or "none yet: run make start"
        raise UserError("logs", f"there must be a log of {program or 'some program'}", "there is none",
                        f"choose one of: {known}")
    arguments = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, found)]
    sys.stdout.flush()
    if not as_json:
        subprocess.run(arguments, check=False)
        return
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, errors="replace") as tail:
        for record in labelled(tail.stdout or (), found[0].stem):
            print(json.dumps(record), flush=True)


def labelled(lines: Iterable[str], program: str) -> Iterator[dict[str, str]]:
    """Lines as `tail` gives those of several logs, each with its program; empty ones are left out.

    >>> list(labelled(["first\\n", "\\n", "==> /data/logs/kafka.log <==\\n", "second\\n"], "flink"))
    [{'program': 'flink', 'line': 'first'}, {'program': 'kafka', 'line': 'second'}]
    """
    for line in lines:
        if header := LOG_HEADER.fullmatch(line.rstrip("\n")):
            program = header[1]
        elif line.strip():
            yield {"program": program, "line": line.rstrip("\n")}


def clean() -> None:
    """Stop the stack and remove its data; the environment and the jar cache stay."""
    s = load()
    down(s)
    if s.data_dir in (Path("/"), Path.home(), s.root) or not _is_ours(s.data_dir):
        raise UserError("clean", f"{s.data_dir} must be a data directory of Sigmaflow", "it does not look like one",
                        "set SIGMAFLOW_DATA_DIR to the right folder")
    shutil.rmtree(s.data_dir, ignore_errors=True)
    console().print(f"Removed {s.data_dir}.")


def _is_ours(folder: Path) -> bool:
    return not folder.exists() or not os.listdir(folder) or (folder / "supervisor").exists()
