"""The determinism lint: every rule finds what it must and leaves what it may; the stages have nothing to find."""
from __future__ import annotations

from pathlib import Path

import pytest

from tests import determinism
from tests.determinism import Rule

BROKEN: list[tuple[Rule, str]] = [
    (determinism.clock, "import time\nx = time.time()"),
    (determinism.clock, "from time import perf_counter as tick"),
    (determinism.clock, "from datetime import datetime\nx = datetime.now()"),
    (determinism.clock, "import datetime as dt\nx = dt.datetime.utcnow()"),
    (determinism.clock, "import numpy as np\nx = np.datetime64('now')"),
    (determinism.chance, "import random"),
    (determinism.chance, "import numpy as np\nx = np.random.default_rng(1)"),
    (determinism.chance, "from numpy.random import default_rng"),
    (determinism.chance, "from uuid import uuid4"),
    (determinism.chance, "import os\nx = os.urandom(8)"),
    (determinism.chance, "from secrets import token_hex"),
    (determinism.surroundings, "import os\nx = os.environ['HOME']"),
    (determinism.surroundings, "from os import getenv"),
    (determinism.threads, "import threading"),
    (determinism.threads, "from concurrent.futures import ThreadPoolExecutor"),
    (determinism.salted_hash, "x = hash('BTCUSDT') % 4"),
    (determinism.address, "x = sorted(rows, key=lambda row: id(row))"),
    (determinism.state_ttl, "from pyflink.datastream.state import StateTtlConfig"),
    (determinism.state_ttl, "descriptor.enable_time_to_live(config)"),
    (determinism.order_of_sums, "@numba.njit(cache=True, fastmath=True)\ndef f(x): return x"),
    (determinism.order_of_sums, "@njit(parallel=True)\ndef f(x): return x"),
    (determinism.order_of_sums, "from numba import prange"),
    (determinism.set_order, "for x in {1, 2}: print(x)"),
    (determinism.set_order, "x = [y for y in set(rows)]"),
    (determinism.set_order, "x = list({y for y in rows})"),
    (determinism.set_order, "x = ','.join(frozenset(names))"),
    (determinism.set_order, "x = sum({0.1, 0.2})"),
    (determinism.set_order, "held = set()\nfor x in held: print(x)"),
    (determinism.set_order, "held = set(a)\nrest = held - set(b)\nx = tuple(rest)"),
    (determinism.set_order, "for name in left.keys() & right.keys(): print(name)"),
    (determinism.set_order, "def f(silent: set[int]) -> None:\n    for x in silent: print(x)"),
    (determinism.set_order, "class A:\n    def f(self) -> set[int]: ...\n    def g(self): return list(self.f())"),
    (determinism.set_order, "class A:\n    held: frozenset[int]\n    def g(self): return [x for x in self.held]"),
    (determinism.set_order, "class A:\n    def f(self): self.held = set()\n    def g(self): return [*self.held]"),
    (determinism.set_order, "x = {1, 2}.pop()"),
    (determinism.set_order, "a, b = {1, 2}"),
    (determinism.set_order, "x = f'{ {1, 2} }'"),
    (determinism.set_order, "x = pickle.dumps({1, 2})"),
    (determinism.set_order, "x = dict.fromkeys({1, 2})"),
    (determinism.set_order, "x = sum(y for y in {0.1, 0.2})"),
    (determinism.set_order, "x = {y: 0 for y in {1, 2}}"),
]

SOUND: list[tuple[Rule, str]] = [
    (determinism.clock, "from datetime import datetime\nx = datetime.fromisoformat('2024-01-01')"),
    (determinism.clock, "time = columns['ts_event']\nx = time[0]"),
    (determinism.chance, "random = 5\nx = random + 1"),
    (determinism.chance, "import os.path\nx = os.path.join('a', 'b')"),
    (determinism.surroundings, "import os\nx = os.sep"),
    (determinism.threads, "import itertools"),
    (determinism.salted_hash, "x = table.hash(rows)"),
    (determinism.address, "x = contracts.id('tick')"),
    (determinism.salted_hash, "import hashlib\nx = hashlib.sha256(b'')"),
    (determinism.address, "x = seen[id(pool)] if id(pool) in seen else 0"),
    (determinism.state_ttl, "descriptor = MapStateDescriptor('state', keys, values)"),
    (determinism.order_of_sums, "@numba.njit(cache=True, fastmath=False)\ndef f(x): return x"),
    (determinism.set_order, "for x in sorted({1, 2}): print(x)"),
    (determinism.set_order, "x = 3 in {1, 2} and len({1}) and max({1, 2})"),
    (determinism.set_order, "x = any(y > 1 for y in {1, 2})"),
    (determinism.set_order, "x = {y + 1 for y in {1, 2}}"),
    (determinism.set_order, "x = sorted(y for y in {1, 2})"),
    (determinism.set_order, "for name in columns.keys(): print(name)"),
    (determinism.set_order, "for name in columns | {'a': 1}: print(name)"),
    (determinism.set_order, "for x in a - b: print(x)"),
    (determinism.set_order, "def f(held: dict[str, set[int]]) -> None:\n    for x in held: print(x)"),
    (determinism.set_order, "x = stack.pop()"),
]


@pytest.mark.parametrize(("rule", "text"), BROKEN)
def test_a_rule_finds(rule: Rule, text: str) -> None:
    found = determinism.findings(text, (rule,))
    assert found
    assert all(finding.rule and finding.found and finding.remedy for finding in found)
    assert {finding.line for finding in found} <= set(range(1, 4))


@pytest.mark.parametrize(("rule", "text"), SOUND)
def test_a_rule_leaves(rule: Rule, text: str) -> None:
    assert determinism.findings(text, (rule,)) == []


def test_every_rule_has_a_sample_of_each_kind() -> None:
    assert {rule for rule, _ in BROKEN} == {rule for rule, _ in SOUND} == set(determinism.RULES)


def test_a_problem_says_where_what_and_how_to_cure_it(tmp_path: Path) -> None:
    path = tmp_path / "stage.py"
    path.write_text("import math\nimport random\n")
    assert determinism.problems(path) == [
        f"{path}:2: a stage must not depend on chance, but it uses random; derive the value from the tick's id with "
        "udfs.symbols.mixed"]


@pytest.mark.parametrize("path", determinism.covered(), ids=lambda path: str(path.relative_to(determinism.ROOT)))
def test_stages_depend_on_the_log_alone(path: Path) -> None:
    assert determinism.problems(path) == []
