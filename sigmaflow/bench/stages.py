"""Processor time of each stage within the Python operators, in one process without Flink: what a thread cannot tell."""
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import schemas
from connectors.market.columns import Ticks
from connectors.ticks import TickEncoder
from jobs.chain import inprocess, plans
from jobs.chain.account import AccountWorker
from jobs.chain.messages import NEXT, ROWS, MicroBatch
from jobs.chain.shard import TICKS, opened
from udfs import profiles
from udfs.stage import Stage

BATCH = 500
"""Messages of a micro-batch: what 50 ms of 40,000 ticks/s in four shards give."""


def measure(profile_name: str, ticks: Ticks) -> dict[str, float]:
    """Microseconds a tick by stage; "shard" and "account" are what surrounds the stages: codec, order, packing."""
    profile, contracts, shards = profiles.get(profile_name), inprocess.contracts(), schemas.shards()
    spent: Counter[str] = Counter()
    plan = plans.shard("pipeline", profile, contracts, shards)
    plan = replace(plan, stages=_timed(plan.stages, spent))
    whole = plans.account("pipeline", profile, contracts, shards)
    whole = replace(whole, stages=_timed(whole.stages, spent))
    edges = inprocess.MemoryEdges(shards, [], [])
    worker = opened(plan, edges, {shard: inprocess.Memory() for shard in range(shards)})
    account = AccountWorker(whole, inprocess.Memory(), edges)
    for half in (False, True):  # the first half warms up
        spent.clear()
        for batch in _batches(ticks, contracts.id(TICKS), shards, half):
            rows = [e for e in _clocked(spent, "shard", worker.process, [batch]) if e.sink == NEXT]
            for row in rows:
                _clocked(spent, "account", account.process, [MicroBatch(ROWS, 0, [row.payload])])
    spent["shard"] -= sum(spent[stage.name] for stage in plan.stages)
    spent["account"] -= sum(spent[stage.name] for stage in whole.stages)
    return {name: round(ns / 1e3 / (len(ticks) - len(ticks) // 2), 3) for name, ns in spent.items()}


def _timed(stages: Sequence[Stage], spent: Counter[str]) -> tuple[Stage, ...]:
    def timed(stage: Stage) -> Stage:
        return replace(stage, step=lambda state, columns: _clocked(spent, stage.name, stage.step, state, columns))

    return tuple(timed(stage) for stage in stages)


def _clocked(spent: Counter[str], name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    began = time.thread_time_ns()
    try:
        return call(*arguments)
    finally:
        spent[name] += time.thread_time_ns() - began


def _batches(ticks: Ticks, schema_id: int, shards: int, second: bool) -> list[MicroBatch]:
    """Micro-batches of one half of the ticks, shard after shard; a symbol's shard is its number's rest."""
    half, encoder = len(ticks) // 2, TickEncoder(schema_id)
    held: list[list[bytes]] = [[] for _ in range(shards)]
    first = [0] * shards
    out = []
    for n, (instrument, value) in enumerate(zip(ticks.instrument.tolist(), encoder.encode(ticks)[1], strict=True)):
        shard = instrument % shards
        held[shard].append(value)
        if len(held[shard]) == BATCH:
            if (n >= half) == second:
                out.append(MicroBatch(TICKS, shard, held[shard], range(first[shard], first[shard] + BATCH)))
            first[shard], held[shard] = first[shard] + BATCH, []
    return out
