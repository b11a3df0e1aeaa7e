"""`make smoke-test`: every layer does its real work once, one verdict line each; non-zero where one is broken.

A layer that needs a broken one is skipped and says so; all others are checked. Servers that do not run are brought up.
What was stopped on purpose, while the rest of the stack runs, is reported broken and not healed.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sigmaflow import probes, smoke_chain, smoke_servers, stack, supervise
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings, load
from sigmaflow.smoke_chain import Bench

REPORT = Path("build/smoke.html")
COLOURS = {"ok": "green", "BROKEN": "bold red", "skipped": "yellow"}


@dataclass(frozen=True)
class Layer:
    """One layer: `check` does its work and says what it saw; any exception is a broken layer."""

    name: str
    check: Callable[[Bench], str]
    remedy: str
    needs: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    """Programs of the supervisor that must run."""


@dataclass
class Verdicts:
    """Verdict of each layer so far: ok, BROKEN or skipped."""

    found: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    """What was seen in each layer, or what is wrong and how to cure it."""

    @property
    def broken(self) -> list[str]:
        """Layers that are not ok."""
        return [name for name, verdict in self.found.items() if verdict != "ok"]

    def record(self) -> dict[str, Any]:
        """The same for programs."""
        return {"verdict": "bad" if self.broken else "ok",
                "layers": [{"layer": name, "verdict": verdict, "found": self.details[name]}
                           for name, verdict in self.found.items()]}

    def blocked_by(self, layer: Layer) -> list[str]:
        """Layers that this one needs and that are not ok."""
        return [name for name in layer.needs if self.found.get(name) != "ok"]


def layers(settings: Settings) -> list[Layer]:
    """All layers in the order of their needs."""
    servers, chain = smoke_servers, smoke_chain
    managers = tuple(f"taskmanager-{i}" for i in range(1, settings.flink.taskmanagers + 1))
    made = [
        Layer("Prerequisites", servers.prerequisites, "run make start, which installs what is missing"),
        Layer("Kafka", servers.kafka, "run make start; its log: make logs PROGRAM=kafka", programs=("kafka",)),
        Layer("Registry", servers.registry, "run make start; its log: make logs PROGRAM=registry",
              programs=("registry",)),
        Layer("Topics", servers.topics, "run make setup-topics", ("Kafka", "Registry")),
        Layer("Redis", servers.redis, "run make start; its log: make logs PROGRAM=redis", programs=("redis",)),
        Layer("QuestDB", servers.questdb, "run make start; its log: make logs PROGRAM=questdb", programs=("questdb",)),
        Layer("Metrics", servers.metrics, "run make start; its log: make logs PROGRAM=results", ("Topics",),
              ("results",)),
        Layer("Page", servers.page, "run make start; its log: make logs PROGRAM=web", ("Metrics",), ("web",)),
        Layer("Flink", chain.flink, "run make start; its log: make logs PROGRAM=taskmanager-1", ("Topics",),
              ("jobmanager", *managers)),
        Layer("Chain", chain.chain, "look at the job in the Flink web UI, or make logs PROGRAM=taskmanager-1",
              ("Flink",)),
        Layer("Report", chain.report, "run make report to see the whole error", ("Chain",)),
    ]
    if settings.prometheus.executable:
        at = next(i for i, layer in enumerate(made) if layer.name == "Metrics") + 1
        made.insert(at, Layer("Prometheus", servers.prometheus, "run make start; its log: "
                              "make logs PROGRAM=prometheus", ("Metrics",),
                              ("prometheus",)))
    return made


def run(settings: Settings | None = None) -> int:
    """Check every layer and print a line for each; 0 when all are ok, else 1."""
    return 1 if check(settings).broken else 0


def check(settings: Settings | None = None) -> Verdicts:
    """The same; gives the verdicts."""
    s = settings or load()
    began = time.monotonic()
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    bring_up(s, console)
    verdicts = Verdicts()
    with ExitStack() as cleanup:
        bench = Bench(s, REPORT, cleanup)
        for layer in layers(s):
            _judge(layer, bench, verdicts, console)
    took = time.monotonic() - began
    if verdicts.broken:
        console.print(f"[bold red]Not ok[/]: {', '.join(verdicts.broken)} ({took:.0f} s)")
    else:
        console.print(f"[green]All {len(verdicts.found)} layers work[/] ({took:.0f} s); tear sheet: {REPORT}")
    return verdicts


def bring_up(settings: Settings, console: Console) -> None:
    """Start the stack where it is down; where it is up, whoever stopped a part of it had a reason."""
    up = supervise.is_running(settings)
    if up or all(probes.answers(probe, settings) for probe, _ in probes.servers(settings).values()):
        return
    try:
        stack.up(settings)
    except UserError as error:
        console.print(f"[yellow]{escape(str(error))}[/]")
    console.print("The stack was down, so it was started; make stop ends it.")


def _judge(layer: Layer, bench: Bench, verdicts: Verdicts, console: Console) -> None:
    """Check one layer and print its line."""
    began = time.monotonic()
    blocked = verdicts.blocked_by(layer)
    if blocked:
        verdict, detail = "skipped", f"because {' and '.join(blocked)} {'is' if len(blocked) == 1 else 'are'} not ok"
    else:
        with console.status(f"{layer.name} …"):
            verdict, detail = _ask(layer, bench)
    verdicts.found[layer.name], verdicts.details[layer.name] = verdict, detail
    took = f" ({time.monotonic() - began:.1f} s)" if verdict != "skipped" else ""
    console.print(f"[{COLOURS[verdict]}]{verdict:<8}[/]{layer.name:<14} {escape(detail)}{took}")


def _ask(layer: Layer, bench: Bench) -> tuple[str, str]:
    """(verdict, what was seen or what is wrong and how to cure it)."""
    try:
        _must_run(layer, bench.settings)
        with redirect_stdout(io.StringIO()):
            return "ok", layer.check(bench)
    except UserError as error:
        return "BROKEN", str(error)
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        return "BROKEN", f"{type(error).__name__}: {said}; {layer.remedy}."


def _must_run(layer: Layer, settings: Settings) -> None:
    """Raise UserError for a program of the layer that was stopped or keeps dying; one that never ran is started."""
    if not supervise.is_running(settings):
        return
    states = supervise.states(settings)
    for name in layer.programs:
        if name not in states:
            raise UserError(layer.name, f"program {name} must be part of the stack", "it is not", "run make restart")
        state = states[name]["statename"]
        if state == "STOPPED" and not states[name]["start"]:
            supervise.start_program(settings, name)
        elif state not in ("RUNNING", "STARTING"):
            raise UserError(layer.name, f"program {name} must run", f"it is {state}", layer.remedy)
