"""A copy of the project that a page is followed in: its changes are applied there, its commands run there."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from numba.core.caching import _CacheLocator

from sigmaflow.settings import ROOT
from tests.documents.pages import Block
from tests.waiting import PATIENCE_S

FOLDERS = ("connectors", "deploy", "docker", "docs", "flink-conf", "jobs", "schemas", "sigmaflow", "tests", "udfs")
FILES = ("Makefile", "README.md", "CHANGELOG.md", "constraints.txt", "pyproject.toml")
LIMIT_S = 2 * PATIENCE_S
"""A block that takes longer has hung; it may bring a whole chain up."""
TIMED = "PS4='+ $SECONDS s: '; set -x"
"""Each command is told with the seconds since the block began."""


class Failure(AssertionError):
    """What a page promises does not hold."""


def environment(root: Path, programs: Path, **more: str) -> dict[str, str]:
    """What a block's shell sees: the command line and Python of the environment, the project at `root`.

    PYTHON=true: `make` sets nothing up, as whoever runs tests has done it.
    """
    path = f"{programs}:{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(root), "PYTHON": "true", "NO_COLOR": "1"} | more


def program(folder: Path, root: Path) -> Path:
    """A folder with the command line of the project at `root`, as set-up makes it, and its Python."""
    folder.mkdir(parents=True)
    for name, words in (("python", ""), ("sigmaflow", "-m sigmaflow")):
        (folder / name).write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" {words} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def run(block: Block, cwd: Path, env: dict[str, str], text: str | None = None, limit_s: float = LIMIT_S) -> str:
    """Run a block as one shell script, which stops at the first command that fails; what it said."""
    command = ["bash", "-euc", f"{TIMED}\n{text or block.text}"]
    with subprocess.Popen(command, cwd=cwd, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as script:
        try:
            said, _ = script.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(script.pid, signal.SIGKILL)
            said, _ = script.communicate()
            raise Failure(f"{block.place} still runs after {limit_s:.0f} s:\n{said}") from None
    if script.returncode:
        raise Failure(f"{block.place} ends with {script.returncode}:\n{said}")
    return said


class Copy:
    """The project once more, in a folder; the environment is the project's own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        for name in FOLDERS:
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy2(ROOT / name, self.root / name)
        (self.root / ".venv").symlink_to(ROOT / ".venv")
        self._env = environment(self.root, program(folder / "bin", self.root), SIGMAFLOW_DATA_DIR=str(folder / "data"),
                                SIGMAFLOW_PORT_OFFSET="4000", NUMBA_CACHE_DIR=str(self.root / "build" / "numba"),
                                SIGMAFLOW_MODEL_DIR=str(folder / "models"))
        self._bring_kernels()

    def follow(self, block: Block) -> None:
        """Do what a block says; blocks for readers alone change nothing."""
        if block.language == "diff":
            self._changed(apply(self.root, block))
        elif block.language == "python" and block.kind:
            (self.root / block.kind).parent.mkdir(parents=True, exist_ok=True)
            (self.root / block.kind).write_text(block.text)
        elif block.language == "python":
            self._python(block)
        elif block.language == "sh" and not block.kind:
            run(block, self.root, self._env)

    def _python(self, block: Block) -> None:
        ran = subprocess.run([sys.executable, "-c", block.text], cwd=self.root, env=self._env, capture_output=True,
                             text=True, timeout=LIMIT_S, check=False)
        if ran.returncode:
            raise Failure(f"{block.place}:\n{block.text}\n{ran.stderr}")

    def _bring_kernels(self) -> None:
        """Take the compiled kernels over: numba keeps them by the folder of their source, and compiling takes long."""
        if "NUMBA_CACHE_DIR" not in os.environ:
            return
        held = Path(os.environ["NUMBA_CACHE_DIR"])
        for folder in {file.parent for file in self.root.rglob("*.py")}:
            there = str(ROOT / folder.relative_to(self.root) / "x.py")
            old, new = (_CacheLocator.get_suitable_cache_subpath(path) for path in (there, str(folder / "x.py")))
            if (held / old).exists():
                shutil.copytree(held / old, self.root / "build" / "numba" / new)

    def _changed(self, files: list[str]) -> None:
        """Forget the kernels of changed modules and of those that import them: numba looks at each source alone."""
        kernels = {str(file.relative_to(self.root)): file.read_text() for file in (self.root / "udfs").rglob("*.py")}
        sources = {file: text for file, text in kernels.items() if "numba" in text}
        stale = {file for file in files if file in sources}
        while True:
            names = [file.removesuffix(".py").replace("/", ".") for file in stale]
            more = {file for file, text in sources.items() if any(re.search(rf"{re.escape(n)}\b", text) for n in names)}
            if more <= stale:
                break
            stale |= more
        for stem in {Path(file).stem for file in stale}:
            for kept in (self.root / "build").rglob(f"{stem}.*"):
                kept.unlink()


def apply(root: Path, block: Block) -> list[str]:
    """Apply a diff by its lines, not by their numbers: what it keeps and removes must be there once. Gives the files.

    A hunk that only adds goes to the end of the file; a file that is not there begins empty.
    """
    files = []
    for part in re.split(r"^--- ", block.text, flags=re.MULTILINE)[1:]:
        _, named, *lines = part.splitlines()
        name = named.removeprefix("+++ b/")
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text() if file.exists() else ""
        for hunk in re.split(r"^@@.*\n", "\n".join(lines) + "\n", flags=re.MULTILINE):
            text = _hunk(text, hunk, f"{block.place}: {name}")
        file.write_text(text)
        files.append(name)
    return files


def _hunk(text: str, hunk: str, place: str) -> str:
    lines = [line or " " for line in hunk.splitlines()]
    before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
    after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
    if not before.strip():
        return text + after
    if text.count(before) != 1:
        raise Failure(f"{place} must hold these lines once, but holds them {text.count(before)} times:\n{before}")
    return text.replace(before, after)
