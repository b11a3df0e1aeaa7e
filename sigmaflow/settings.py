"""Settings of the stack: one file (docker/stack.toml), a few environment variables, one typed object.

    from sigmaflow.settings import load
    s = load()
    s.kafka.bootstrap, s.registry.url, s.flink.rest_url, s.questdb.pg_dsn, s.redis.url, s.data_dir

Environment: SIGMAFLOW_PORT_OFFSET is added to every port of the file, SIGMAFLOW_DATA_DIR, SIGMAFLOW_CACHE_DIR and
SIGMAFLOW_MODEL_DIR name folders, and SIGMAFLOW_<PART>_<KEY> (SIGMAFLOW_KAFKA_HOST=kafka) replaces one value, as the
compose file does.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from sigmaflow.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
STACK_FILE = ROOT / "docker" / "stack.toml"

Port = Annotated[int, Field(ge=1, le=65535)]
HOST = "127.0.0.1"


class Part(BaseModel):
    """Settings of one part; unknown keys are refused so that a typing error cannot pass unseen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Versions(Part):
    """Versions of what the stack runs; image and compose carry the same."""

    python: str = Field(description="Python of everything.")
    java: str = Field(description="Java of Flink, Kafka and the registry; a package brings it.")
    flink: str = Field(description="Apache Flink and PyFlink.")
    flink_kafka: str = Field(description="org.apache.flink:flink-sql-connector-kafka.")
    kafka: str = Field(description="Apache Kafka.")
    registry: str = Field(description="Apicurio Registry.")
    questdb: str = Field(description="QuestDB.")
    redis: str = Field(description="Redis.")
    log4j: str = Field(description="Log4j of the Kafka broker.")
    prometheus: str = Field(description="Compose image; the local stack runs whatever is on PATH.")
    grafana: str = Field(description="Compose only.")
    alertmanager: str = Field(description="Compose only.")


class Kafka(Part):
    """One broker in KRaft mode."""

    host: str = Field(HOST, description="Where the broker is.")
    port: Port = Field(description="Of the clients.")
    controller_port: Port = Field(description="Of the KRaft controller.")
    heap_mb: int = Field(ge=256, description="Java heap, MB.")

    @property
    def bootstrap(self) -> str:
        """Address for clients, host:port."""
        return f"{self.host}:{self.port}"


class Registry(Part):
    """Apicurio Registry, spoken to through its Confluent-compatible interface."""

    host: str = Field(HOST, description="Where the registry is.")
    port: Port = Field(description="Of its Confluent-compatible API and its page.")
    management_port: Port = Field(description="Of its health and metrics.")
    heap_mb: int = Field(ge=128, description="Java heap, MB.")

    @property
    def url(self) -> str:
        """Base of the Confluent-compatible interface, version 7."""
        return f"http://{self.host}:{self.port}/apis/ccompat/v7"

    @property
    def ui_url(self) -> str:
        """Root address, for people."""
        return f"http://{self.host}:{self.port}"


class Flink(Part):
    """A standalone cluster: one JobManager and its TaskManagers."""

    host: str = Field(HOST, description="Where the JobManager is.")
    rest_port: Port = Field(description="Web UI and REST.")
    rpc_port: Port = Field(description="Of the JobManager's RPC.")
    blob_port: Port = Field(description="Of the jobs' files.")
    taskmanagers: int = Field(
        ge=1, le=9, description="One for each core: thread-mode Python has one interpreter lock per TaskManager.")
    taskmanager_rpc_port: Port = Field(description="And the next ports, one for each TaskManager.")
    metrics_port: Port = Field(
        description="And the next ports: JobManager and TaskManagers take the first that is free.")
    jobmanager_memory_mb: int = Field(ge=700, description="Whole process, MB.")
    taskmanager_memory_mb: int = Field(ge=1000, description="Whole process, thread-mode Python included, MB.")
    parallelism: int = Field(ge=1, description="Slots a job uses where -p does not say.")

    @property
    def rest_url(self) -> str:
        """REST interface and web UI."""
        return f"http://{self.host}:{self.rest_port}"


class ZooKeeper(Part):
    """ZooKeeper, where Flink's JobManager keeps which jobs run and their newest checkpoints (high availability)."""

    host: str = Field(HOST, description="Where it is.")
    port: Port = Field(description="Of the clients.")
    heap_mb: int = Field(ge=32, description="Java heap, MB.")

    @property
    def quorum(self) -> str:
        """Address for clients, host:port."""
        return f"{self.host}:{self.port}"


