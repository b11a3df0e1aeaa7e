"""What a job is told on the command line, typed, with its defaults from the stack's settings."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import schemas
from jobs.chain.messages import FRONTIERS, RULINGS
from jobs.chain.plans import TAPS
from jobs.chain.shard import TICKS
from sigmaflow.errors import UserError
from sigmaflow.settings import load
from udfs import profiles
from udfs.models import Models
from udfs.profiles import Profile

LIVE_MS = 4
"""A live market's micro-batch: at 5 a tick's opportunity comes a millisecond later, at 3 calls cost a fifth more."""

INPUTS = (TICKS, FRONTIERS, RULINGS)
"""What settles everything else: the topics that a replay reads of the run that it computes again."""


@dataclass(frozen=True)
class Options:
    """Everything that may differ between two runs of the same job."""

    profile: Profile
    models: Models
    bootstrap: str
    registry: str
    namespace: str
    recorded: str | None
    taps: tuple[str, ...]
    batch_ms: int
    idle_ms: int
    shards: int
    transaction_s: int

    def topic(self, name: str) -> str:
        """Name of a topic in this run: its own, or with the run's namespace in front."""
        return schemas.in_run(name, self.namespace)

    def source(self, name: str) -> str:
        """Name of a topic to read: of the recording where one is replayed and the topic is its input."""
        replayed = self.recorded is not None and name in INPUTS
        return schemas.in_run(name, self.recorded or "") if replayed else self.topic(name)


def parser(job: str) -> argparse.ArgumentParser:
    """What reads a job's options."""
    p = argparse.ArgumentParser(job, description=f"Sigmaflow job {job}: flink run -py jobs/{job}.py [options]")
    p.add_argument("--profile", default="default", help=f"strategy profile: {', '.join(profiles.names())}")
    p.add_argument("--model", default="", metavar="DIGEST",
                   help="trained model of the ensemble to begin with, as `sigmaflow model list` names it (default: "
                        "none); later `sigmaflow model use` changes it")
    p.add_argument("--bootstrap", help="Kafka address, host:port (default: the stack's settings)")
    p.add_argument("--registry", help="registry address, Confluent-compatible API version 7")
    p.add_argument("--namespace", default="", help="prefix of all topics, to keep a run apart")
    p.add_argument("--recorded", metavar="NAMESPACE",
                   help="compute another run again from its ticks, frontiers and rulings (empty: the market's own)")
    p.add_argument("--taps", default="",
                   help=f"intermediate topics that pipeline also writes: all, or of {','.join(TAPS)}")
    p.add_argument("--batch-ms", type=int, default=LIVE_MS, help="length of a micro-batch, milliseconds")
    p.add_argument("--idle-ms", type=int, default=200,
                   help="silence after which a shard's log is looked at: is there more to wait for?")
    p.add_argument("--transaction-s", type=int, default=86_400,
                   help="longest outage after which the broker still takes what a checkpoint covers, seconds")
    return p


def parse(job: str, argv: Sequence[str]) -> Options:
    """Options of a job. Raises UserError for a value that no job could run with."""
    a = parser(job).parse_args(argv)
    settings, profile = load(), _profile(a.profile)
    return Options(profile, Models(profile, settings.model_dir, a.model), a.bootstrap or settings.kafka.bootstrap,
                   a.registry or settings.registry.url, a.namespace, a.recorded, _taps(a.taps),
                   _positive("batch-ms", a.batch_ms), _positive("idle-ms", a.idle_ms), schemas.shards(),
                   _positive("transaction-s", a.transaction_s))


def _profile(name: str) -> Profile:
    try:
        return profiles.get(name)
    except KeyError:
        raise UserError("submit", "--profile must name a strategy profile", repr(name),
                        f"use one of {', '.join(profiles.names())}") from None


def _taps(text: str) -> tuple[str, ...]:
    names = TAPS if text == "all" else tuple(filter(None, text.split(",")))
    unknown = [name for name in names if name not in TAPS]
    if unknown:
        raise UserError("submit", "--taps must name intermediate topics", ", ".join(unknown), f"use {', '.join(TAPS)}")
    return names


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise UserError("submit", f"--{name} must be at least 1", str(value), "give a whole number")
    return value
