"""Setting up from nothing, for real but small: a project of one tiny package, installed by pip without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sigmaflow.settings import ROOT


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the real bootstrap.py and one dependency in a wheel beside it."""
    root = tmp_path_factory.mktemp("project")
    (root / "sigmaflow").mkdir()
    shutil.copy(ROOT / "sigmaflow" / "bootstrap.py", root / "sigmaflow")
    (root / "sigmaflow" / "__main__.py").write_text("")  # its get-jars has nothing to get
    (root / "pyproject.toml").write_text(
        '[project]\ndependencies = ["tiny==1.0"]\n[project.optional-dependencies]\ndev = []\n')
    (root / "constraints.txt").write_text("tiny==1.0\n")
    (root / "wheels").mkdir()
    with zipfile.ZipFile(root / "wheels" / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "x = 1\n")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL",
                       "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    return root


def setup(root: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run bootstrap.py as make does."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(root / "wheels"), "PYTHONPATH": ""}
    return subprocess.run([python, str(root / "sigmaflow" / "bootstrap.py")], env=environment, cwd=root,
                          capture_output=True, text=True, check=False)


def has_tiny(root: Path) -> bool:
    """Whether the environment works and holds the package."""
    command = [str(root / ".venv" / "bin" / "python"), "-c", "import tiny"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_from_nothing_then_at_once(project: Path) -> None:
    first = setup(project)
    assert first.returncode == 0, first.stderr
    assert has_tiny(project) and "in place" in first.stdout
    assert setup(project).stdout == ""


def test_the_command_line_is_a_program_of_the_environment(project: Path, tmp_path: Path) -> None:
    assert setup(project).returncode == 0
    (project / "sigmaflow" / "__main__.py").write_text("import sys; print(sys.argv[1:])")
    command = [str(project / ".venv" / "bin" / "sigmaflow"), "why-not", "a b"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "['why-not', 'a b']\n"
    (project / "sigmaflow" / "__main__.py").write_text("")


def test_no_kernel_outlives_a_change_of_what_is_compiled_into_it(project: Path) -> None:
    """numba would load it: it looks at the kernel's own file alone."""
    (project / "jobs").mkdir()
    (project / "udfs").mkdir()
    (project / "jobs" / "warm.py").touch()
    (project / "udfs" / "gates.py").write_text("LIMIT = 1\n")
    assert setup(project).returncode == 0
    kernel = project / "build" / "numba" / "fills._kernel.nbc"
    for file, text, kept in (("jobs/warm.py", "", True), ("jobs/warm.py", "# new\n", True),
                             ("udfs/gates.py", "LIMIT = 2\n", False)):
        kernel.touch()
        (project / file).write_text(text)
        assert setup(project).returncode == 0
        assert kernel.exists() == kept, text
    shutil.rmtree(project / "jobs")


def test_an_interrupted_set_up_is_begun_anew(project: Path) -> None:
    (project / ".venv" / ".sigmaflow-ready").unlink()
    (project / ".venv" / ".sigmaflow-installing").touch()
    next((project / ".venv").rglob("tiny.py")).unlink()
    ran = setup(project)
    assert ran.returncode == 0 and "half finished" in ran.stdout
    assert has_tiny(project)


def test_an_environment_without_its_python_is_repaired(project: Path) -> None:
    (project / ".venv" / "bin" / "python").unlink()
    (project / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    ran = setup(project)
    assert ran.returncode == 0 and has_tiny(project)


def test_a_package_that_cannot_be_found_is_one_sentence(project: Path) -> None:
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace("tiny==1.0", "absent==1.0"))
    ran = setup(project)
    (project / "pyproject.toml").write_text(text)
    assert ran.returncode == 2
    assert "absent" in ran.stderr and "run make setup again" in ran.stderr and "Traceback" not in ran.stderr


def test_another_python_is_refused_in_one_sentence(project: Path) -> None:
    others = [found for name in ("python3.12", "python3.13", "python3.10", "python3.9", "python3.8")
              if (found := shutil.which(name))
              and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0]
    if not others:
        pytest.skip("this machine has no other Python")
    ran = setup(project, others[0])
    assert ran.returncode == 2
    assert "Python 3.11 must" in ran.stderr and "Traceback" not in ran.stderr
