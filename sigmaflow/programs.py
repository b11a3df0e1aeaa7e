"""The programs of the local stack: for each one its files, its start script and its environment.

Every program is started by a generated script `<data_dir>/bin/<name>`, so that what runs can be read and rerun by hand.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from sigmaflow import jars, launch
from sigmaflow.installed import flink_home, java_home, site_packages
from sigmaflow.monitoring import rules
from sigmaflow.settings import Settings

# Carried by every process of a stack: `stop` finds what is left over by it.
MARKER = "SIGMAFLOW_STACK"
VENUE_PORTS = 5
"""Ports of live venues' metrics, behind that of the results: one for each of connectors/venues/command.py."""
SLOW_PORTS = 6
"""Ports of slow data's metrics, behind those: one for each of connectors/slow/command.py."""


@dataclass(frozen=True)
class Program:
    """One supervised program.

    `autostart` is False for what may only run once the chain does.
    """

    name: str
    label: str
    command: list[str]
    environment: dict[str, str]
    prepare: str = ""
    autostart: bool = True
    stop_wait_s: int = 15


def base_environment(settings: Settings) -> dict[str, str]:
    """What every program of the stack, and the flink client, needs."""
    java = java_home(settings)
    return {
        "PATH": f"{settings.python.parent}:{java}/bin:/usr/local/bin:/usr/bin:/bin",
        "JAVA_HOME": str(java),
        # Thread-mode Python reads no activation script and no .pth file: both paths must be named.
        "PYTHONPATH": f"{settings.root}:{site_packages(settings)}",
        "PYTHONUNBUFFERED": "1",
        "NUMBA_CACHE_DIR": str(settings.numba_dir),
        # Emptied at every start: a killed JVM leaves its unpacked native libraries behind.
        "TMPDIR": str(settings.data_dir / "tmp"),
        "SIGMAFLOW_DATA_DIR": str(settings.data_dir),
        "SIGMAFLOW_PORT_OFFSET": str(settings.port_offset),
        # glibc keeps an arena a thread otherwise: hundreds of MB in a JVM for nothing.
        "MALLOC_ARENA_MAX": "2",
    }


def flink_environment(settings: Settings, name: str = "client") -> dict[str, str]:
    """Environment of the JobManager, the TaskManagers and the client."""
    data = settings.data_dir
    return base_environment(settings) | {
        "FLINK_HOME": str(flink_home(settings)),
        "FLINK_CONF_DIR": str(data / "flink" / "conf"),
        "FLINK_LIB_DIR": str(data / "flink" / "lib"),
        "FLINK_PLUGINS_DIR": str(flink_home(settings) / "plugins"),
        "FLINK_OPT_DIR": str(flink_home(settings) / "opt"),
        "FLINK_LOG_DIR": str(settings.log_dir / "flink"),
        "FLINK_PID_DIR": str(data / "flink" / "pid"),
        "FLINK_IDENT_STRING": name,
        # One thread each: the maths runs in numba and the machine is shared with everything else.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def programs(settings: Settings) -> list[Program]:
    """All programs, in the order in which they are shown."""
    parts = [_kafka(settings), _registry(settings), _zookeeper(settings), *_flink(settings), _questdb(settings),
             _redis(settings)]
    if settings.prometheus.executable:
        parts.append(_prometheus(settings, settings.prometheus.executable))
    return parts + _edges(settings)


def _java(settings: Settings, heap_mb: int, *options: str) -> list[str]:
    return [*_any_java(settings, heap_mb), "-XX:+UseSerialGC", *options]


def _any_java(settings: Settings, heap_mb: int) -> list[str]:
    return [f"{java_home(settings)}/bin/java", f"-Xmx{heap_mb}m", f"-Djava.io.tmpdir={settings.data_dir}/tmp"]


def _kafka(settings: Settings) -> Program:
    home = settings.data_dir / "kafka"
    class_path = ":".join(str(path) for path in jars.paths(settings, "kafka"))
    log4j = f"-Dlog4j2.configurationFile={home}/log4j2.properties"
    # The broker's work is part of every latency: cheaper write barriers than G1, which Kafka's own scripts choose.
    java = [*_any_java(settings, settings.kafka.heap_mb), "-XX:+UseParallelGC", log4j,
            "-cp", class_path]
    tool = [java[0], "-XX:TieredStopAtLevel=1", *java[1:], "kafka.tools.StorageTool"]
    format_once = shlex.join([*tool, "format", "--standalone", "--ignore-formatted", "-t", _cluster_id(home),
                              "-c", f"{home}/server.properties"])
    return Program(
        "kafka",
        "Kafka",
        [*java, "kafka.Kafka", f"{home}/server.properties"],
        base_environment(settings),
        prepare=f"[ -f {home}/logs/meta.properties ] || {format_once} || exit 1",
        stop_wait_s=30,
    )


def _cluster_id(home: Path) -> str:
    file = home / "cluster.id"
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True)
        text = "-"
        while text.startswith("-"):  # would be read as an option
            text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        file.write_text(text)
    return file.read_text().strip()


