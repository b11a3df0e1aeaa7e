"""What the generated files of the local stack say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from sigmaflow import jars, programs, supervise
from sigmaflow.settings import Settings, load


@pytest.fixture
def written(tmp_path: Path) -> Settings:
    """Settings whose files were written, on offset 3000."""
    s = load(environ={"SIGMAFLOW_DATA_DIR": str(tmp_path / "data"), "SIGMAFLOW_PORT_OFFSET": "3000"})
    supervise.write_config(s, programs.write_files(s))
    return s


def test_flink_configuration_is_whole_and_moved(written: Settings) -> None:
    text = (written.data_dir / "flink" / "conf" / "config.yaml").read_text()
    conf = yaml.safe_load(text)
    assert "${" not in text
    assert conf["rest"]["port"] == written.flink.rest_port == 11081
    assert conf["execution"]["checkpointing"]["num-retained"] == 3
    assert conf["python"]["execution-mode"] == "thread"
    assert conf["python"]["executable"] == str(written.python)
    assert "--add-opens=java.base/java.lang=ALL-UNNAMED" in conf["env"]["java"]["opts"]["all"]


def test_flink_library_holds_python_and_the_connectors(written: Settings) -> None:
    names = {jar.name for jar in (written.data_dir / "flink" / "lib").iterdir() if jar.exists()}
    v = written.versions
    assert f"flink-python-{v.flink}.jar" in names
    assert f"flink-sql-connector-kafka-{v.flink_kafka}.jar" in names
    assert f"flink-sql-avro-confluent-registry-{v.flink}.jar" in names
    assert f"flink-dist-{v.flink}.jar" in names


def test_every_program_has_a_script_that_a_shell_accepts_and_its_own_log(written: Settings) -> None:
    config = (written.data_dir / "supervisor" / "supervisord.conf").read_text()
    for program in programs.programs(written):
        script = written.data_dir / "bin" / program.name
        assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
        assert f"{programs.MARKER}={written.data_dir}" in script.read_text()
        assert f"logs/{program.name}.log" in config


def test_taskmanagers_find_the_project_the_packages_and_java(written: Settings) -> None:
    environment = programs.flink_environment(written)
    assert environment["PYTHONPATH"].split(":") == [str(written.root), str(programs.site_packages(written))]
    assert environment["PATH"].startswith(str(written.python.parent))
    assert (Path(environment["JAVA_HOME"]) / "bin" / "java").exists()


def test_the_flink_command_is_flinks_own_client(written: Settings) -> None:
    ran = subprocess.run([written.data_dir / "bin" / "flink", "--version"], capture_output=True, text=True, check=False)
    assert f"Version: {written.versions.flink}" in ran.stdout, ran.stderr


def test_a_second_writing_changes_nothing(written: Settings) -> None:
    files = [file for file in written.data_dir.rglob("*") if file.is_file() and not file.is_symlink()]
    before = {file: file.read_bytes() for file in files}
    programs.write_files(written)
    assert {file: file.read_bytes() for file in before} == before


def test_a_long_data_directory_moves_the_socket(tmp_path: Path) -> None:
    s = load(environ={"SIGMAFLOW_DATA_DIR": str(tmp_path / ("x" * 100))})
    assert len(str(supervise.socket_path(s))) < 90


def test_jars_are_checked_by_sum(tmp_path: Path) -> None:
    s = load(environ={"SIGMAFLOW_CACHE_DIR": str(tmp_path)})
    wanted = jars.read_lock()
    assert jars.missing(s, wanted) == wanted
    small = min(wanted, key=lambda jar: jar.size)
    place = small.path(tmp_path)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half")
    assert small in jars.missing(s, wanted)
