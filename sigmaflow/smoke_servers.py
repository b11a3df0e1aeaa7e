"""What the smoke test asks of each server: to do once, with a thing of its own, what the chain will ask of it."""

from __future__ import annotations

import subprocess
import time
import urllib.parse
from collections.abc import Callable
from importlib.metadata import version

from sigmaflow import jars, probes, programs
from sigmaflow.errors import UserError
from sigmaflow.smoke_chain import Bench

TIMEOUT_S = 15.0
SUBJECT = "sigmaflow.smoke-value"
KEY = "sigmaflow:smoke"


def prerequisites(bench: Bench) -> str:
    """Python packages, Java and jars of the settings' versions."""
    s = bench.settings
    flink = version("apache-flink")
    if flink != s.versions.flink:
        raise UserError("prerequisites", f"apache-flink must be {s.versions.flink}", f"it is {flink}", "run make start")
    java = subprocess.run([f"{programs.java_home(s)}/bin/java", "-version"], capture_output=True, text=True, check=True)
    found = java.stderr.splitlines()[0].split('"')[1]
    if found.split(".")[0] != s.versions.java:
        raise UserError("prerequisites", f"Java must be {s.versions.java}", f"it is {found}", "run make start")
    missing = jars.missing(s)
    if missing:
        raise UserError("prerequisites", "every jar of docker/jars.lock must be in the cache",
                        f"{len(missing)} are not, {missing[0].file_name} first", "run make start")
    return f"Python {s.versions.python}, Java {found}, Flink {flink}, {len(jars.read_lock())} jars"


def kafka(bench: Bench) -> str:
    """Write one aborted and one committed transaction to a topic; a reader of committed records sees the second."""
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic

    from connectors import broker

    bootstrap, name = bench.settings.kafka.bootstrap, f"smoke.{time.time_ns():x}"
    broker.check(bootstrap, "kafka")
    admin = AdminClient(broker.client(bootstrap))
    admin.create_topics([NewTopic(name, 1, 1)], operation_timeout=TIMEOUT_S)[name].result(TIMEOUT_S)
    try:
        producer = Producer(broker.client(bootstrap) | {"transactional.id": name})
        producer.init_transactions(TIMEOUT_S)
        for value, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
            producer.begin_transaction()
            producer.produce(name, value)
            producer.flush(TIMEOUT_S)
            end(TIMEOUT_S)
        reader = Consumer(broker.client(bootstrap) | {"group.id": name, "isolation.level": "read_committed"})
        reader.assign([TopicPartition(name, 0, 0)])
        message = reader.poll(TIMEOUT_S)
        seen = message and message.value()
        reader.close()
    finally:
        admin.delete_topics([name], operation_timeout=TIMEOUT_S)[name].result(TIMEOUT_S)
    if seen != b"committed":
        raise UserError("kafka", "a reader must see the committed message alone", f"it saw {seen!r}", "run make logs")
    return f"{bootstrap}: a transaction committed and read, an aborted one unseen"


def registry(bench: Bench) -> str:
    """Register, look up, and have an incompatible schema refused, under a subject of the test's own."""
    import json

    import schemas
    from connectors.registry import Registry, RegistryError
    from connectors.topics import COMPATIBILITY

    client = Registry(bench.settings.registry.url)
    client.set_compatibility(COMPATIBILITY)
    number = client.register(SUBJECT, schemas.text("tick"))
    if client.find(SUBJECT, schemas.text("tick")) != number or client.schema(number)["name"] != "Tick":
        raise UserError("registry", f"schema {number} must be found again", "another one is", "run make restart")
    broken = schemas.load("tick") | {"fields": schemas.load("tick")["fields"] + [{"name": "new", "type": "long"}]}
    try:
        client.register(SUBJECT, json.dumps(broken))
    except RegistryError as error:
        if error.status == 409:
            return f"{client.url}: a schema registered and found, an incompatible one refused"
        raise
    raise UserError("registry", "a new field without a default must be refused", "it was accepted",
                    f"set the compatibility to {COMPATIBILITY}: make setup-topics")


def topics(bench: Bench) -> str:
    """Create what is missing, align the rest, register all schemas."""
    from connectors.topics import setup

    return f"{len(setup(bench.settings, quiet=True))} topics with their schemas"


def redis(bench: Bench) -> str:
    """Set, get, delete."""
    from redis import Redis

    with Redis.from_url(bench.settings.redis.url, socket_timeout=2) as client:
        value = str(time.time_ns())
        client.set(KEY, value, ex=60)
        found = client.get(KEY)
        client.delete(KEY)
    if found != value.encode():
        raise UserError("redis", f"{KEY} must be {value}", f"it is {found!r}", "run make restart")
    return f"{bench.settings.redis.url}: set, got, deleted"


def questdb(bench: Bench) -> str:
    """Write the same row twice into a table that deduplicates; one comes back."""
    from connectors.questdb import QuestDB, Table

    client = QuestDB(bench.settings.questdb.http_url)
    table = Table("smoke", {"account": "SYMBOL", "account_seq": "LONG", "equity": "DOUBLE"}, ("account", "account_seq"))
    client.query(f"DROP TABLE IF EXISTS {table.name}")
    client.query(table.ddl)
    line = table.line({"account": "smoke", "account_seq": 1, "equity": 1.5, "ts_order": time.time_ns()})
    client.write([line, line])
    client.write([line])
    _until("the row to be seen", lambda: client.query(f"SELECT equity FROM {table.name}") == [[1.5]])
    client.query(f"DROP TABLE {table.name}")
    return f"{bench.settings.questdb.http_url}: a row written three times, read back once"


def metrics(bench: Bench) -> str:
    """The results process serves its figures."""
    s = bench.settings
    _until("the results process to serve metrics", lambda: "sigmaflow_" in probes.own_metrics(s), UserError)
    lines = [line for line in probes.own_metrics(s).splitlines() if line.startswith("sigmaflow_")]
    return f"{s.metrics.url}: {len(lines)} series"


def page(bench: Bench) -> str:
    """The web page is served whole, and each of its parts can be had."""
    s = bench.settings
    _until("the web page to answer", lambda: probes.web(s), OSError)
    parts = probes.get_json(f"{s.web.url}/api")["parts"]
    silent = [answer["error"] for part in parts
              if (answer := probes.get_json(f"{s.web.url}/api/{part['part']}", TIMEOUT_S))["error"]]
    if silent:
        raise UserError("page", "every part must be had", "; ".join(silent), "run make start")
    return f"{s.web.url}: {len(parts)} parts, each with its data"


def prometheus(bench: Bench) -> str:
    """Prometheus has read the results process's and Flink's figures."""
    url = f"{bench.settings.prometheus.url}/api/v1/query?" + urllib.parse.urlencode({"query": "up"})

    def up() -> set[str]:
        rows = probes.get_json(url)["data"]["result"]
        return {row["metric"]["job"] for row in rows if row["value"][1] == "1"}

    _until("targets sigmaflow and flink to be read", lambda: {"sigmaflow", "flink"} <= up())
    return f"{bench.settings.prometheus.url}: reads {', '.join(sorted(up()))}"


def _until(what: str, check: Callable[[], bool], *tries_again: type[Exception]) -> None:
    """Wait until `check()` is true; TimeoutError says what for."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            if check():
                return
        except tries_again:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {TIMEOUT_S:.0f} s for {what}")
        time.sleep(0.2)