class QuestDB(Part):
    """QuestDB: web console and REST, PostgreSQL wire, line protocol."""

    host: str = Field(HOST, description="Where it is.")
    http_port: Port = Field(description="Web console and REST.")
    pg_port: Port = Field(description="PostgreSQL wire.")
    ilp_port: Port = Field(description="Line protocol.")
    heap_mb: int = Field(ge=128, description="Java heap, MB.")
    user: str = Field("admin", description="Of the PostgreSQL wire.")
    password: SecretStr = Field(SecretStr("quest"), description="Of that user; never printed.")

    @property
    def http_url(self) -> str:
        """Web console and REST."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def pg_dsn(self) -> str:
        """PostgreSQL address with the password in it: never print it."""
        return f"postgresql://{self.user}:{self.password.get_secret_value()}@{self.host}:{self.pg_port}/qdb"


class Served(Part):
    """A server that has one port, and one address for its clients."""

    ADDRESS: ClassVar[str] = "http://{host}:{port}"

    host: str = Field(HOST, description="Where it is.")
    port: Port

    @property
    def url(self) -> str:
        """Address for clients."""
        return self.ADDRESS.format(host=self.host, port=self.port)


class Redis(Served):
    """Redis; database 0."""

    ADDRESS = "redis://{host}:{port}/0"

    port: Port = Field(description="Of the clients.")


class Prometheus(Part):
    """Prometheus; in the local stack only where the system has it."""

    host: str = Field(HOST, description="Where it is.")
    port: Port = Field(description="Page and API.")
    scrape_s: float = Field(ge=0.1, le=60, description="Seconds between two readings of every metric.")
    alert_pace: float = Field(gt=0, le=1, description="Factor of every duration of the rules; below 1 to try one out.")
    alertmanager: str = Field("", pattern=r"^([\w.-]+:\d+)?$", description="HOST:PORT that is told; empty for nobody.")

    @property
    def executable(self) -> str | None:
        """Path of the server, None where it is not installed."""
        return shutil.which("prometheus")

    @property
    def base_url(self) -> str:
        """Address, whoever runs it."""
        return f"http://{self.host}:{self.port}"

    @property
    def url(self) -> str | None:
        """Address, None where it is not installed."""
        return self.base_url if self.executable else None


class Metrics(Served):
    """Our own Prometheus exporter, served by the results process."""

    ADDRESS = "http://{host}:{port}/metrics"

    host: str = Field(HOST, description="Where the exporter listens.")
    port: Port = Field(
        description="Of the exposition text; the venues' feeds and then the commands of slow data take the next ports.")


class Web(Part):
    """The live web page: read only, without a password, so on this machine unless `host` says otherwise."""

    host: str = Field(HOST, description="Where it listens; it asks for no password.")
    port: Port = Field(description="Of the page.")

    @property
    def url(self) -> str:
        """Address of the page; on this machine where it listens on every address."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"


class Grafana(Part):
    """Grafana; compose only."""

    port: Port = Field(description="Of the page.")


class Alertmanager(Part):
    """Alertmanager; compose only. The local stack's Prometheus tells the one of `prometheus.alertmanager`."""

    port: Port = Field(description="Page and API.")


class Paths(Part):
    """Where state is kept."""

    data_dir: str = Field(description="State of one stack; relative to the project.")
    cache_dir: str = Field(description="Jars, shared by all stacks of this user.")
    model_dir: str = Field("", description="Trained models; `models` below the data where empty.")


