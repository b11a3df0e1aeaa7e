"""Start, stop and look at the local stack."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmaflow.cli.common import AsJson, JsonLines, command, group, log_names

PANEL = "The stack"
app = group()


@command(app, PANEL, "sigmaflow start", "sigmaflow start --no-market", "sigmaflow start --no-show --json")
def start(
    show: Annotated[bool, typer.Option(help="Show the live view at the end.")] = True,
    market: Annotated[bool, typer.Option(help="Start the market simulator.")] = True,
    as_json: AsJson = False,
) -> None:
    """Start the stack, the chain and a market; on a second run only what is missing.

    The chain goes on from where it stopped: its last savepoint, or after a crash its newest checkpoint.
    """
    from sigmaflow import start as module
    from sigmaflow.output import aside, print_json

    with aside(as_json):
        started = module.run(show=show and not as_json, market=market)
    if as_json:
        print_json(started)


@command(app, PANEL, "sigmaflow up")
def up() -> None:
    """Start only the servers: no topics, no chain, no market."""
    from sigmaflow import stack

    stack.up()


@command(app, PANEL, "sigmaflow stop")
def stop() -> None:
    """Stop everything; data stays, and the next start goes on from the savepoint this takes."""
    from sigmaflow import stack

    stack.stop()


@command(app, PANEL, "sigmaflow restart")
def restart() -> None:
    """Stop, then start from where it stopped."""
    from sigmaflow import stack
    from sigmaflow import start as module

    stack.stop()
    module.run()


@command(app, PANEL, "sigmaflow status", "sigmaflow status --json")
def status(as_json: AsJson = False) -> None:
    """Servers, programs, jobs, checkpoints, memory; exits 3 when the stack does not run."""
    from sigmaflow import stack
    from sigmaflow.output import show

    show(as_json, stack.status, stack.print_status)


@command(app, PANEL, "sigmaflow alerts", "sigmaflow alerts --json")
def alerts(as_json: AsJson = False) -> None:
    """What fires now, worst first, with the page of deploy/runbooks that says what to do; exits 1 when one fires.

    Severity page: look now; ticket: today. State pending: it has not held long enough to fire yet. Prometheus judges
    the rules of docker/prometheus/rules; without it nothing is judged, and this exits 3. Who is told besides is in
    docs/operate.md.
    """
    from sigmaflow import alerts as module
    from sigmaflow.output import show

    answer = show(as_json, module.run, module.draw)
    raise typer.Exit(1 if answer["firing"] else 0)


@command(app, PANEL, "sigmaflow web --port 8090")
def web(
    account: Annotated[str, typer.Option(help="Account that is shown.")] = "paper",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="web.port of the settings when left out.")] = None,
) -> None:
    """Serve the live web page until interrupted; the running stack does so already (see sigmaflow status).

    It is read only and asks for no password, so it listens on this machine alone unless web.host says otherwise. The
    same figures are JSON beneath /api, which lists them.
    """
    from sigmaflow.web import command as module

    module.run(account, port)


@command(app, PANEL, "sigmaflow doctor", "sigmaflow doctor --running", "sigmaflow doctor --json")
def doctor(
    running: Annotated[bool, typer.Option("--running", help="The stack must run: a silent server is bad.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine and the stack, with a remedy for whatever is not ok; exits 1 when something is bad.

    Java, the Python of the workers and its packages, jars and their checksums, ports, disk, memory, every server,
    clocks, topics, schemas in the repository against those in the registry, jobs and their checkpoints. Nothing is
    changed. It works with the stack down: servers are then "not running", which is a warning.
    """
    from sigmaflow import doctor as module
    from sigmaflow.output import show

    answer = show(as_json, lambda: module.examine(running), module.draw)
    raise typer.Exit(1 if answer["verdict"] == "bad" else 0)


@command(app, PANEL, "sigmaflow logs", "sigmaflow logs taskmanager-1 --lines 200 --no-follow",
         "sigmaflow logs --no-follow --json")
def logs(
    program: Annotated[str, typer.Argument(help="One program; all when left out.", autocompletion=log_names)] = "",
    lines: Annotated[int, typer.Option(min=0, help="How many lines back.")] = 40,
    follow: Annotated[bool, typer.Option(help="Go on as lines are written.")] = True,
    as_json: JsonLines = False,
) -> None:
    """Follow the logs."""
    from sigmaflow import stack

    stack.logs(program, lines, follow, as_json)


@command(app, PANEL, "sigmaflow clean")
def clean() -> None:
    """Stop the stack and remove its data, without asking; packages and jars stay."""
    from sigmaflow import stack

    stack.clean()


@command(app, PANEL, "sigmaflow settings", "SIGMAFLOW_PORT_OFFSET=1000 sigmaflow settings --json")
def settings(as_json: AsJson = False) -> None:
    """Print the settings in force; secrets are masked."""
    from sigmaflow.output import print_table, show
    from sigmaflow.settings import load, rows

    show(as_json, lambda: load().model_dump(mode="json"), lambda answer: print_table(rows(answer)))


@app.command(hidden=True)
def get_jars() -> None:
    """Fetch the Java parts that are missing (make setup does)."""
    from sigmaflow import stack
    from sigmaflow.settings import load

    stack.get_jars(load())
