"""Whether each part of the stack really answers: a running process is not yet a server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

from sigmaflow.errors import NotRunning
from sigmaflow.settings import Settings


def get_json(url: str, timeout: float = 3) -> Any:
    """Parsed answer of a GET."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.load(answer)


def kafka(settings: Settings) -> bool:
    """The broker lists its topics."""
    import socket

    with socket.create_connection((settings.kafka.host, settings.kafka.port), timeout=1):
        pass
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": settings.kafka.bootstrap, "log_level": 0, "socket.timeout.ms": 3000})
    return bool(client.list_topics(timeout=3).brokers)


def registry(settings: Settings) -> bool:
    """The registry lists its subjects."""
    return isinstance(get_json(f"{settings.registry.url}/subjects"), list)


def flink(settings: Settings) -> bool:
    """The JobManager sees every TaskManager."""
    return bool(get_json(f"{settings.flink.rest_url}/overview")["taskmanagers"] >= settings.flink.taskmanagers)


def zookeeper(settings: Settings) -> bool:
    """The server tells about itself."""
    import socket

    with socket.create_connection((settings.zookeeper.host, settings.zookeeper.port), timeout=1) as line:
        line.sendall(b"srvr")
        return b"Mode:" in line.recv(4_096)


def questdb(settings: Settings) -> bool:
    """A query answers."""
    return bool(get_json(f"{settings.questdb.http_url}/exec?query=select%201")["count"] == 1)


def redis(settings: Settings) -> bool:
    """PING answers."""
    from redis import Redis

    with Redis.from_url(settings.redis.url, socket_timeout=2) as client:
        return bool(client.ping())


def prometheus(settings: Settings) -> bool:
    """Prometheus says it is ready."""
    with urllib.request.urlopen(f"{settings.prometheus.url}/-/ready", timeout=2) as answer:
        return bool(answer.status == 200)


def web(settings: Settings) -> bool:
    """The web page lists its parts."""
    return bool(get_json(f"{settings.web.url}/api")["parts"])


def servers(settings: Settings) -> dict[str, tuple[Callable[[Settings], bool], list[str]]]:
    """Label of each server: its probe and the programs it consists of."""
    managers = [f"taskmanager-{i}" for i in range(1, settings.flink.taskmanagers + 1)]
    found: dict[str, tuple[Callable[[Settings], bool], list[str]]] = {
        "Kafka": (kafka, ["kafka"]),
        "Schema registry": (registry, ["registry"]),
        "ZooKeeper": (zookeeper, ["zookeeper"]),
        "Flink": (flink, ["jobmanager", *managers]),
        "QuestDB": (questdb, ["questdb"]),
        "Redis": (redis, ["redis"]),
    }
    if settings.prometheus.executable:
        found["Prometheus"] = (prometheus, ["prometheus"])
    return found


def answers(probe: Callable[[Settings], bool], settings: Settings) -> bool:
    """Run a probe; any failure to connect or parse means not yet."""
    try:
        return probe(settings)
    except Exception:
        return False


def own_metrics(settings: Settings) -> str:
    """Exposition text of the results process.

    Raises NotRunning when it does not answer.
    """
    try:
        with urllib.request.urlopen(settings.metrics.url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        raise NotRunning("metrics", f"{settings.metrics.url} must answer", "it does not", "run make start") from None
