"""Trained models of the ensemble."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmaflow.cli.common import MARKET, AsJson, Namespace, command, group, namespace

PANEL = "Models"
app = group()
model = group("Trained models of the ensemble.")
app.add_typer(model, name="model", rich_help_panel=PANEL)

Profile = Annotated[str, typer.Option(help="Strategy profile of the chain.")]


@command(app, PANEL, "sigmaflow train --from market", "sigmaflow train btcusdt.gz ethusdt.gz --folds 6",
         "sigmaflow train --seed 7 --ticks 100000 --json")
def train(
    files: Annotated[list[str] | None, typer.Argument(help="Recorded files; merged in time.")] = None,
    recorded: Annotated[str | None, typer.Option(
        "--from", metavar="RUN", help=f"Learn from this run: its namespace, or {MARKET}.")] = None,
    seed: Annotated[int | None, typer.Option(help="Learn from the simulator, with this seed.")] = None,
    ticks: Annotated[int, typer.Option(min=1, help="Length of a simulation.")] = 400_000,
    profile: Annotated[str, typer.Option(help="Strategy profile whose signals it learns from.")] = "default",
    folds: Annotated[int, typer.Option(min=1, help="Test segments of the walk-forward.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Learn a model of the ensemble from a log, files or the simulator; prints its folds' metrics and its digest."""
    from sigmaflow import train as module
    from sigmaflow.output import aside, print_json

    with aside(as_json):
        digest = module.run(None if recorded is None else namespace(recorded), files or [], seed, ticks, profile, folds)
    if as_json:
        print_json({"digest": digest} | module.one(digest))


@command(model, PANEL, "sigmaflow model list", name="list")
def model_list(as_json: AsJson = False) -> None:
    """List the trained models by digest, with what their last fold measured."""
    from sigmaflow import train as module
    from sigmaflow.output import show

    show(as_json, module.listing, module.draw_listing)


@command(model, PANEL, "sigmaflow model use 5b2f0c9d1e7a4480", "sigmaflow model use none", name="use")
def model_use(
    digest: Annotated[str, typer.Argument(help="Digest, as `model list` prints it; none for the untrained blend.")],
    namespace: Namespace = "", account: Annotated[str, typer.Option(help="The account it is for.")] = "paper",
    profile: Profile = "default", as_json: AsJson = False,
) -> None:
    """Change the model of a running chain; it holds from a tick on that every replay knows."""
    from sigmaflow import commands
    from sigmaflow.output import show

    show(as_json, lambda: commands.use_model(digest, namespace, account, profile), commands.draw_model)


@command(model, PANEL, "sigmaflow model show 5b2f0c9d1e7a4480", name="show")
def model_show(
    digest: Annotated[str, typer.Argument(help="Digest, as `model list` prints it.")], as_json: AsJson = False,
) -> None:
    """Check a model's files and print all that is known of it."""
    from sigmaflow import train as module
    from sigmaflow.output import print_json, show

    show(as_json, lambda: module.one(digest), print_json)
