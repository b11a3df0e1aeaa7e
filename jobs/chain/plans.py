"""Which stages, topics and workers make up each job: data, so that Flink, tests and the warm-up build the same thing.
"""
from __future__ import annotations

from jobs.chain.account import INTENTS, PROGRESS, AccountPlan
from jobs.chain.contracts import Contracts
from jobs.chain.messages import EXACTLY_ONCE
from jobs.chain.shard import DEAD, TICKS, ShardPlan
from udfs.profiles import Profile
from udfs.stages import alphas, ensemble, features, fills, quotes, risk, sizing

KEYED_STAGES = {"features": features.stage, "alphas": alphas.stage, "ensemble": ensemble.stage, "risk": risk.stage}
KEYED_TOPICS = {"features": "features.v1", "alphas": "signals.v1", "ensemble": "opportunities.v1", "risk": "risk.v1"}
SOURCES = {"features": TICKS, "alphas": "features.v1", "ensemble": "signals.v1", "risk": "opportunities.v1",
           "sizing": "risk.v1"}
JOBS = ("features", "alphas", "ensemble", "risk", "sizing", "fills")


def topics(job: str) -> list[str]:
    """Topics that a job reads or writes."""
    if job == "pipeline":
        return [TICKS, DEAD, *KEYED_TOPICS.values(), INTENTS, *EXACTLY_ONCE]
    if job == "sizing":
        return ["risk.v1", INTENTS, PROGRESS]
    if job == "fills":
        return [TICKS, INTENTS, PROGRESS, *EXACTLY_ONCE]
    return [SOURCES[job], KEYED_TOPICS[job], *([DEAD] if job == "features" else [])]


def shard(job: str, profile: Profile, contracts: Contracts, shards: int, taps: tuple[str, ...] = ()) -> ShardPlan:
    """What a job does in each shard."""
    if job == "pipeline":
        stages = tuple(make(profile) for make in KEYED_STAGES.values())
        return ShardPlan(profile, contracts, TICKS, stages, shards, taps, dead_letters=True, forward=True)
    if job == "sizing":
        return ShardPlan(profile, contracts, "risk.v1", (), shards, forward=True)
    if job == "fills":
        return ShardPlan(profile, contracts, TICKS, (quotes.stage(),), shards, forward=True)
    return ShardPlan(profile, contracts, SOURCES[job], (KEYED_STAGES[job](profile),), shards, (KEYED_TOPICS[job],),
                     dead_letters=job == "features")


def account(job: str, profile: Profile, contracts: Contracts, shards: int) -> AccountPlan:
    """What pipeline, sizing and fills do for the account."""
    if job == "pipeline":
        return AccountPlan(profile, contracts, (sizing.stage(profile), fills.stage(profile)), shards)
    if job == "sizing":
        return AccountPlan(profile, contracts, (sizing.stage(profile),), shards, progress=True)
    return AccountPlan(profile, contracts, (fills.stage(profile),), shards, follow=True)
