"""The command line and the Makefile: help that teaches, JSON for programs, errors by kind, stable exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from sigmaflow import __main__ as program
from sigmaflow import stack
from sigmaflow.cli import docs
from sigmaflow.cli.common import command, examples_of, group
from sigmaflow.errors import ExitCode, Failed, NotRunning, UserError
from sigmaflow.settings import ROOT, load

WANTED = {"help", "start", "stop", "status", "restart", "logs", "clean", "setup-topics", "monitor-topics", "smoke-test",
          "dashboard", "metrics", "check", "test", "reference", "replay", "report", "audit", "doctor"}
COMMANDS = dict(docs.commands())
SILENT = {"up", "stop", "restart", "clean", "feed", "traces", "web",
          *(f"slow {name}" for name in ("fred", "rss", "alpaca", "reddit", "sentiment", "indicators"))}
"""Commands without --json: they show nothing."""

WRONG = [
    ("logs", "nothing"), ("savepoint", "--lst"), ("explain",), ("nonsense",), ("dlq", "nonsense"),
    ("reference", "none.parquet"), ("reference", "README.md", "--jobs", "three"), ("replay", "none.gz"), ("replay",),
    ("explain", "x"), ("why-not", "BTCUSDT", "noon"), ("state", "--at", "fills.v1:0:1"), ("dlq", "show", "7"),
    ("dlq", "list", "--limit", "0"), ("dlq", "replay", "--at", "x", "--dry-run"), ("schema", "show", "nothing"),
    ("schema", "show", "tick", "--version", "99"), ("schema", "diff", "tick", "--old", "99"),
    ("restore", "jobs/pipeline.py"), ("submit", "jobs/pipeline.py", "--parallelism", "0"),
    ("train",), ("model", "show", "none"), ("feed", "nowhere"),
    ("fetch", "AAPL", "--since", "noon", "--until", "2024-01-02"), ("fetch", "AAPL", "--since", "2024-01-02"),
    ("traces",), ("backtest",), ("backtest", "none.gz"),
    ("backtest", "README.md"), ("sweep", "none.gz", "--grid", "sizing.entry=0.1"), ("sweep", "none.gz"),
]
DOWN = [
    ("status",), ("submit", "jobs/pipeline.py"), ("restore", "jobs/pipeline.py", "--path", "x"), ("savepoint",),
    ("audit",), ("explain", "-12"), ("why-not", "BTCUSDT", "2026-01-31T09:30:00Z"), ("dlq", "list"), ("dlq", "replay"),
    ("state", "--at", "market.ticks.v1:0:1"), ("topics",), ("setup-topics",), ("metrics",), ("halt",), ("report",),
    ("schema", "check", "--registry"), ("schema", "diff", "tick", "--registry"), ("dashboard", "--json"),
    ("monitor-topics", "fills.v1"), ("train", "--from", "market"), ("model", "use", "none"), ("feed", "binance"),
    ("traces", "--lines"), ("alerts",), ("backtest", "--from", "market"),
    ("sweep", "--from", "market", "--grid", "sizing.entry=0.1"),
]
ENDS = [*((words, ExitCode.WRONG) for words in WRONG), *((words, ExitCode.NOT_RUNNING) for words in DOWN)]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A data directory without a stack, and ports where nothing listens."""
    monkeypatch.setenv("SIGMAFLOW_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SIGMAFLOW_PORT_OFFSET", "4000")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def named(value: object) -> str:
    """Name of a case: its command line."""
    return " ".join(value) if isinstance(value, tuple) else ""


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a program of its own against an empty data directory."""
    env = {**os.environ, "SIGMAFLOW_DATA_DIR": str(tmp_path / "data"), "SIGMAFLOW_PORT_OFFSET": "4000", **environment}
    return subprocess.run([sys.executable, "-m", "sigmaflow", *arguments], cwd=ROOT, env=env, capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)


def test_make_alone_prints_every_public_target() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE))
    assert targets >= WANTED
    assert len(targets) <= 25


# ------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("name", ["commands", "metrics", "settings"])
def test_a_derived_page_is_up_to_date(name: str) -> None:
    pages = {file.stem: file for file in docs.derived()}
    assert pages[name].read_text() == docs.derived()[pages[name]], "run: python -m sigmaflow.cli.docs"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_says_what_it_does_and_gives_examples(path: str) -> None:
    found = COMMANDS[path]
    assert found.help and found.help.endswith("."), "its docstring is its help"
    assert found.rich_help_panel, "declare it with sigmaflow.cli.common.command, under a heading"
    assert examples_of(found.epilog), "declare it with sigmaflow.cli.common.command, with examples"
    assert all(parameter.help for parameter in found.params), "every parameter needs a help"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_example_can_be_typed_as_it_stands(path: str) -> None:
    for example in examples_of(COMMANDS[path].epilog):
        words = [word for word in shlex.split(example) if not word.startswith("SIGMAFLOW_")]
        called = path.split()
        assert words[: len(called)] == called
        COMMANDS[path].make_context(path, words[len(called):])


def test_every_command_that_shows_something_has_json() -> None:
    without = {path.removeprefix("sigmaflow ") for path, found in COMMANDS.items()
               if not any("--json" in parameter.opts for parameter in found.params)}
    assert without == SILENT


def test_help_is_quick_and_whole(tmp_path: Path) -> None:
    shown = run(tmp_path, "--help").stdout
    assert all(path.split()[1] in shown for path in COMMANDS)
    light = "import sys; import sigmaflow.__main__; print('numpy' in sys.modules, 'confluent_kafka' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", light], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_completion_knows_commands_and_topics(tmp_path: Path) -> None:
    def complete(typed: str) -> list[str]:
        found = run(tmp_path, _SIGMAFLOW_COMPLETE="complete_bash", COMP_WORDS=typed,
                    COMP_CWORD=str(len(typed.split(" ")) - 1))
        return found.stdout.split()

    assert complete("sigmaflow why") == ["why-not"]
    assert complete("sigmaflow topics fil") == ["fills.v1"]
    assert complete("sigmaflow schema show ti") == ["tick"]
    assert "jobs/pipeline.py" in complete("sigmaflow submit jobs/p")


# ----------------------------------------------------------------------------------------------------------- errors


def test_exit_codes_do_not_change() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0, "FOUND": 1, "WRONG": 2, "NOT_RUNNING": 3, "FAILED": 4, "BUG": 70, "INTERRUPTED": 130}


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(("arguments", "code"), ENDS, ids=named)
def test_an_error_is_one_sentence_and_its_kind_the_exit_code(
    arguments: tuple[str, ...], code: ExitCode, capfd: pytest.CaptureFixture[str]
) -> None:
    assert program.run(arguments) == code
    out, error = capfd.readouterr()
    if "--json" not in arguments:
        assert "must" in error and "but" in error and ";" in error
        assert len(error.strip().splitlines()) == 1 and not out


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(("arguments", "code"), [end for end in ENDS if end[0][0] not in SILENT], ids=named)
def test_with_json_an_error_is_an_object_on_stderr(
    arguments: tuple[str, ...], code: ExitCode, capfd: pytest.CaptureFixture[str]
) -> None:
    assert program.run([*arguments, "--json"]) == code
    out, error = capfd.readouterr()
    told: dict[str, Any] = json.loads(error.splitlines()[-1])["error"]
    assert out == "" and set(told) == {"stage", "rule", "found", "remedy", "exit_code"}
    assert told["exit_code"] == code and "must" in told["rule"] and all(told.values())


def ending(error: BaseException) -> typer.Typer:
    """A command line of one command that ends so."""
    app = group()

    @command(app, "Test", "sigmaflow end")
    def end(as_json: bool = typer.Option(False, "--json")) -> None:
        """End."""
        raise error

    @command(app, "Test", "sigmaflow other")
    def other() -> None:
        """Be another."""

    return app


@pytest.mark.parametrize(("error", "code"), [
    (UserError("s", "r", "f", "m"), 2), (NotRunning("s", "r", "f", "m"), 3), (Failed("s", "r", "f", "m"), 4),
    (ZeroDivisionError("by zero"), 70), (KeyboardInterrupt(), 130), (typer.Exit(1), 1)])
def test_every_kind_of_end_has_its_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "app", ending(error))
    assert program.run(["end"]) == code
    assert ("Traceback" in capsys.readouterr().err) == (code == 70)
    assert program.run(["end", "--json"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    if not isinstance(error, KeyboardInterrupt | typer.Exit):
        assert json.loads(told.err)["error"]["exit_code"] == code


def test_without_a_command_help_is_shown(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert ran.returncode == 2 and "Usage: sigmaflow" in ran.stdout and not ran.stderr


def test_the_program_ends_with_the_code(tmp_path: Path) -> None:
    assert run(tmp_path, "status").returncode == 3


def test_a_bad_setting_stops_every_command(tmp_path: Path) -> None:
    ran = run(tmp_path, "status", SIGMAFLOW_KAFKA_PORT="ninety")
    assert ran.returncode == 2 and "kafka.port" in ran.stderr and "Traceback" not in ran.stderr


def test_no_command_line_option_is_declared_twice() -> None:
    for path, found in COMMANDS.items():
        options = [option for parameter in found.params for option in parameter.opts if option.startswith("-")]
        assert len(options) == len(set(options)), path
    assert get_command(program.app).commands.keys() >= {"dlq", "schema"}  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------------------- the stack


def test_stop_where_nothing_runs_is_no_error(tmp_path: Path) -> None:
    ran = run(tmp_path, "stop")
    assert ran.returncode == 0 and "Nothing was running" in ran.stdout


def test_clean_removes_only_what_is_ours(tmp_path: Path) -> None:
    foreign = tmp_path / "data"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("precious")
    ran = run(tmp_path, "clean")
    assert ran.returncode == 2 and (foreign / "thesis.txt").exists()


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    s = load(environ={"SIGMAFLOW_PORT_OFFSET": "4000", "SIGMAFLOW_DATA_DIR": str(tmp_path)})
    stack.check_ports(s)
    with socket.socket() as taken:
        taken.bind((s.questdb.host, s.questdb.pg_port))
        taken.listen()
        with pytest.raises(UserError, match=rf"port {s.questdb.pg_port} \(questdb.pg_port\) must be free"):
            stack.check_ports(s)


# ---------------------------------------------------------------------------------------------------- other documents

TYPED = re.compile(r"(?:^|`|-m )sigmaflow ([a-z][a-z -]*)")


def named_in_documents() -> list[tuple[str, str]]:
    """Document and words of every command that a document or a remedy tells people to type."""
    files = [ROOT / "README.md", *(ROOT / "deploy").rglob("*.md"), *(ROOT / "docs").glob("*.md"),
             *(file for part in ("connectors", "jobs", "schemas", "sigmaflow", "udfs")
               for file in (ROOT / part).rglob("*.py"))]
    return [(str(file.relative_to(ROOT)), words) for file in files
            for line in file.read_text().splitlines() for words in TYPED.findall(line)]


def test_every_command_that_a_document_names_exists() -> None:
    found = named_in_documents()
    groups = {path.split()[1] for path in COMMANDS if len(path.split()) == 3}
    for file, words in found:
        called = words.split()[: 2 if words.split()[0] in groups else 1]
        assert any(path.split()[1 : 1 + len(called)] == called for path in COMMANDS), f"{file}: sigmaflow {words}"
    assert len(found) > 100
