"""Every example in a docstring holds."""
from __future__ import annotations

import doctest
import importlib

import pytest

from sigmaflow.settings import ROOT

PACKAGES = ("connectors", "jobs", "schemas", "sigmaflow", "udfs")
MODULES = sorted(".".join(file.relative_to(ROOT).with_suffix("").parts) for package in PACKAGES
                 for file in (ROOT / package).rglob("*.py") if ">>> " in file.read_text())


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert found.attempted and not found.failed
