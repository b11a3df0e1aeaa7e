"""Latest state of the account in Redis for the live view and the web page: `sigmaflow:account:<account>` is a hash of
its figures, `sigmaflow:decisions:<account>` one of its last decisions.

Redis holds nothing that is not in Kafka; when it is away the snapshot is skipped and the miss is counted.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from connectors.metrics import Row, Totals

TIMEOUT_S = 1.0
LAST_FILLS = 12
#: Points of the equity curve kept for the live view; twice the columns of a wide terminal.
CURVE_POINTS = 400
#: Intents remembered to give a fill its reasons: several seconds' worth, far more than an order lives.
REMEMBERED_INTENTS = 20_000
#: Decisions published: the last that asked for an order, and the newest of so many instruments. A chain makes thousands
#: a second, nearly all of them "the score is too small": only these are decoded whole.
LAST_JUDGED = 40
LAST_INSTRUMENTS = 12
#: Fields of a decision that are published; its gates come as [gate, passed, value, limit].
TOLD = ("account_seq", "venue", "symbol", "ts_order", "decision_id", "order_id", "strategy", "config_digest",
        "model_digest", "mid", "spread", "score", "mu", "sigma", "cvar_975", "target_notional", "order_quantity",
        "order_limit", "position", "state", "state_cause", "binding_constraint", "top_alpha", "failed_gate")
PLAIN = ("account_seq", "ts_order", "equity", "peak_equity", "cash", "drawdown", "gross", "net", "account_cvar_975",
         "state", "state_cause", "orders", "fills")  # fmt: skip


def key(account: str) -> str:
    """Return the Redis key of an account's hash."""
    return f"sigmaflow:account:{account}"


def decisions_key(account: str) -> str:
    """Return the Redis key of an account's last decisions."""
    return f"sigmaflow:decisions:{account}"


@dataclass
class Curve:
    """The whole equity curve in few points: when it is full, every second point goes and the stride doubles.

    >>> curve = Curve(limit=4)
    >>> for value in range(9):
    ...     curve.add(float(value))
    >>> curve.points
    [0.0, 4.0, 8.0]
    """

    limit: int = CURVE_POINTS
    points: list[float] = field(default_factory=list)
    _stride: int = 1
    _seen: int = 0

    def add(self, value: float) -> None:
        """Take the next mark."""
        if self._seen % self._stride == 0:
            self.points.append(value)
        self._seen += 1
        if len(self.points) > self.limit:
            self.points = self.points[::2]
            self._stride *= 2


@dataclass
class Recent:
    """What the live view shows of the recent past of one account."""

    curve: Curve = field(default_factory=Curve)
    fills: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LAST_FILLS))
    intents: dict[int, Row] = field(default_factory=dict)
    judged: deque[bytes] = field(default_factory=lambda: deque(maxlen=LAST_JUDGED))
    """Messages of the last decisions with an intent: those that the ledger's gates judged."""
    newest: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    """Message of the newest decision of each venue and symbol, the one decided last at the end."""

    def decided(self, instrument: tuple[bytes, bytes], judged: bool, message: bytes) -> None:
        """Keep a decision's message, undecoded."""
        self.newest.pop(instrument, None)
        self.newest[instrument] = message
        if judged:
            self.judged.append(message)

    def intent(self, row: Row) -> None:
        """Remember why a target was asked for."""
        self.intents[row["intent_id"]] = row
        while len(self.intents) > REMEMBERED_INTENTS:
            del self.intents[next(iter(self.intents))]

    def fill(self, row: Row) -> None:
        """Take a fill and join it with its intent's reasons, where that was seen."""
        why = self.intents.get(row["intent_id"], {})
        names = ("ts_event", "symbol", "side", "quantity", "price", "fee", "realized_pnl", "top_alpha")
        reasons = {name: why.get(name, "") for name in ("binding_constraint", "reasons")}
        self.fills.append({name: row[name] for name in names} | reasons)


class Publisher:
    """Writes the snapshot; a Redis that does not answer costs one counted miss a time, and nothing else."""

    def __init__(self, url: str, totals: Totals) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._totals = totals

    def publish(self, recent: Mapping[str, Recent], rates: Mapping[str, float]) -> bool:
        """Write every account's hash; False where Redis did not take it."""
        try:
            for account, past in recent.items():
                if account in self._totals.accounts:
                    self._redis.hset(key(account), mapping=snapshot(self._totals, account, past, rates))
            return True
        except redis.RedisError:
            self._totals.errors["redis"] += 1
            return False


    def decisions(self, account: str, fresh: Mapping[str, Sequence[Row]]) -> bool:
        """Write an account's last decisions, `judged` or `newest` or both; False where Redis did not take them."""
        try:
            self._redis.hset(decisions_key(account), mapping={
                kind: json.dumps([told(row) for row in rows]) for kind, rows in fresh.items()})
            return True
        except redis.RedisError:
            self._totals.errors["redis"] += 1
            return False


def told(decision: Row) -> dict[str, Any]:
    """Return the published fields of a decision."""
    gates = [[gate["gate"], gate["passed"], gate["value"], gate["limit"]] for gate in decision["gates"]]
    return {name: decision[name] for name in TOLD} | {"gates": gates}


def snapshot(totals: Totals, account: str, recent: Recent, rates: Mapping[str, float]) -> dict[str, str | int | float]:
    """Return the hash's fields: numbers as they are, everything with a structure as JSON."""
    row = totals.accounts[account]
    positions = [
        {"symbol": symbol, "position": p["position"], "mid": p["mid"], "value": p["position"] * p["mid"],
         "pnl": p["symbol_pnl"]}
        for (owner, symbol), p in sorted(totals.positions.items()) if owner == account
    ]  # fmt: skip
    plain: dict[str, str | int | float] = {name: row[name] for name in PLAIN}
    verdicts = {verdict: count for (owner, verdict), count in totals.decisions.items() if owner == account}
    return plain | {
        "intents": totals.intents.get(account, 0),
        "positions": json.dumps(positions),
        "last_fills": json.dumps(list(recent.fills)),
        "curve": json.dumps(recent.curve.points),
        "verdicts": json.dumps(verdicts),
        "rejected": json.dumps(totals.rejected),
        "lag": sum(totals.lag.values()),
        "ticks_per_second": round(rates.get("market.ticks.v1", 0.0), 1),
        "updated_ms": int(time.time() * 1000),
    }


def read_decisions(url: str, account: str) -> dict[str, list[dict[str, Any]]] | None:
    """Return the account's last decisions, `judged` and `newest`, each newest first; None where there are none.

    Raises redis.RedisError where Redis does not answer.
    """
    return _read(url, decisions_key(account))


def read(url: str, account: str) -> dict[str, Any] | None:
    """Return the account's snapshot with its numbers and structures parsed, None where there is none.

    Raises redis.RedisError where Redis does not answer.
    """
    return _read(url, key(account))


def _read(url: str, name: str) -> dict[str, Any] | None:
    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True
    )
    raw: dict[str, str] = client.hgetall(name)
    client.close()
    return {name: _parse(value) for name, value in raw.items()} if raw else None


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
