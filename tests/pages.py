"""A made-up market for the web page, through the same code as the real one: snapshot, decisions, curve, health."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connectors import snapshot
from connectors.metrics import Totals
from connectors.snapshot import Recent
from sigmaflow.web import collect
from sigmaflow.web.parts import Found, Part
from sigmaflow.web.server import PageServer
from tests.records import make_record
from udfs import profiles

Row = dict[str, Any]
GATES = (("warm", 1.0, 1.0), ("entry", 0.31, 0.1), ("direction", 1.0, 1.0), ("cost", 2.1e-5, 1.9e-5),
         ("selection", 2.0, 5.0), ("halt", 0.0, 1.0), ("reducing", 0.21, 0.0), ("range", 214_000.0, 9e9),
         ("position", 61_400.0, 150_000.0), ("gross", 214_000.0, 600_000.0), ("concentration", 0.2, 0.5),
         ("account_cvar", 4_812.0, 10_000.0), ("quantity", 0.2, 1e-4))
"""Gates of an order that is sent, with what the default profile holds them against."""
FAILS = {"gross": 641_250.0, "account_cvar": 10_411.0, "entry": 0.04, "cost": 0.8e-5}
"""What a gate saw that failed."""


MORE = profiles.DEFAULT.fills.initial_cash - 100_000.0
"""What the made record's account starts with less than the default profile's."""


def a_decision(number: int, symbol: str, ts: int, failed: str = "", quantity: float = 0.25, **changed: Any) -> Row:
    """A decision's message as a reader sees it."""
    names = [gate for gate, _, _ in GATES]
    reached = names.index(failed) + 1 if failed else len(GATES)
    gates = [{"gate": gate, "passed": gate != failed, "value": FAILS[gate] if gate == failed else value,
              "limit": limit if gate != "range" else math.inf} for gate, value, limit in GATES[:reached]]
    return {
        "account_seq": number, "venue": "BINANCE", "symbol": symbol, "ts_order": ts, "decision_id": 2**62 + number,
        "order_id": None if failed else -(2**61) - number, "strategy": "default",
        "config_digest": profiles.DEFAULT.digest, "model_digest": "", "mid": 61_204.5, "spread": 1.2,
        "score": -0.31 if number % 2 else 0.28, "mu": 0.00021 if number % 2 else -0.00017, "sigma": 0.00083,
        "cvar_975": 4e-4, "target_notional": 61_400.0, "order_quantity": 0.0 if failed else quantity,
        "order_limit": None, "position": 1.0, "state": "ACTIVE", "state_cause": "NONE", "binding_constraint": "kelly",
        "top_alpha": ("micro_price_gap", "order_flow", "mean_reversion_50")[number % 3], "failed_gate": failed,
        "gates": gates, **changed,
    }


def made_decisions(last_ns: int) -> dict[str, list[Row]]:
    """The last decisions as Redis gives them: sent, stopped, and the newest of each symbol."""
    failed = ("", "", "gross", "", "", "account_cvar", "", "", "", "", "", "")
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    judged = [a_decision(9_000 - n, symbols[n % 3], last_ns - n * 7_345_678_912, gate, 0.25 if n % 2 else -1.4)
              for n, gate in enumerate(failed)]
    newest = [a_decision(9_100 - n, symbol, last_ns - n * 31_000_000, gate)
              for n, (symbol, gate) in enumerate(zip(symbols, ("entry", "cost", "entry"), strict=True))]
    return {name: [json.loads(json.dumps(snapshot.told(row))) for row in rows]
            for name, rows in (("judged", judged), ("newest", newest))}


def made_snapshot(now: float, marks: int = 3_000, **changed: Any) -> tuple[Row, list[Row]]:
    """The account's snapshot as Redis gives it, its last mark at `now`, and its marks."""
    offset = round(now * 1e9) - make_record(marks)[0][-1]["ts_order"]
    equity, fills, decisions = make_record(marks)
    totals, recent = Totals(), Recent()
    for row in equity:
        row["ts_order"] += offset
        for amount in ("equity", "peak_equity", "cash"):
            row[amount] += MORE
        row["drawdown"] = 1 - row["equity"] / row["peak_equity"]
        totals.equity(row)
    for row in fills:
        recent.fill(row)
    for row in decisions:
        totals.decision(row["account"], row["order_id"] is not None, row["failed_gate"])
    held = snapshot.snapshot(totals, "paper", recent, {"market.ticks.v1": 5_000.0})
    return {name: snapshot._parse(str(value)) for name, value in held.items()} | {
        "updated_ms": round(now * 1e3), **changed}, equity


