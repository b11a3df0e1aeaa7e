"""Sigmaflow: paper trading you can prove.

Each command lives in the module it imports; imports are inside the functions so that --help is fast.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from sigmaflow.errors import UserError

MARKET = "market"
"""Name of the run that has no namespace: the live one."""
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: ticks that were refused, whole, with the reason.")
app.add_typer(dlq, name="dlq")
model = typer.Typer(no_args_is_help=True, help="Trained models of the ensemble.")
app.add_typer(model, name="model")
NEGATIVE = {"ignore_unknown_options": True}
"""Ids may be negative numbers, which look like options."""
From = Annotated[str, typer.Option("--from", help=f"A run's namespace, or {MARKET}.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")]
Reason = Annotated[str, typer.Option(help="Only this reason, for example crossed.")]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command()
def start(
    show: Annotated[bool, typer.Option(help="Show the live view at the end.")] = True,
    market: Annotated[bool, typer.Option(help="Start the market simulator.")] = True,
) -> None:
    """Start the stack, the chain and a market."""
    from sigmaflow import start as module

    module.run(show=show, market=market)


@app.command()
def up() -> None:
    """Start only the servers: no topics, no chain, no market."""
    from sigmaflow import stack

    stack.up()


@app.command()
def stop() -> None:
    """Stop everything; data stays."""
    from sigmaflow import stack

    stack.stop()


@app.command()
def restart() -> None:
    """Stop, then start from where it stopped."""
    from sigmaflow import stack
    from sigmaflow import start as module

    stack.stop()
    module.run()


@app.command()
def status() -> None:
    """Servers, jobs, checkpoints, memory."""
    from sigmaflow import stack

    stack.status()


@app.command()
def logs(
    program: Annotated[str, typer.Argument(help="One program; all when left out.")] = "",
    lines: Annotated[int, typer.Option(help="How many lines back.")] = 40,
    follow: Annotated[bool, typer.Option(help="Go on as lines are written.")] = True,
) -> None:
    """Follow the logs."""
    from sigmaflow import stack

    stack.logs(program, lines, follow)


@app.command()
def clean() -> None:
    """Stop the stack and remove its data."""
    from sigmaflow import stack

    stack.clean()


@app.command()
def setup_topics() -> None:
    """Create the topics and register the schemas."""
    from connectors import topics

    topics.main()


@app.command(context_settings=PASS_ON)
def monitor_topics(context: typer.Context) -> None:
    """Decoded messages of a topic as they flow: monitor-topics TOPIC [OPTIONS]."""
    raise typer.Exit(subprocess.call([sys.executable, "-m", "connectors.monitor", *context.args]))


@app.command()
def dashboard(seconds: Annotated[float, typer.Option(help="End after this many seconds; 0 is never.")] = 0) -> None:
    """The live view: ticks/s, lag, signals, orders, fills, equity, drawdown."""
    from sigmaflow import dashboard as module

    module.run(seconds=seconds)


@app.command()
def metrics() -> None:
    """Print the chain's own metrics as they stand."""
    from sigmaflow import metrics_view

    metrics_view.run()


@app.command()
def smoke_test() -> None:
    """Check every layer; exits 1 when one is broken."""
    from sigmaflow import smoke

    raise typer.Exit(smoke.run())


@app.command()
def reference(
    file: Annotated[str, typer.Argument(help="Ticks as Parquet, as bench/gen_ticks.py writes them.")],
    rows: Annotated[int, typer.Option(help="Send only the first rows; 0 is all.")] = 0,
    jobs: Annotated[str, typer.Option(help="one: pipeline; six: each job alone.")] = "one",
    parallelism: Annotated[int, typer.Option(help="Slots a job uses.")] = 1,
) -> None:
    """Send a tick file through the chain under the reference profile."""
    if jobs not in ("one", "six"):
        raise UserError("reference", "JOBS must be one or six", f"it is {jobs!r}", "write JOBS=one or JOBS=six")
    if not Path(file).is_file():
        raise UserError("reference", "FILE must name a Parquet file of ticks", f"{file!r} is none",
                        "write FILE=path/to/ticks.parquet")
    from sigmaflow import reference as module

    module.run(file, rows, jobs, parallelism)


