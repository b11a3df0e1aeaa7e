"""`train` and `model`: learn a model from a run's log, from recorded files or the simulator; list what there is."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from connectors.market.columns import Ticks
from connectors.market.recordings import open_recording
from connectors.market.simulator import Config, generate
from connectors.ticks import TickEncoder
from jobs.chain.inprocess import contracts
from jobs.chain.shard import TICKS
from sigmaflow import learning
from sigmaflow.errors import UserError
from sigmaflow.output import Record, print_table
from sigmaflow.recording import read
from sigmaflow.settings import Settings, load
from udfs import models, profiles
from udfs.profiles import Profile
from udfs.stage import Columns

STAGE = learning.STAGE


def run(namespace: str | None, files: list[str], seed: int | None, ticks: int, profile: str,
        folds: int = learning.FOLDS) -> str:
    """Train from the one source that is given, print metrics of every fold, then the digest; the digest."""
    given = [namespace is not None, bool(files), seed is not None]
    if sum(given) != 1:
        raise UserError(STAGE, "one of --from, FILES and --seed must be given", f"{sum(given)} are",
                        "write for example: sigmaflow train --from market")
    if profile not in profiles.names():
        raise UserError(STAGE, "--profile must name a strategy profile", repr(profile),
                        f"use one of {', '.join(profiles.names())}")
    settings, strategy = load(), profiles.get(profile)
    if namespace is not None:
        source, columns = f"log of {namespace or 'market'}", from_log(settings, strategy, namespace)
    elif files:
        source, columns = " ".join(Path(file).name for file in files), from_files(strategy, files)
    else:
        source = f"simulator, seed {seed}, {ticks} ticks"
        columns = learning.signals(strategy, messages(generate(Config(seed=seed or 0, count=ticks))))
    made = learning.train(strategy, columns, source, settings.model_dir, folds)
    for number, (model, fallback) in enumerate(made.folds, 1):
        print(f"fold {number}  {model.rows:>9,} rows  model     {model}")
        print(f"{'':24}  fallback  {fallback}")
    print(f"{made.digest}  learned from {made.rows:,} rows of {source}, in {settings.model_dir / made.digest}")
    return made.digest


def from_log(settings: Settings, profile: Profile, namespace: str) -> Columns:
    """Signals of a run's market.ticks.v1, computed again."""
    recorded = read(settings, namespace)
    return learning.signals(profile, recorded.ticks, recorded.stamps, recorded.contracts)


def from_files(profile: Profile, files: list[str]) -> Columns:
    """Signals of recorded files, merged in time. Raises UserError for one that is missing or of no known format."""
    return learning.signals(profile, messages(open_recording([Path(file) for file in files]).ticks()))


def messages(chunks: Iterable[Ticks]) -> list[list[bytes]]:
    """Ticks as one partition of market.ticks.v1."""
    encoder = TickEncoder(contracts().id(TICKS))
    return [[value for ticks in chunks for value in encoder.encode(ticks)[1]]]


def listing() -> dict[str, Any]:
    """Every model: digest, profile, source, span, and what its last fold measured."""
    folder = load().model_dir
    return {"folder": str(folder), "models": [_row(digest, models.describe(folder, digest))
                                              for digest in models.known_in(folder)]}


def _row(digest: str, about: Mapping[str, Any]) -> dict[str, Any]:
    last = about["metrics"][-1]
    return {"digest": digest, "profile": about["profile"], "rows": about["span"]["rows"], "source": about["source"],
            "crps_bp": last["model"]["crps"], "fallback_crps_bp": last["fallback"]["crps"]}


def draw_listing(answer: Record) -> None:
    """Print one line a model."""
    print_table(answer["models"], empty=f"no model in {answer['folder']}; sigmaflow train makes one")


def one(digest: str) -> dict[str, Any]:
    """What is known of a model, after checking its files. Raises UserError as `models.load`."""
    about = dict(models.load(load().model_dir, digest).about)
    about["isotonic"] = f"{len(about['isotonic']['x'])} knots"
    return about