def sampled(marks: list[Row], step: int = 2_000) -> Row:
    """The curve as QuestDB samples it."""
    buckets: dict[int, list[Row]] = {}
    for row in marks:
        buckets.setdefault(row["ts_order"] // (step * 1_000_000), []).append(row)
    rows = [(held[-1]["ts_order"], held[-1]["equity"], min(r["equity"] for r in held), max(r["equity"] for r in held),
             max(r["drawdown"] for r in held), held[-1]["gross"], held[-1]["account_cvar_975"])
            for held in buckets.values()]
    return dict(collect.curve_record(rows, step))


OVERVIEW = {"jid": "7d1f", "name": "pipeline (default)", "state": "RUNNING", "duration": 11_340_000,
            "start-time": 1, "end-time": -1}
SERVERS = ("Kafka", "Schema registry", "ZooKeeper", "Flink", "QuestDB", "Redis", "Prometheus")


def checkpoints(now: float, completed: int = 11_322, failed: int = 0) -> Row:
    """Flink's account of a job's checkpoints."""
    return {"counts": {"completed": completed, "failed": failed},
            "latest": {"completed": {"latest_ack_timestamp": round((now - 0.7) * 1e3), "end_to_end_duration": 41,
                                     "state_size": 1_284_331}, "failed": None}}


class Market:
    """What the sources hold; a test changes it, and a source in `away` raises what a closed port raises.

    While it is `live`, the newest event and the snapshot are always of now.
    """

    def __init__(self, now: float) -> None:
        self.account, self.marks = made_snapshot(now)
        self.decisions = made_decisions(self.marks[-1]["ts_order"])
        self.jobs: list[Row] = [OVERVIEW]
        self.away: set[str] = set()
        self.live = True

    @property
    def now(self) -> float:
        """What the sources take for now, seconds since 1970."""
        return time.time() if self.live else self.account["ts_order"] / 1e9

    @property
    def last(self) -> int:
        """Event time of the newest event, which is as new as can be while the market is live. Unit: ns."""
        return round(self.now * 1e9)

    def held(self) -> Row:
        """The account's snapshot."""
        return self.account | {"ts_order": self.last, "updated_ms": self.last // 1_000_000}

    def parts(self) -> list[Part]:
        """The page's parts over these sources."""
        said = {
            "account": lambda _: Found(collect.account_record("paper", self.held(), self.decisions), self.last),
            "curve": lambda _: Found(sampled(self.marks), self.last),
            "decisions": lambda _: Found({name: [collect.decision_record(row) for row in rows]
                                          for name, rows in self.decisions.items()}, self.last),
            "jobs": lambda _: Found({"jobs": [collect.job_record(job, checkpoints(self.now), self.now)
                                              for job in collect.shown_jobs(self.jobs)]}),
            "flow": lambda _: Found(collect.flow_record(
                {collect.TICKS: 12_345_678, collect.DEAD: 12}, 5_012.3, 12_341_666,
                {collect.TICKS: round((self.now - 0.2) * 1e3), collect.DEAD: round((self.now - 8_000) * 1e3)},
                self.now)),
            "servers": lambda _: Found({"servers": dict.fromkeys(SERVERS, True)}),
        }

        def source(name: str, kind: str, option: str) -> Found:
            if kind in self.away:
                raise ConnectionRefusedError(111, "Connection refused")
            return said[name](option)

        kinds = {"account": "Redis", "curve": "QuestDB", "decisions": "Redis", "jobs": "Flink", "flow": "Kafka",
                 "servers": "the servers"}
        return [Part(name, kind, f"{name} of a test.", lambda option, n=name, k=kind: source(n, k, option), 0.2,
                     tuple(collect.RANGES) if name == "curve" else ("",)) for name, kind in kinds.items()]


@contextmanager
def served(parts: list[Part]) -> Iterator[PageServer]:
    """The page of these parts on a free port of this machine."""
    with PageServer("127.0.0.1", 0, parts) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)
