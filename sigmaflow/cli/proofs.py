"""Commands that prove something: each ends with one line of JSON and exits 1 when it found something wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigmaflow.cli.common import AsJson, command, group

PANEL = "Proofs"
app = group()

Ticks = Annotated[int, typer.Option(min=1, help="Length of the log.")]


@command(app, PANEL, "sigmaflow smoke-test", "sigmaflow smoke-test --json")
def smoke_test(as_json: AsJson = False) -> None:
    """Check every layer with real work, one verdict line each; starts the stack where it is down."""
    from sigmaflow import smoke
    from sigmaflow.output import aside, print_json

    with aside(as_json):
        verdicts = smoke.check()
    if as_json:
        print_json(verdicts.record())
    raise typer.Exit(1 if verdicts.broken else 0)


@command(app, PANEL, "sigmaflow audit", "sigmaflow audit --namespace replay-19c1f --complete", "sigmaflow audit --json")
def audit(
    namespace: Annotated[str, typer.Option(help="Topics of a run apart; the market's when left out.")] = "",
    complete: Annotated[bool, typer.Option(help="No job is behind: what has no decision is lost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every record in Kafka against the others, with no code of the chain: nothing lost, doubled, different."""
    from sigmaflow.audit import command as module
    from sigmaflow.output import last_line

    with last_line(as_json):
        found = module.run(namespace, complete).found
    raise typer.Exit(1 if found else 0)


@command(app, PANEL, "sigmaflow replay-identity", "sigmaflow replay-identity --ticks 50000 --json")
def replay_identity(
    ticks: Ticks = 20_000,
    seed: Annotated[int, typer.Option(help="Of the simulated market.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Compute one log in many ways on the cluster, and compare every byte."""
    from sigmaflow import trials
    from sigmaflow.output import last_line

    with last_line(as_json):
        same = trials.identity(ticks, seed)
    raise typer.Exit(0 if same else 1)


@command(app, PANEL, "sigmaflow poison --seed 8", "sigmaflow poison --jobs six --json")
def poison(
    ticks: Ticks = 20_000,
    seed: Annotated[int, typer.Option(help="Decides the market and the bad records.")] = 7,
    jobs: Annotated[str, typer.Option(help="one: pipeline; six: each job alone.")] = "one",
    as_json: AsJson = False,
) -> None:
    """Replace one tick in a hundred by something bad: all end as dead letters, nothing else changes."""
    from sigmaflow import poison as module
    from sigmaflow.output import last_line

    with last_line(as_json):
        survived = module.run(ticks, seed, jobs)
    raise typer.Exit(0 if survived else 1)


@command(app, PANEL, "sigmaflow chaos --only broker-kill --rounds 20", "sigmaflow chaos --seed 2 --json")
def chaos(
    seed: Annotated[int, typer.Option(help="Decides the market and the moment of each fault.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Times that every fault happens.")] = 1,
    only: Annotated[str, typer.Option(help="Names of faults, with commas; all when left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """Kill, freeze and take away every part while a market runs; nothing may be lost or doubled."""
    from sigmaflow import chaos as module
    from sigmaflow.output import last_line

    with last_line(as_json):
        survived = module.chaos(seed, rounds, only)
    raise typer.Exit(0 if survived else 1)


@command(app, PANEL, "sigmaflow bench --quick", "sigmaflow bench --only throughput,peers",
         "sigmaflow bench --only growth --minutes 60 --json")
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="At most five minutes.")] = False,
    only: Annotated[str, typer.Option(help="Of throughput, peers, latency and growth, with commas; all when left out.")
                    ] = "",
    minutes: Annotated[float | None, typer.Option(min=0, help="Length of the run over time; 0 leaves it out.")] = None,
    file: Annotated[Path | None, typer.Option(help="Other ticks as bench/gen_ticks.py writes them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure throughput, latency, peers and growth on a local cluster; exits 1 when a figure to reach is missed."""
    from sigmaflow.bench import command as module
    from sigmaflow.bench.figures import reached
    from sigmaflow.output import aside, print_json

    with aside(as_json):
        results = module.run(quick, only, minutes, file)
    if as_json:
        print_json(results)
    raise typer.Exit(0 if reached(results) else 1)