@app.command()
def replay(
    files: Annotated[list[str] | None, typer.Argument(help="Recorded files; merged in time.")] = None,
    speed: Annotated[float, typer.Option(help="Multiple of the recorded speed; 0 is as fast as it goes.")] = 0,
    recorded: Annotated[str | None, typer.Option("--from", help=f"A run's namespace, or {MARKET}.")] = None,
    verify: Annotated[bool, typer.Option(help="With --from: compare the run with its recomputation.")] = True,
    complete: Annotated[bool, typer.Option(help="With --from: all of its input must be done.")] = False,
) -> None:
    """Send recorded frames through the chain; or compute a run again from its log and compare every byte."""
    if recorded is not None:
        from sigmaflow import verify as verifier

        if not verify:
            raise UserError("replay", "--from needs --verify", "it was turned off", "leave --no-verify out")
        raise typer.Exit(0 if verifier.run(_namespace(recorded), complete=complete) else 1)
    absent = [file for file in files or [""] if not Path(file).is_file()]
    if absent:
        raise UserError("replay", "FILES must name recorded files", f"{absent[0]!r} is none", 'write FILES="a.gz b.gz"')
    from sigmaflow import replay as module

    module.run(files or [], speed)


@app.command()
def train(
    files: Annotated[list[str] | None, typer.Argument(help="Recorded files; merged in time.")] = None,
    recorded: Annotated[str | None, typer.Option("--from", help=f"A run's namespace, or {MARKET}.")] = None,
    seed: Annotated[int | None, typer.Option(help="Learn from the simulator, with this seed.")] = None,
    ticks: Annotated[int, typer.Option(help="Length of a simulation.")] = 400_000,
    profile: Annotated[str, typer.Option(help="Strategy profile whose signals it learns from.")] = "default",
    folds: Annotated[int, typer.Option(min=1, help="Test segments of the walk-forward.")] = 4,
) -> None:
    """Learn a model of the ensemble from a log, files or the simulator; prints its folds' metrics and its digest."""
    from sigmaflow import train as module

    module.run(None if recorded is None else _namespace(recorded), files or [], seed, ticks, profile, folds)


@model.command("list")
def model_list() -> None:
    """List the trained models by digest."""
    from sigmaflow import train as module

    module.run_list()


@model.command("use")
def model_use(
    digest: Annotated[str, typer.Argument(help="Digest, as `model list` prints it; none for the untrained blend.")],
    namespace: Annotated[str, typer.Option(help="A run's namespace; the market when left out.")] = "",
    account: Annotated[str, typer.Option(help="The account it is for.")] = "paper",
    profile: Annotated[str, typer.Option(help="Strategy profile of the chain.")] = "default",
) -> None:
    """Change the model of a running chain; it holds from a tick on that every replay knows."""
    from sigmaflow import commands

    commands.use_model(digest, namespace, account, profile)


@model.command("show")
def model_show(digest: Annotated[str, typer.Argument(help="Digest, as `model list` prints it.")]) -> None:
    """Check a model's files and print all that is known of it."""
    from sigmaflow import train as module

    module.run_show(digest)


@app.command()
def feed(
    venue: Annotated[str, typer.Argument(help="coinbase, binance, bybit or alpaca.")],
    symbols: Annotated[str, typer.Option(help="As the venue writes them, with commas; its own choice if none.")] = "",
    metrics_port: Annotated[int | None, typer.Option(help="Port of its metrics; 0 serves none.")] = None,
    address: Annotated[str, typer.Option(help="Another WebSocket address: wss://stream.binance.us:9443.")] = "",
    rest_address: Annotated[str, typer.Option(help="Another address of requests: https://api.binance.us.")] = "",
) -> None:
    """Write a live venue's ticks to market.ticks.v1 until it is stopped."""
    from connectors.venues import command

    command.run(venue, symbols, metrics_port, address, rest_address)


@app.command(context_settings=NEGATIVE)
def explain(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="Of a tick, decision, intent, order or fill.")],
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Print the whole path that an id is on, from the tick to the fill."""
    from sigmaflow import explain_view

    explain_view.explain(wanted, _namespace(recorded), as_json)


@app.command()
def why_not(
    symbol: Annotated[str, typer.Argument(help="BTCUSDT, or with its venue BINANCE:BTCUSDT.")],
    time: Annotated[str, typer.Argument(help="Event time: ISO 8601 (UTC without a zone), or ns since 1970.")],
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Print why no order was sent: the last decision on a symbol at or before a time, gate by gate."""
    from sigmaflow import explain_view

    explain_view.why_not(symbol, time, _namespace(recorded), as_json)


