"""Where the page's parts come from: Redis, QuestDB, Flink and Kafka, each asked by a function of its own.

Functions that ask are thin; what they make of an answer is pure and tested without servers. Numbers that JSON has not
(an unlimited limit) are None, and 64-bit ids are text: JavaScript's numbers hold 53 bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka.admin import AdminClient

import schemas
from connectors import broker, snapshot
from connectors.offsets import Groups, Rates, end_offsets, newest_ms
from connectors.questdb import QuestDB, QuestDBError
from sigmaflow import probes, reasons
from sigmaflow.live import LAST_JOBS, TICKS, of_chain
from sigmaflow.settings import Settings
from sigmaflow.submit import ENDED
from sigmaflow.web.parts import Found, Part, Record
from udfs import profiles

DEAD = "market.ticks.v1.dlq"
QUESTDB_TIMEOUT_S = 3.0
RANGES = {"15m": 900, "1h": 3_600, "1d": 86_400, "all": None}
"""Spans of the curve in event time, back from its newest mark. Unit: s."""
POINTS = 480
"""Points of a curve at most: one for every two pixels of a wide screen."""
STEPS_MS = tuple(n * unit for unit, counts in ((1, (100, 200, 500)), (1_000, (1, 2, 5, 10, 15, 30)),
                                               (60_000, (1, 2, 5, 10, 15, 30)), (3_600_000, (1, 2, 4, 8)),
                                               (86_400_000, (1, 2, 7, 14, 28))) for n in counts)
CAPS = {"gross": "max_gross", "position": "max_position", "account_cvar": "cvar_limit"}
"""Gates that hold an amount against a limit of the profile."""


def parts(settings: Settings, account: str) -> list[Part]:
    """Every part of the page for one account, in the order of the page."""
    flow = Flow(settings)
    return [
        Part("account", "Redis", "Equity, positions, open risk and its limits, trading state.",
             lambda _: read_account(settings, account)),
        Part("curve", "QuestDB", "Equity, its range, drawdown, exposure and CVaR in event time; "
             f"`range` is one of {', '.join(RANGES)}.", partial(read_curve, settings, account), 2.0, tuple(RANGES)),
        Part("decisions", "Redis", "The last decisions that asked for an order, and the newest of each instrument, "
             "with every gate.", lambda _: read_decisions(settings, account)),
        Part("jobs", "Flink", "Jobs with their states and checkpoints.", lambda _: read_jobs(settings), 2.0),
        Part("flow", "Kafka", "Ticks per second, lag of the chain, age of the feed, dead letters.",
             lambda _: flow.read(), 2.0),
        Part("servers", "the servers", "Which servers answer.", lambda _: read_servers(settings), 5.0),
    ]


def finite(value: float | None) -> float | None:
    """A number as JSON has it.

    >>> finite(1.5), finite(math.inf), finite(None)
    (1.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None


# -------------------------------------------------------------------------------------------------------- account


def read_account(settings: Settings, account: str) -> Found:
    """The account's snapshot in Redis. Raises redis.RedisError."""
    held = snapshot.read(settings.redis.url, account)
    if held is None:
        return Found({"account": account, "known": False})
    return Found(account_record(account, held, snapshot.read_decisions(settings.redis.url, account)), held["ts_order"])


def account_record(account: str, held: Record, decisions: Mapping[str, Sequence[Record]] | None) -> Record:
    """What the page shows of a snapshot: amounts in quote currency, quantities in base units, the rest fractions."""
    newest = next(iter((decisions or {}).get("newest", ())), None)
    positions = [{"symbol": p["symbol"], "quantity": p["position"], "mid": p["mid"], "value": p["value"],
                  "pnl": p["pnl"]} for p in held["positions"]]
    profile = deciding(newest)
    # Without the profile, by symbol: each is of its own last mark, so their sum is a little off.
    start = profile.fills.initial_cash if profile else held["equity"] - sum(p["pnl"] for p in positions)
    known = limits(profile, (decisions or {}).get("judged", ()))
    return {
        "account": account, "known": True,
        **{name: newest[name] if newest else None for name in ("strategy", "config_digest")},
        "state": held["state"], "state_cause": held["state_cause"],
        "state_why": reasons.WHY_STATE.get(held["state_cause"], "").strip(" ()"),
        "event_ms": held["ts_order"] / 1e6, "snapshot_ms": held["updated_ms"],
        **{name: held[name] for name in ("equity", "peak_equity", "cash", "gross", "net", "drawdown")},
        "profit": held["equity"] - start, "start_equity": start, "positions": positions,
        "decisions": held["account_seq"], **{name: held[name] for name in ("intents", "orders", "fills")},
        "risk": risk(held, positions, known), "limits_from": known["from"],
    }


def deciding(newest: Record | None) -> profiles.Profile | None:
    """The profile that made a decision, where this code has the very one: by its digest."""
    if newest is None or newest["strategy"] not in profiles.names():
        return None
    profile = profiles.get(newest["strategy"])
    return profile if profile.digest == newest["config_digest"] else None


def limits(profile: profiles.Profile | None, judged: Iterable[Record]) -> dict[str, Any]:
    """The limits in force, None where there is none or it is not known.

    Without the profile, those that the gates of the last judged decisions name, which do not have the drawdown's.
    """
    names = ("max_gross", "max_position", "cvar_limit", "reduce_drawdown", "halt_drawdown")
    if profile:
        return {name: finite(getattr(profile.fills, name)) for name in names} | {"from": f"profile {profile.name}"}
    seen = {CAPS[gate]: finite(limit) for decision in reversed(list(judged))
            for gate, _, _, limit in decision["gates"] if gate in CAPS}
    return dict.fromkeys(names) | seen | {"from": "the last judged decisions" if seen else None}


def risk(held: Record, positions: Sequence[Record], known: Mapping[str, Any]) -> list[Record]:
    """Each figure of open risk against its limit; `warn` is a lower one that already stops new exposure."""
    largest = max((abs(p["value"]) for p in positions), default=0.0)
    rows = (("cvar", held["account_cvar_975"], known["cvar_limit"], None),
            ("gross", held["gross"], known["max_gross"], None),
            ("largest", largest, known["max_position"], None),
            ("drawdown", held["drawdown"], known["halt_drawdown"], known["reduce_drawdown"]))
    return [{"name": name, "value": value, "limit": limit, "warn": warn} for name, value, limit, warn in rows]


# ------------------------------------------------------------------------------------------------------ decisions


def read_decisions(settings: Settings, account: str) -> Found:
    """The account's last decisions in Redis. Raises redis.RedisError."""
    held = snapshot.read_decisions(settings.redis.url, account)
    if not held or not held["newest"]:
        return Found({"judged": [], "newest": []})
    return Found({name: [decision_record(row) for row in held[name]] for name in ("judged", "newest")},
                 max(row["ts_order"] for row in held["newest"]))


def decision_record(row: Record) -> Record:
    """A decision with its reason in words, its gates, and its forecast. Ids are text, mu and sigma fractions."""
    gates = [{"gate": gate, "passed": passed, "value": finite(value), "limit": finite(limit)}
             for gate, passed, value, limit in row["gates"]]
    plain = {name: finite(row[name]) for name in ("mid", "spread", "score", "mu", "sigma", "cvar_975",
                                                  "target_notional", "order_quantity", "order_limit", "position")}
    return {
        "id": str(row["decision_id"]), "order_id": None if row["order_id"] is None else str(row["order_id"]),
        "account_seq": row["account_seq"], "venue": row["venue"], "symbol": row["symbol"],
        "event_ms": row["ts_order"] / 1e6, "verdict": verdict(row), "reason": told(row),
        "failed_gate": row["failed_gate"], "binding_constraint": row["binding_constraint"],
        "top_alpha": row["top_alpha"], "model_digest": row["model_digest"], "state": row["state"], **plain,
        "gates": gates,
    }


def verdict(row: Record) -> str:
    """sent, stopped (sizing wanted an order and the ledger did not let it pass) or idle (sizing wanted none)."""
    if row["order_id"] is not None:
        return "sent"
    sizing = ("warm", "entry", "direction", "cost", "selection", "quantity")
    return "idle" if row["failed_gate"] in sizing or not row["failed_gate"] else "stopped"


def told(row: Record) -> str:
    """One sentence: the order, or the gate that failed first and what would have let it pass.

    >>> told({"order_id": 7, "order_quantity": -0.5, "target_notional": -30_600.0, "order_limit": None})
    'sell 0.5 at market, for a target worth -30,600'
    """
    if row["order_id"] is not None:
        side = "buy" if row["order_quantity"] > 0 else "sell"
        at = "at market" if row["order_limit"] is None else f"at {row['order_limit']:.8g} or better"
        return f"{side} {abs(row['order_quantity']):.6g} {at}, for a target worth {row['target_notional']:,.0f}"
    gates = [{"gate": gate, "value": value, "limit": limit} for gate, _, value, limit in row["gates"]]
    return reasons.reason({**row, "gates": gates}, None)


# ---------------------------------------------------------------------------------------------------------- curve


def read_curve(settings: Settings, account: str, span: str) -> Found:
    """The account's curve in QuestDB, of one of RANGES. Raises QuestDBError; no table yet is no mark yet."""
    database = QuestDB(settings.questdb.http_url, QUESTDB_TIMEOUT_S)
    own = f"account = '{account.replace(chr(39), chr(39) * 2)}'"
    try:
        ends = database.query(f"SELECT cast(min(ts) AS LONG), cast(max(ts) AS LONG) FROM equity WHERE {own}")
    except QuestDBError as error:
        if "does not exist" not in str(error):
            raise
        ends = []
    if not ends or ends[0][1] is None:
        return Found(curve_record([], 0))
    first, last = ends[0]
    seconds = RANGES[span]
    start = first if seconds is None else max(first, last - seconds * 10**9)
    step = step_ms(start, last)
    rows = database.query(
        "SELECT cast(at AS LONG), equity, low, high, drawdown, gross, cvar FROM (SELECT ts, max(ts) AS at, "
        "last(equity) AS equity, min(equity) AS low, max(equity) AS high, max(drawdown) AS drawdown, "
        "last(gross) AS gross, last(account_cvar_975) AS cvar "
        f"FROM equity WHERE {own} AND ts >= cast({start} AS TIMESTAMP_NS) SAMPLE BY {step}T ALIGN TO CALENDAR)")
    return Found(curve_record(rows, step), last)


def step_ms(first_ns: int, last_ns: int) -> int:
    """Shortest round step that needs at most POINTS points. Unit: ms.

    >>> step_ms(0, 900 * 10**9), step_ms(0, 0), step_ms(0, 86_400 * 10**9)
    (2000, 100, 300000)
    """
    wanted = (last_ns - first_ns) / 1e6 / POINTS
    return next((step for step in STEPS_MS if step >= wanted), STEPS_MS[-1])


def curve_record(rows: Iterable[Sequence[Any]], step: int) -> Record:
    """Columns of the curve: time in ms since 1970, amounts in quote currency, drawdown a fraction."""
    names = ("t_ms", "equity", "low", "high", "drawdown", "gross", "cvar")
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return {"step_ms": step, **{name: list(values) for name, values in zip(names, columns, strict=True)},
            "t_ms": [at // 1_000_000 for at in columns[0]]}


# --------------------------------------------------------------------------------------------------------- health


def read_jobs(settings: Settings) -> Found:
    """Flink's living jobs, else the last one that ended. Raises OSError."""
    url = settings.flink.rest_url
    overview = probes.get_json(f"{url}/jobs/overview")["jobs"]
    now = time.time()
    return Found({"jobs": [job_record(job, probes.get_json(f"{url}/jobs/{job['jid']}/checkpoints"), now)
                           for job in shown_jobs(overview)]})


def shown_jobs(overview: Iterable[Record]) -> list[Record]:
    """The jobs that live, the chain's first; where none of the chain's does, the chain's last one that ended too."""
    jobs = sorted(overview, key=lambda job: (not of_chain(job["name"]), job["name"], -job["start-time"]))
    living = [job for job in jobs if job["state"] not in ENDED]
    if any(of_chain(job["name"]) for job in living):
        return living
    ended = [job for job in jobs if of_chain(job["name"]) and job not in living]
    return sorted(ended, key=lambda job: -job["end-time"])[:1] + living


def job_record(job: Record, answer: Record, now: float) -> Record:
    """One job with its checkpoints. `age_s` is the time since the last completed one, `failing` that one failed since.
    """
    latest, failed = answer["latest"]["completed"], answer["latest"]["failed"]
    return {
        "name": job["name"], "chain": of_chain(job["name"]), "state": job["state"], "uptime_s": job["duration"] / 1e3,
        "checkpoints": answer["counts"]["completed"], "failed": answer["counts"]["failed"],
        "failing": bool(failed) and (not latest or failed["failure_timestamp"] > latest["latest_ack_timestamp"]),
        "age_s": max(0.0, now - latest["latest_ack_timestamp"] / 1e3) if latest else None,
        "took_ms": latest["end_to_end_duration"] if latest else None, "bytes": latest["state_size"] if latest else None,
    }


@dataclass
class Flow:
    """What Kafka knows of the flow; one object for as long as the page is served, because rates span looks."""

    settings: Settings

    def __post_init__(self) -> None:
        self._admin = AdminClient(broker.client(self.settings.kafka.bootstrap))
        self._groups = Groups(self.settings.kafka.bootstrap)
        self._rates = Rates()

    def read(self) -> Found:
        """Look once. Raises UserError or KafkaException where the broker does not answer."""
        broker.check(self.settings.kafka.bootstrap, "web")
        ends = end_offsets(self._admin, (TICKS, DEAD))
        self._rates.sample(ends, time.monotonic())
        shards = {TICKS: schemas.shards()}
        committed = max(self._groups.committed(group, shards) for group in LAST_JOBS)
        newest = {topic: newest_ms(self._admin, {topic: schemas.topics()[topic].partitions}) for topic in ends}
        return Found(flow_record(ends, self._rates.per_second().get(TICKS), committed, newest, time.time()))


def flow_record(ends: Mapping[str, int], rate: float | None, committed: int, newest: Mapping[str, int | None],
                now: float) -> Record:
    """Ticks per second, ticks whose results are not final (None before the first checkpoint), ages in seconds."""
    lag = max(0, ends.get(TICKS, 0) - committed) if committed else None
    ages = {topic: None if ms is None else max(0.0, now - ms / 1e3) for topic, ms in newest.items()}
    return {"ticks": ends.get(TICKS, 0), "ticks_per_s": rate, "lag": lag,
            "lag_s": lag / rate if lag is not None and rate else None, "feed_age_s": ages.get(TICKS),
            "dead_letters": ends.get(DEAD, 0), "dead_letter_age_s": ages.get(DEAD)}


def read_servers(settings: Settings) -> Found:
    """Ask every server at once a question that it can only answer when it works."""
    servers = probes.servers(settings)
    with ThreadPoolExecutor(len(servers)) as pool:
        answers = pool.map(lambda probe: probes.answers(probe, settings), [probe for probe, _ in servers.values()])
        return Found({"servers": dict(zip(servers, answers, strict=True))})
