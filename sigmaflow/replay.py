"""`make replay`: recorded files through Kafka and the chain, to an equity curve and one JSON object.

The run has topics of its own, so that a recording can be replayed as often as one likes. The last line printed counts
what every step made of it; accepted + duplicate + rejected = offsets, the messages of the run's market.ticks.v1.
"""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from connectors import consume
from connectors.market.recordings import open_recording
from connectors.read_columns import read_columns
from connectors.replay import Played, play_shown
from sigmaflow import report
from sigmaflow.output import console
from sigmaflow.runs import Firsts, Run

PROFILE = "default"
REPORT = Path("build/replay.html")


def run(files: list[str], speed: float = 0, profile: str = PROFILE) -> dict[str, Any]:
    """Replay, write the tear sheet, print; gives the JSON object. `speed` 0 is as fast as it goes."""
    recording = open_recording([Path(file) for file in files])
    with Run("replay", profile, taps="all") as r:
        played = play_shown(recording, r.writer, speed or None)
        r.settle()
        found = summary(r, played)
        for path, line, reason in recording.refused:
            console().print(f"rejected at the edge: {path} line {line}: {reason}")
        report.run(REPORT, namespace=r.namespace)
    console().print(f"equity curve: {REPORT}")
    print(json.dumps(found), flush=True)
    return found


def summary(r: Run, played: Played) -> dict[str, Any]:
    """What every step made of the recording, counted in Kafka."""
    dead = dead_letters(r)
    duplicate = dead.pop("duplicate", 0)
    accepted, signals = _signals(r)
    equity = _last_equity(r)
    decisions = _rows(r, "decisions.v1")
    return {"frames": played.frames, "rejected_at_edge": played.rejected_at_edge, "ticks": played.ticks,
            "offsets": r.ends()["market.ticks.v1"], "accepted": accepted, "duplicate": duplicate,
            "rejected": sum(dead.values()), "rejected_by_reason": dict(sorted(dead.items())), "signals": signals,
            "opportunities": distinct(r, "opportunities.v1"), "intents": _rows(r, "intents.v1"),
            "decisions": decisions, "orders": equity["orders"], "fills": _rows(r, "fills.v1"),
            "equity": equity["equity"], "drawdown": equity["drawdown"]}


def dead_letters(r: Run) -> Counter[str]:
    """Dead letters by reason; one counts for an input offset, however often a restart wrote it."""
    letters = {(v["topic"], v["partition"], v["offset"]): v["reason"]
               for _, v, _, _ in consume.read_all(r.topic("market.ticks.v1.dlq"), r.settings)}
    return Counter(letters.values())


def _signals(r: Run) -> tuple[int, int]:
    """(ticks that were accepted, forecasts made of them), from signals.v1."""
    firsts, ticks, signals = Firsts(), 0, 0
    for c in read_columns("signals.v1", r.settings, r.namespace):
        new = firsts.of(c["tick_id"])
        ticks += int(new.sum())
        signals += int(c["signals.count"][new].sum())
    return ticks, signals


def distinct(r: Run, topic: str) -> int:
    """Ticks that an intermediate topic speaks of, each counted once."""
    firsts = Firsts()
    return sum(int(firsts.of(c["tick_id"]).sum()) for c in read_columns(topic, r.settings, r.namespace))


def _rows(r: Run, topic: str) -> int:
    """Messages of an account's topic, each place in the account counted once."""
    names = {"intents.v1": "intent_id", "fills.v1": "fill_id", "decisions.v1": "decision_id"}
    seen: set[int] = set()
    for c in read_columns(topic, r.settings, r.namespace, read_committed=topic != "intents.v1"):
        seen.update(np.asarray(c[names[topic]]).tolist())
    return len(seen)


def _last_equity(r: Run) -> dict[str, float]:
    """The newest row of equity.v1; the account as it began where there is none."""
    last: dict[str, float] = {"equity": 0.0, "drawdown": 0.0, "orders": 0}
    for c in read_columns("equity.v1", r.settings, r.namespace, read_committed=True):
        last = {"equity": float(c["equity"][-1]), "drawdown": float(c["drawdown"][-1]), "orders": int(c["orders"][-1])}
    return last