def _registry(settings: Settings) -> Program:
    r = settings.registry
    options = {
        "quarkus.http.host": r.host,
        "quarkus.http.port": r.port,
        "quarkus.management.port": r.management_port,
        "quarkus.management.host": r.host,
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        "apicurio.datasource.url": f"jdbc:h2:file:{settings.data_dir}/registry/registry",
        "apicurio.datasource.jdbc.initial-size": 2,
        "apicurio.datasource.jdbc.min-size": 2,
        "apicurio.datasource.jdbc.max-size": 20,
    }
    defines = [f"-D{key}={value}" for key, value in options.items()]
    # Tier one only: the registry answers a few requests at start; full compilation would steal the others' seconds.
    command = _java(settings, r.heap_mb, "-XX:TieredStopAtLevel=1", *defines)
    return Program(
        "registry",
        "Schema registry",
        [*command, "-jar", str(_quarkus(settings))],
        base_environment(settings),
    )


def _quarkus(settings: Settings) -> Path:
    home = jars.registry_home(settings)
    return next(home.rglob("quarkus-run.jar"))


def _flink(settings: Settings) -> list[Program]:
    def program(kind: str, name: str, label: str, extra: list[str]) -> Program:
        return Program(name, label, launch.command(settings, kind, name, extra), flink_environment(settings, name))

    managers = [
        # A fixed identity: a TaskManager that comes back is known to be the same one.
        program("taskmanager", f"taskmanager-{i}", f"Flink TaskManager {i}",
                [f"-Dtaskmanager.resource-id=taskmanager-{i}"])
        for i in range(1, settings.flink.taskmanagers + 1)
    ]
    return [program("jobmanager", "jobmanager", "Flink JobManager", []), *managers]


def _zookeeper(settings: Settings) -> Program:
    """The ZooKeeper server that Flink carries, in one process of its own."""
    command = _java(settings, settings.zookeeper.heap_mb, "-XX:TieredStopAtLevel=1",
                    "-Dzookeeper.admin.enableServer=false",
                    "-cp", launch.class_path(settings.data_dir / "flink" / "lib"),
                    "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer",
                    "--zkConfigFile", f"{settings.data_dir}/zookeeper/zoo.cfg", "--peerId", "1")
    return Program("zookeeper", "ZooKeeper", command, base_environment(settings))


def _questdb(settings: Settings) -> Program:
    (jar,) = jars.paths(settings, "questdb")
    options = ["--add-exports", "java.base/jdk.internal.math=ALL-UNNAMED", "-p", str(jar)]
    command = _java(settings, settings.questdb.heap_mb, "-XX:TieredStopAtLevel=1", *options)
    return Program(
        "questdb",
        "QuestDB",
        [*command, "-m", "io.questdb/io.questdb.ServerMain", "-d", str(settings.data_dir / "questdb")],
        base_environment(settings),
    )


def _redis(settings: Settings) -> Program:
    own = settings.python.parent / "redis-server"
    server = str(own) if own.exists() else shutil.which("redis-server") or "redis-server"
    r = settings.redis
    command = [server, "--port", str(r.port), "--bind", r.host, "--dir", str(settings.data_dir / "redis"),
               "--appendonly", "yes", "--save", "", "--daemonize", "no",
               # Its own process title would overwrite the environment that `stop` knows our processes by.
               "--set-proc-title", "no"]
    return Program("redis", "Redis", command, base_environment(settings))


