"""Settings: what is refused, what the environment changes, what never prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigmaflow.errors import UserError
from sigmaflow.settings import ROOT, STACK_FILE, load


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """A settings file with one piece of text replaced."""
    text = STACK_FILE.read_text()
    assert old in text
    file = tmp_path / "stack.toml"
    file.write_text(text.replace(old, new, 1))
    return file


def test_defaults_are_the_names_others_code_against() -> None:
    s = load(environ={})
    assert s.kafka.bootstrap == "127.0.0.1:9092"
    assert s.registry.url == "http://127.0.0.1:8080/apis/ccompat/v7"
    assert s.flink.rest_url == "http://127.0.0.1:8081"
    assert s.data_dir == ROOT / ".data"


def test_offset_moves_every_port_and_no_two_are_the_same() -> None:
    at_home, moved = load(environ={}), load(environ={"SIGMAFLOW_PORT_OFFSET": "1000"})
    assert {key: port + 1000 for key, port in at_home.ports().items()} == moved.ports()
    assert len(set(at_home.ports().values())) == len(at_home.ports())
    assert not set(at_home.ports().values()) & set(moved.ports().values())


def test_environment_replaces_one_value_without_the_offset() -> None:
    s = load(environ={"SIGMAFLOW_PORT_OFFSET": "7", "SIGMAFLOW_KAFKA_HOST": "kafka", "SIGMAFLOW_KAFKA_PORT": "19092"})
    assert s.kafka.bootstrap == "kafka:19092"
    assert s.redis.port == 6379 + 7


def test_data_dir_may_be_relative_to_the_project_or_absolute(tmp_path: Path) -> None:
    assert load(environ={"SIGMAFLOW_DATA_DIR": "x"}).data_dir == ROOT / "x"
    assert load(environ={"SIGMAFLOW_DATA_DIR": str(tmp_path)}).data_dir == tmp_path


def test_a_folder_that_start_scripts_cannot_take_is_refused() -> None:
    with pytest.raises(UserError, match="SIGMAFLOW_DATA_DIR"):
        load(environ={"SIGMAFLOW_DATA_DIR": "/tmp/my data"})


def test_password_never_prints() -> None:
    s = load(environ={})
    assert "quest" in s.questdb.pg_dsn
    assert "'quest'" not in repr(s) and '"quest"' not in s.model_dump_json()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("port = 9092", "port = 90920", "kafka.port"),
        ("port = 9092", 'port = "many"', "kafka.port"),
        ("heap_mb = 512", "heap_mb = 5", "kafka.heap_mb"),
        ("taskmanagers = 2", "taskmanagers = 0", "flink.taskmanagers"),
        ("taskmanagers = 2", "task_managers = 2", "flink."),
    ],
)
def test_a_bad_value_names_its_key_and_file(tmp_path: Path, old: str, new: str, key: str) -> None:
    file = changed(tmp_path, old, new)
    with pytest.raises(UserError) as stop:
        load(file, environ={})
    assert key in str(stop.value) and str(file) in str(stop.value)


def test_broken_toml_and_missing_file_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must exist"):
        load(tmp_path / "none.toml", environ={})
    with pytest.raises(UserError, match="must be TOML"):
        load(changed(tmp_path, "[kafka]", "[kafka"), environ={})


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", "60000"])
def test_a_bad_offset_is_refused(offset: str) -> None:
    with pytest.raises(UserError, match="SIGMAFLOW_PORT_OFFSET"):
        load(environ={"SIGMAFLOW_PORT_OFFSET": offset})
