"""What the live view shows, gathered from Redis, Kafka and Flink in a thread, so that drawing never waits for a server.

Lag is the number of ticks in market.ticks.v1 whose results are not final: end offset less the offset that the job's
group has committed, which Flink does at each completed checkpoint. A healthy chain therefore shows about one
checkpoint interval of ticks. Rates are over the last few seconds.
"""

from __future__ import annotations

import threading
import time
import urllib.error
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

import schemas
from connectors import snapshot
from connectors.offsets import Groups, Rates, end_offsets
from sigmaflow import probes
from sigmaflow.errors import NotRunning
from sigmaflow.probes import get_json
from sigmaflow.settings import Settings, load
from sigmaflow.submit import ENDED

TICKS = "market.ticks.v1"
#: Jobs whose results are final with their offsets in market.ticks.v1: all in one, or the last of six.
LAST_JOBS = ("pipeline", "fills")
EVERY_S = 0.5
#: Readings a rate spans: 6 s.
SAMPLES = 12
#: What is asked, in this order.
SERVERS = ("Flink", "Kafka", "Redis")
#: Seconds that the rates of a single look span.
RATE_S = 1.5


@dataclass(frozen=True)
class Chain:
    """The jobs as Flink's REST interface tells them."""

    names: tuple[str, ...] = ()
    state: str = ""
    """The worst state of the jobs that live."""
    uptime_s: float = 0.0
    checkpoints: int = 0
    failed_checkpoints: int = 0
    last_checkpoint_ms: int | None = None
    checkpoint_bytes: int = 0


@dataclass(frozen=True)
class View:
    """One look at everything; what could not be had is empty and named in `missing`."""

    account: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, int] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    chain: Chain = field(default_factory=Chain)
    lag: int | None = None
    missing: tuple[str, ...] = ()
    at: float = 0.0
    """Wall clock of this look. Unit: s."""

    @property
    def age_s(self) -> float:
        """Age of the account's snapshot. Unit: s."""
        return max(0.0, self.at - self.account.get("updated_ms", self.at * 1e3) / 1e3)

    def tapped(self, topic: str) -> bool:
        """Whether the chain writes an intermediate topic."""
        return self.topics.get(topic, 0) > 0


class Feed:
    """Looks every half second until closed; `view` is the newest look."""

    def __init__(self, settings: Settings, account: str) -> None:
        self.view = View(at=time.time())
        self._settings, self._account = settings, account
        self._admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap, "log_level": 0})
        self._groups = Groups(settings.kafka.bootstrap)
        self._rates = Rates(SAMPLES)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.view = self.look()
            self._stop.wait(EVERY_S)

    def look(self) -> View:
        """Ask every server once."""
        view = View(at=time.time())
        for name, ask in zip(SERVERS, (self._flink, self._kafka, self._redis), strict=True):
            try:
                view = ask(view)
            except (OSError, KafkaException, redis.RedisError, urllib.error.URLError, KeyError, ValueError):
                view = replace(view, missing=(*view.missing, name))
        self._rates.sample(_counts(view), time.monotonic())
        return replace(view, rates=self._rates.per_second())

    def _redis(self, view: View) -> View:
        return replace(view, account=snapshot.read(self._settings.redis.url, self._account) or {})

    def _kafka(self, view: View) -> View:
        topics = end_offsets(self._admin, schemas.topics())
        last = [name.split()[0] for name in view.chain.names if name.split()[0] in LAST_JOBS]
        lag = None
        if last:
            lag = max(0, topics.get(TICKS, 0) - self._groups.committed(last[0], {TICKS: schemas.shards()}))
        return replace(view, topics=topics, lag=lag)

    def _flink(self, view: View) -> View:
        url = self._settings.flink.rest_url
        overview = get_json(f"{url}/jobs/overview")["jobs"]
        living = [job for job in overview if job["state"] not in ENDED and of_chain(job["name"])]
        chain = Chain(
            names=tuple(sorted(job["name"] for job in living)),
            state=min((job["state"] for job in living), key=lambda s: (s == "RUNNING", s), default=""),
            uptime_s=max((job["duration"] / 1e3 for job in living), default=0.0),
        )
        for job in living:
            chain = _with_checkpoints(chain, get_json(f"{url}/jobs/{job['jid']}/checkpoints"))
        return replace(view, chain=chain)


def once(account: str) -> dict[str, Any]:
    """One look at everything, with the rates of a second. Raises NotRunning where no server answers."""
    settings = load()
    if not any(probes.answers(probe, settings) for probe in (probes.flink, probes.kafka, probes.redis)):
        raise NotRunning("dashboard", f"{', '.join(SERVERS)} must answer", "none does", "run make start")
    with Feed(settings, account) as feed:
        time.sleep(RATE_S)
    return asdict(feed.look())


def of_chain(name: str) -> bool:
    """Whether a job is of the chain on its own topics: "pipeline (default)", while a run kept apart adds its namespace.

    >>> of_chain("pipeline (default)"), of_chain("fills (reference) reference-1a1f")
    (True, False)
    """
    return name.endswith(")")


def _with_checkpoints(chain: Chain, answer: dict[str, Any]) -> Chain:
    """Add one job's checkpoints: counts and sizes add up, of durations the longest is kept."""
    latest = answer["latest"]["completed"] or {}
    took = latest.get("end_to_end_duration")
    return replace(
        chain,
        checkpoints=chain.checkpoints + answer["counts"]["completed"],
        failed_checkpoints=chain.failed_checkpoints + answer["counts"]["failed"],
        last_checkpoint_ms=max((t for t in (took, chain.last_checkpoint_ms) if t is not None), default=None),
        checkpoint_bytes=chain.checkpoint_bytes + latest.get("state_size", 0),
    )


def _counts(view: View) -> dict[str, float]:
    """Return every count whose speed is shown: topics by their name, the account's by theirs."""
    own = {name: float(view.account[name]) for name in ("account_seq", "intents", "orders", "fills")
           if name in view.account}
    return {name: float(n) for name, n in view.topics.items()} | own