def _prometheus(settings: Settings, executable: str) -> Program:
    home = settings.data_dir / "prometheus"
    command = [executable, f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/tsdb",
               "--storage.tsdb.retention.time=7d",
               f"--web.listen-address={settings.prometheus.host}:{settings.prometheus.port}"]
    return Program("prometheus", "Prometheus", command, base_environment(settings))


def _edges(settings: Settings) -> list[Program]:
    """The market, the results and the web page: started when the chain runs."""

    def python(name: str, label: str, *arguments: str) -> Program:
        command = [str(settings.python), "-m", *arguments]
        return Program(name, label, command, base_environment(settings), autostart=False)

    return [python("results", "Results", "connectors.results"),
            python("simulate", "Market simulator", "connectors.simulate"),
            python("web", "Web page", "sigmaflow", "web")]


def write_files(settings: Settings) -> list[Program]:
    """Write every configuration file and start script; returns the programs."""
    data = settings.data_dir
    for folder in ("bin", "tmp", "logs/flink", "kafka/logs", "registry", "questdb/conf", "redis", "prometheus",
                   "flink/conf", "flink/lib", "flink/pid", "flink/tmp", "flink/upload", "flink/checkpoints",
                   "flink/savepoints", "flink/ha", "zookeeper",
                   "supervisor"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    _write_kafka(settings)
    _write_zookeeper(settings)
    _write_questdb(settings)
    _write_prometheus(settings)
    write_flink(settings)
    all_programs = programs(settings)
    for program in all_programs:
        environment = program.environment | {MARKER: str(data)}
        _script(data / "bin" / program.name, environment, program.command, program.prepare)
    return all_programs


def _script(file: Path, environment: dict[str, str], command: list[str], prepare: str = "", tail: str = "") -> None:
    exports = "\n".join(f"export {key}={shlex.quote(value)}" for key, value in environment.items())
    body = f"#!/bin/sh\n# Generated by sigmaflow/programs.py.\n{exports}\n{prepare}\nexec {shlex.join(command)}{tail}\n"
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(body)
    fresh.chmod(0o755)
    os.replace(fresh, file)


def _write_kafka(settings: Settings) -> None:
    k, home = settings.kafka, settings.data_dir / "kafka"
    listeners = f"PLAINTEXT://{k.host}:{k.port},CONTROLLER://{k.host}:{k.controller_port}"
    options = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": f"{k.host}:{k.controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": home / "logs",
        # A typing error in a topic's name must not make a topic.
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 8,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "transaction.max.timeout.ms": 86400000,
    }
    _properties(home / "server.properties", options)
    _properties(home / "log4j2.properties", {
        "rootLogger.level": "INFO",
        "rootLogger.appenderRef.stdout.ref": "STDOUT",
        "appender.stdout.type": "Console",
        "appender.stdout.name": "STDOUT",
        "appender.stdout.layout.type": "PatternLayout",
        "appender.stdout.layout.pattern": "%d{ISO8601} %p %m (%c{1})%n",
    })


def _write_zookeeper(settings: Settings) -> None:
    z, home = settings.zookeeper, settings.data_dir / "zookeeper"
    _properties(home / "zoo.cfg", {
        "tickTime": 1000,
        "initLimit": 10,
        "syncLimit": 5,
        "dataDir": home,
        "clientPort": z.port,
        "clientPortAddress": z.host,
        "server.1": z.host,
        "autopurge.purgeInterval": 1,
    })


def _write_questdb(settings: Settings) -> None:
    q = settings.questdb
    _properties(settings.data_dir / "questdb" / "conf" / "server.conf", {
        "http.bind.to": f"{q.host}:{q.http_port}",
        "http.min.enabled": "false",
        "pg.net.bind.to": f"{q.host}:{q.pg_port}",
        "pg.user": q.user,
        "pg.password": q.password.get_secret_value(),
        "line.tcp.net.bind.to": f"{q.host}:{q.ilp_port}",
        "line.udp.enabled": "false",
        "telemetry.enabled": "false",
        "shared.worker.count": 1,
        # Small pages: the defaults reserve 16 MB a column.
        "cairo.writer.data.append.page.size": "1M",
        "cairo.o3.column.memory.size": "256k",
        "cairo.wal.writer.data.append.page.size": "256k",
    })


def _write_prometheus(settings: Settings) -> None:
    f, m, r, p = settings.flink, settings.metrics, settings.registry, settings.prometheus
    home = settings.data_dir / "prometheus"
    shutil.rmtree(home / "rules", ignore_errors=True)
    (home / "rules").mkdir(parents=True)
    for file in (settings.root / "docker" / "prometheus" / "rules").glob("*.yml"):
        (home / "rules" / file.name).write_text(rules.quicker(file.read_text(), p.alert_pace))
    flink = [f'"{f.host}:{f.metrics_port + i}"' for i in range(f.taskmanagers + 1)]
    text = Template((settings.root / "docker" / "prometheus" / "prometheus.yml").read_text()).substitute(
        flink_targets=", ".join(flink),
        metrics_targets=f'"{m.host}:{m.port}"',
        registry_targets=f'"{r.host}:{r.management_port}"',
        venue_targets=", ".join(f'"{m.host}:{m.port + 1 + i}"' for i in range(VENUE_PORTS)),
        slow_targets=", ".join(f'"{m.host}:{m.port + 1 + VENUE_PORTS + i}"' for i in range(SLOW_PORTS)),
        rules_dir=home / "rules",
        scrape_ms=round(p.scrape_s * 1e3),
        alertmanagers=f'"{p.alertmanager}"' if p.alertmanager else "",
    )
    (home / "prometheus.yml").write_text(text)


def write_flink(settings: Settings) -> None:
    """Flink's configuration and library folders, and the `flink` command for users."""
    f, home, data = settings.flink, flink_home(settings), settings.data_dir
    conf = data / "flink" / "conf"
    for file in (home / "conf").iterdir():
        if file.name not in ("config.yaml", "masters", "workers"):
            shutil.copyfile(file, conf / file.name)
    # Each restarted exactly-once sink re-registers its metrics and warns about it at every checkpoint.
    with (conf / "log4j-console.properties").open("a") as log4j:
        log4j.write("\nlogger.metrics.name = org.apache.flink.metrics.MetricGroup\nlogger.metrics.level = ERROR\n")
    shipped = yaml.safe_load((home / "conf" / "config.yaml").read_text())
    text = Template((settings.root / "flink-conf" / "local" / "config.yaml").read_text()).substitute(
        f.model_dump(),
        zookeeper_quorum=settings.zookeeper.quorum,
        java_opts_all=_known_modules(settings, shipped["env"]["java"]["opts"]["all"]),
        taskmanager_rpc_ports=f"{f.taskmanager_rpc_port}-{f.taskmanager_rpc_port + f.taskmanagers - 1}",
        metrics_ports=f"{f.metrics_port}-{f.metrics_port + f.taskmanagers}",
        data_dir=data,
        python=settings.python,
    )
    (conf / "config.yaml").write_text(text)
    (conf / "masters").write_text(f"{f.host}:{f.rest_port}\n")
    (conf / "workers").write_text(f"{f.host}\n" * f.taskmanagers)

    lib = data / "flink" / "lib"
    wanted = [*(home / "lib").glob("*.jar"), *(home / "opt").glob("flink-python-*.jar"), *jars.paths(settings, "flink")]
    for stale in lib.iterdir():
        if stale.name not in {jar.name for jar in wanted} or not stale.exists():
            stale.unlink()
    for jar in wanted:
        if not (lib / jar.name).exists():
            (lib / jar.name).symlink_to(jar)
    _script(data / "bin" / "flink", flink_environment(settings), launch.client(settings), tail=' "$@"')


def _known_modules(settings: Settings, options: str) -> str:
    """Drop exports of modules that this Java does not have: each would print a warning on every start."""
    release = (java_home(settings) / "release").read_text()
    modules = release.split('MODULES="')[1].split('"')[0].split()
    return " ".join(option for option in options.split() if option.split("=")[1].split("/")[0] in modules)


def _properties(file: Path, values: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