class Settings(Part):
    """Everything the project needs to know about its surroundings."""

    root: Path = ROOT
    data_dir: Path
    cache_dir: Path
    models: Path | None = None
    port_offset: int = Field(ge=0, le=50000)
    python: Path
    versions: Versions
    kafka: Kafka
    registry: Registry
    flink: Flink
    zookeeper: ZooKeeper
    questdb: QuestDB
    redis: Redis
    prometheus: Prometheus
    metrics: Metrics
    web: Web
    grafana: Grafana
    alertmanager: Alertmanager

    @property
    def checkpoint_dir(self) -> Path:
        """Where Flink keeps checkpoints."""
        return self.data_dir / "flink" / "checkpoints"

    @property
    def savepoint_dir(self) -> Path:
        """Where Flink keeps savepoints."""
        return self.data_dir / "flink" / "savepoints"

    @property
    def model_dir(self) -> Path:
        """Where trained models are kept, one folder each: paths.model_dir, or `models` below the data."""
        return self.models or self.data_dir / "models"

    @property
    def numba_dir(self) -> Path:
        """Compiled kernels, shared by all stacks of this project: numba checks them against their source."""
        return self.root / "build" / "numba"

    @property
    def log_dir(self) -> Path:
        """One log file a program."""
        return self.data_dir / "logs"

    def ports(self) -> dict[str, int]:
        """Every port of the local stack by its setting's name, offset included."""
        named = {
            f"{part}.{key}": value
            for part in ("kafka", "registry", "flink", "zookeeper", "questdb", "redis", "prometheus", "metrics", "web")
            for key, value in getattr(self, part).model_dump().items()
            if key == "port" or key.endswith("_port")
        }
        for i in range(1, self.flink.taskmanagers + 1):
            named[f"flink.metrics_port + {i}"] = self.flink.metrics_port + i
            if i < self.flink.taskmanagers:
                named[f"flink.taskmanager_rpc_port + {i}"] = self.flink.taskmanager_rpc_port + i
        if self.prometheus.executable is None:
            named.pop("prometheus.port")
        return named


def load(file: Path | None = None, environ: dict[str, str] | None = None) -> Settings:
    """Read the settings file and the environment.

    Raises UserError naming the file, the key and the rule when a value is bad.
    """
    path = file or STACK_FILE
    env = dict(os.environ) if environ is None else environ
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError("settings", f"{path} must exist", "it does not", "restore it from git") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError("settings", f"{path} must be TOML", str(error), "correct that line") from None
    offset = _offset(env)
    try:
        paths = Paths(**raw.pop("paths", {}))
        for name, part in raw.items():
            for key, value in part.items():
                if isinstance(value, int) and (key == "port" or key.endswith("_port")):
                    part[key] = value + offset
                # Taken as it is, without the offset: for what another machine or container serves.
                part[key] = env.get(f"SIGMAFLOW_{name}_{key}".upper()) or part[key]
        data_dir = Path(env.get("SIGMAFLOW_DATA_DIR") or paths.data_dir).expanduser()
        cache_dir = Path(env.get("SIGMAFLOW_CACHE_DIR") or paths.cache_dir).expanduser()
        model_dir = env.get("SIGMAFLOW_MODEL_DIR") or paths.model_dir
        return Settings(
            data_dir=_plain("paths.data_dir or SIGMAFLOW_DATA_DIR", ROOT / data_dir),
            cache_dir=_plain("paths.cache_dir or SIGMAFLOW_CACHE_DIR", ROOT / cache_dir),
            models=(ROOT / Path(model_dir).expanduser()).absolute() if model_dir else None,
            port_offset=offset,
            python=_python(),
            **raw,
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        found = f"{first['msg'][0].lower()}{first['msg'][1:]} (found {first.get('input')!r})"
        raise UserError("settings", f"{key} in {path} must be valid", found, "correct that value") from None


def rows(dumped: Mapping[str, Any]) -> list[dict[str, str]]:
    """Settings as a table's rows, by the name that the file has for each.

    >>> rows({"kafka": {"port": 9092}, "port_offset": 0})
    [{'setting': 'kafka.port', 'value': '9092'}, {'setting': 'port_offset', 'value': '0'}]
    """
    flat = ((f"{part}.{key}", value) if key else (part, value) for part, held in dumped.items()
            for key, value in (held.items() if isinstance(held, Mapping) else [("", held)]))
    return [{"setting": name, "value": str(value)} for name, value in flat]


def _offset(env: dict[str, str]) -> int:
    text = env.get("SIGMAFLOW_PORT_OFFSET") or "0"
    if not text.isdigit() or int(text) > 50000:
        raise UserError(
            "settings", "SIGMAFLOW_PORT_OFFSET must be a whole number from 0 to 50000", f"it is {text!r}", "unset it"
        )
    return int(text)


def _plain(name: str, path: Path) -> Path:
    """The absolute path; start scripts of Java programs break at a blank or a quote in it."""
    if not re.fullmatch(r"[\w./+@=-]+", str(path.absolute())):
        raise UserError("settings", f"{name} must be of letters, digits and . _ - + @ =", f"it is {str(path)!r}",
                        "choose another folder")
    return path.absolute()


def _python() -> Path:
    """Python of the project's environment; the running one where the project has none (image, CI)."""
    own = ROOT / ".venv" / "bin" / "python"
    return own if own.exists() else Path(sys.executable)