@app.command()
def state(
    at: Annotated[str, typer.Option(help="An input: market.ticks.v1:PARTITION:OFFSET.")],
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Print positions, cash, risk state and open orders as of a past input."""
    from sigmaflow import explain_view

    explain_view.state(at, _namespace(recorded), as_json)


@dlq.command("list")
def dlq_list(
    recorded: From = MARKET, reason: Reason = "", as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest to list.")] = 20,
) -> None:
    """Count dead letters by reason and list the newest, by the PARTITION:OFFSET of their input."""
    from sigmaflow import dead_letters

    dead_letters.run_list(_namespace(recorded), reason, limit, as_json)


@dlq.command("show")
def dlq_show(
    at: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="The input that was refused.")],
    recorded: From = MARKET, as_json: AsJson = False,
) -> None:
    """Print one dead letter: every field, its bytes, and the tick in them where it can be read."""
    from sigmaflow import dead_letters

    dead_letters.run_show(_namespace(recorded), at, as_json)


@dlq.command("replay")
def dlq_replay(
    recorded: From = MARKET, reason: Reason = "",
    at: Annotated[str, typer.Option(help="Only this input, PARTITION:OFFSET.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Also ticks sent again and refused once more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, only count.")] = False,
) -> None:
    """Send the ticks in dead letters to market.ticks.v1 again, each once, after a fix.

    Admission judges them anew, by its rules for all ticks, and a tick keeps
    its seq and event time. It is refused again as duplicate once its symbol
    has had that seq or a later one, and as time_behind once its partition is
    more than admission.max_behind_s (60 s) past it. So a replay helps ticks
    that a fix makes acceptable (a schema registered since, a newer job) and
    that the market has not passed by: a feed that was refused whole, or the
    last ticks of a symbol.

    A dead letter stays listed. What is sent carries the header replayed-from
    with the place of its input, and is not sent again.
    """
    from sigmaflow import dead_letters

    dead_letters.run_replay(_namespace(recorded), reason, at, again, dry_run)


def _namespace(run: str) -> str:
    return "" if run == MARKET else run


@app.command()
def replay_identity(
    ticks: Annotated[int, typer.Option(help="Length of the log.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the simulated market.")] = 7,
) -> None:
    """Compute one log in many ways on the cluster, and compare every byte."""
    from sigmaflow import trials

    raise typer.Exit(0 if trials.identity(ticks, seed) else 1)


@app.command()
def poison(
    ticks: Annotated[int, typer.Option(help="Length of the log.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Decides the market and the bad records.")] = 7,
    jobs: Annotated[str, typer.Option(help="one: pipeline; six: each job alone.")] = "one",
) -> None:
    """Replace one tick in a hundred by something bad: all end as dead letters, nothing else changes."""
    from sigmaflow import poison as module

    raise typer.Exit(0 if module.run(ticks, seed, jobs) else 1)


Why = Annotated[str, typer.Option(help="Why, for the log.")]
Namespace = Annotated[str, typer.Option(help="A run's namespace; the market when left out.")]
Account = Annotated[str, typer.Option(help="The account it is for.")]


@app.command()
def halt(reason: Why = "", namespace: Namespace = "", account: Account = "paper") -> None:
    """The kill switch: no order passes from the next tick on, until resume."""
    _command("halt", reason, namespace, account)


@app.command()
def reduce(reason: Why = "", namespace: Namespace = "", account: Account = "paper") -> None:
    """Only orders that reduce a position pass, until resume."""
    _command("reduce", reason, namespace, account)


@app.command()
def resume(reason: Why = "", namespace: Namespace = "", account: Account = "paper") -> None:
    """Trade again after halt, reduce or a breaker."""
    _command("resume", reason, namespace, account)


def _command(kind: str, reason: str, namespace: str, account: str) -> None:
    from sigmaflow import commands

    commands.run(kind, reason, namespace, account)


@app.command()
def chaos(
    seed: Annotated[int, typer.Option(help="Decides the market and the moment of each fault.")] = 1,
    rounds: Annotated[int, typer.Option(help="Times that every fault happens.")] = 1,
    only: Annotated[str, typer.Option(help="Names of faults, with commas; all when left out.")] = "",
) -> None:
    """Kill, freeze and take away every part while a market runs; nothing may be lost or doubled."""
    from sigmaflow import chaos as module

    raise typer.Exit(0 if module.chaos(seed, rounds, only) else 1)


@app.command()
def traces(
    otlp: Annotated[str, typer.Option(help="OTLP/HTTP collector, http://127.0.0.1:4318; none when left out.")] = "",
    ratio: Annotated[float, typer.Option(min=0, max=1, help="Part of the ticks that are traced.")] = 0.01,
    lines: Annotated[bool, typer.Option("--lines", help="Print every decision as one JSON line.")] = False,
    namespace: Namespace = "",
) -> None:
    """Follow the chain: OpenTelemetry traces of sampled decisions, canonical log lines of all."""
    from sigmaflow.errors import UserError
    from sigmaflow.monitoring import follow

    if not otlp and not lines:
        raise UserError("traces", "there must be something to do", "neither --otlp nor --lines is given", "give one")
    follow.run(otlp, ratio, lines, namespace)


@app.command()
def report(out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("build/report.html")) -> None:
    """Write the tear sheet as one HTML file."""
    from sigmaflow import report as module

    module.run(out)


@app.command()
def audit(
    namespace: Annotated[str, typer.Option(help="Topics of a run apart; the market's when left out.")] = "",
    complete: Annotated[bool, typer.Option(help="No job is behind: what has no decision is lost.")] = False,
) -> None:
    """Check every record in Kafka against the others; exits 1 when one is lost, doubled or different."""
    from sigmaflow.audit import command

    raise typer.Exit(1 if command.run(namespace, complete).found else 0)


@app.command(hidden=True)
def get_jars() -> None:
    """Fetch the Java parts that are missing (make setup does)."""
    from sigmaflow import stack
    from sigmaflow.settings import load

    stack.get_jars(load())


@app.command()
def submit(
    job: Annotated[str, typer.Argument(help="For example jobs/pipeline.py.")],
    args: Annotated[list[str] | None, typer.Argument(help="The job's own arguments, after --.")] = None,
    parallelism: Annotated[int | None, typer.Option(help="Slots the job uses.")] = None,
) -> None:
    """Submit a job with flink run and wait until it runs."""
    _submit(job, args, None, parallelism)


@app.command()
def savepoint(job_id: Annotated[str, typer.Argument(help="One job; every running one when left out.")] = "") -> None:
    """Take a savepoint."""
    from sigmaflow import submit as module

    ids = [job_id] if job_id else [job.id for job in module.jobs() if job.state == "RUNNING"]
    if not ids:
        raise UserError("savepoint", "a job must run", "none does", "run make start")
    for one in ids:
        typer.echo(f"{one} {module.savepoint(one)}")


@app.command()
def restore(
    job: Annotated[str, typer.Argument(help="For example jobs/pipeline.py.")],
    args: Annotated[list[str] | None, typer.Argument(help="The job's own arguments, after --.")] = None,
    path: Annotated[str, typer.Option(help="Savepoint or checkpoint; the newest savepoint when left out.")] = "",
    parallelism: Annotated[int | None, typer.Option(help="Slots the job uses.")] = None,
) -> None:
    """Submit a job from a savepoint and wait until it runs."""
    from sigmaflow import submit as module

    _submit(job, args, path or module.newest_savepoint(), parallelism)


def _submit(job: str, args: list[str] | None, point: str | None, parallelism: int | None) -> None:
    from sigmaflow import submit as module

    job_id = module.submit(job, args, point, parallelism)
    module.wait_running(job_id)
    typer.echo(f"{job} is RUNNING as {job_id}" + (f", from {point}" if point else ""))


@app.command()
def settings() -> None:
    """Print the settings in force; secrets are masked."""
    from sigmaflow.settings import load

    typer.echo(load().model_dump_json(indent=2))


def main() -> None:
    """Run a command; an error meant for the user is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
