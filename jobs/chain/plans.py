"""Which stages, topics and workers make up each job: data, so that Flink, tests and the warm-up build the same thing.
"""
from __future__ import annotations

from jobs.chain.account import AccountPlan
from jobs.chain.contracts import Contracts
from jobs.chain.messages import (
    COMMANDS,
    DECISIONS,
    EQUITY,
    EXACTLY_ONCE,
    FILLS,
    FRONTIERS,
    INDICATORS,
    INTENTS,
    PROPOSALS,
    RULINGS,
)
from jobs.chain.shard import DEAD, TICKS, ShardPlan
from udfs.models import Models
from udfs.profiles import Profile
from udfs.stage import Stage
from udfs.stages import alphas, ensemble, features, fills, risk, sizing

KEYED_STAGES = {"features": features.stage, "alphas": alphas.stage, "ensemble": ensemble.stage, "risk": risk.stage}
KEYED_TOPICS = {"features": "features.v1", "alphas": "signals.v1", "ensemble": "opportunities.v1", "risk": "risk.v1"}
READS = {"pipeline": (TICKS,), "features": (TICKS,), "alphas": ("features.v1",), "ensemble": ("signals.v1",),
         "risk": ("opportunities.v1",), "sizing": ("risk.v1", DEAD), "fills": (PROPOSALS,)}
"""Topics that a job follows from their first offset on; those that shards are made of come first."""

JOBS = ("features", "alphas", "ensemble", "risk", "sizing", "fills")
TAPS = (*KEYED_TOPICS.values(), PROPOSALS)
"""Topics that `pipeline` writes only where they are asked for."""


LEARNT = (FRONTIERS, COMMANDS, RULINGS, INDICATORS)
"""Topics of what jobs learn on the way."""


def topics(job: str) -> list[str]:
    """Topics that a job reads or writes, so that it needs their contracts."""
    if job == "pipeline":
        return [TICKS, DEAD, *LEARNT, *TAPS, *EXACTLY_ONCE]
    if job == "sizing":
        return [*READS[job], *LEARNT, PROPOSALS, INTENTS]
    if job == "fills":
        return [*READS[job], FILLS, EQUITY, DECISIONS]
    return [*READS[job], KEYED_TOPICS[job], *([DEAD] if job == "features" else []),
            *(LEARNT if job in ("features", "alphas", "ensemble") else [])]


def shard(job: str, profile: Profile, contracts: Contracts, shards: int, taps: tuple[str, ...] = (),
          models: Models | None = None) -> ShardPlan:
    """What a job does in each shard; fills has none."""
    source = READS[job][0]
    if job == "pipeline":
        stages = tuple(_keyed(name, profile, models) for name in KEYED_STAGES)
        written = tuple(topic for topic in taps if topic != PROPOSALS)
        return ShardPlan(profile, contracts, source, stages, shards, written, dead_letters=True, forward=True,
                         models=models or Models(profile), slow=alphas.slow(profile))
    if job == "sizing":
        return ShardPlan(profile, contracts, source, (), shards, forward=True)
    return ShardPlan(profile, contracts, source, (_keyed(job, profile, models),), shards, (KEYED_TOPICS[job],),
                     dead_letters=job == "features",
                     models=(models or Models(profile)) if job == "ensemble" else None,
                     slow=alphas.slow(profile) if job == "alphas" else ())


def _keyed(name: str, profile: Profile, models: Models | None) -> Stage:
    return ensemble.stage(profile, models) if name == "ensemble" else KEYED_STAGES[name](profile)


def account(job: str, profile: Profile, contracts: Contracts, shards: int, taps: tuple[str, ...] = ()) -> AccountPlan:
    """What pipeline, sizing and fills do for the account."""
    sized, filled = sizing.stage(profile), fills.stage(profile)
    if job == "pipeline":
        tapped = tuple(topic for topic in taps if topic == PROPOSALS)
        return AccountPlan(profile, contracts, (sized, filled), shards, (*tapped, *EXACTLY_ONCE))
    if job == "sizing":
        return AccountPlan(profile, contracts, (sized,), shards, (PROPOSALS, INTENTS), refused=True)
    return AccountPlan(profile, contracts, (filled,), shards, (FILLS, EQUITY, DECISIONS), ordered=False)
