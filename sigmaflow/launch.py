"""Java command lines of the JobManager, the TaskManagers and the client.

Flink's start scripts run two further JVMs before each of the three processes, only to read the configuration and to
share out memory: 8 to 13 CPU seconds of every start on two cores. The answer depends on nothing but the configuration,
so Flink's own calculator is asked once and its answer kept in build/; what is started is what the scripts start. The
client's script reads the configuration in thousands of lines of shell, a second of every submission.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import yaml

from sigmaflow.errors import UserError
from sigmaflow.installed import flink_home, java_home
from sigmaflow.settings import Settings

MAIN_CLASS = {
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
    "client": "org.apache.flink.client.cli.CliFrontend",
}
QUESTION = {"jobmanager": "GET_JM_RESOURCE_PARAMS", "taskmanager": "GET_TM_RESOURCE_PARAMS"}
PREFIX = "BASH_JAVA_UTILS_EXEC_RESULT:"


def command(settings: Settings, kind: str, name: str, extra: list[str]) -> list[str]:
    """Command line of one Flink server; its configuration must have been written."""
    jvm, dynamic = resources(settings, kind)
    return [*_java(settings, kind, name, jvm, "console"), "--configDir", str(_conf(settings)), *dynamic, *extra]


def client(settings: Settings) -> list[str]:
    """Command line of the client, which takes the arguments of Flink's own script, `bin/flink`."""
    return _java(settings, "client", "client", [], "cli")


def _java(settings: Settings, kind: str, name: str, jvm: list[str], logging: str) -> list[str]:
    """Java with the options of the configuration, those `jvm` before them, and the class to run."""
    conf = _conf(settings)
    options = yaml.safe_load((conf / "config.yaml").read_text())["env"]["java"]["opts"]
    log4j = f"file:{conf}/log4j-{logging}.properties"
    return [
        f"{java_home(settings)}/bin/java", *jvm,
        *f"{options['all']} {options.get(kind, '')}".split(),
        f"-Dlog.file={settings.log_dir}/flink/{name}.log",
        f"-Dlog4j.configuration={log4j}", f"-Dlog4j.configurationFile={log4j}",
        "-classpath", class_path(settings.data_dir / "flink" / "lib"), MAIN_CLASS[kind],
    ]


def _conf(settings: Settings) -> Path:
    return settings.data_dir / "flink" / "conf"


def class_path(lib: Path) -> str:
    """Jars by name, flink-dist last, as Flink's config.sh orders them."""
    names = sorted(lib.glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))
    return ":".join(map(str, names))


def resources(settings: Settings, kind: str) -> tuple[list[str], list[str]]:
    """JVM options and dynamic options with which Flink shares out the memory of one process."""
    text = (_conf(settings) / "config.yaml").read_text()
    # Neither folder nor ports matter to memory: stacks that differ only in these share one answer.
    plain = re.sub(r"port: .*", "", text.replace(str(settings.data_dir), ""))
    digest = hashlib.sha256(f"{settings.versions.flink} {kind} {plain}".encode()).hexdigest()[:16]
    kept = settings.root / "build" / "flink-memory" / f"{kind}-{digest}.json"
    if not kept.exists():
        answer = _ask(settings, kind)
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(answer))
        fresh.replace(kept)
    jvm, dynamic = json.loads(kept.read_text())
    return jvm, dynamic


def _ask(settings: Settings, kind: str) -> list[list[str]]:
    """Ask Flink's calculator, the one that its start scripts ask."""
    home = flink_home(settings)
    jars = f"{home}/bin/bash-java-utils.jar:{home}/lib/flink-dist-{settings.versions.flink}.jar"
    ran = subprocess.run(
        [f"{java_home(settings)}/bin/java", "-XX:TieredStopAtLevel=1", "-cp", jars,
         "org.apache.flink.runtime.util.bash.BashJavaUtils", QUESTION[kind],
         "--configDir", str(_conf(settings))],
        capture_output=True, text=True, check=False)
    lines = [line.removeprefix(PREFIX) for line in ran.stdout.splitlines() if line.startswith(PREFIX)]
    if ran.returncode or len(lines) != 2:
        said = [line for line in (ran.stdout + ran.stderr).splitlines() if "xception" in line] or ["nothing of use"]
        raise UserError("start", f"Flink must accept the {kind}'s memory settings", f"it says {said[-1].strip()[:200]}",
                        f"change flink.{kind}_memory_mb in docker/stack.toml")
    return [line.split() for line in lines]
