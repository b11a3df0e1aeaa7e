"""A lint for what must give the same bytes for the same log: no clock, no chance, no order that is not the log's.

    problems(Path("udfs/stages/risk.py"))   # one sentence for each finding: place, rule, what was found, remedy

It reads the syntax tree and runs nothing. What it takes for a set it tells by literals, constructors, operators,
annotations and assignments within the file; a set that comes from another file without an annotation it does not see.
"""
from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


def covered() -> list[Path]:
    """The files whose output is a function of the log: maths, workers, and the bytes they read and write."""
    names = ("shard", "account", "contracts", "messages", "plans", "slow")
    chain = [ROOT / "jobs" / "chain" / f"{name}.py" for name in names]
    return [*sorted((ROOT / "udfs").rglob("*.py")), *chain, ROOT / "schemas" / "codec.py"]


@dataclass(frozen=True)
class Finding:
    """One place where a rule is broken."""

    line: int
    rule: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.rule}, but {self.found}; {self.remedy}"


Rule = Callable[["Source"], Iterator[Finding]]


class Source:
    """One parsed file with the full names of what it imports and the names that hold sets."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.nodes = list(ast.walk(self.tree))
        self.imported = dict(_imports(self.nodes))
        self.sets = _SetNames(self.nodes)

    def full_name(self, node: ast.AST) -> str:
        """`numpy.random.default_rng` for `np.random.default_rng`; empty for what was not imported."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, "")
        if isinstance(node, ast.Attribute):
            held = self.full_name(node.value)
            return f"{held}.{node.attr}" if held else ""
        return ""

    def used(self, *banned: str) -> Iterator[tuple[int, str]]:
        """Line and full name of every import and use of these modules or members."""
        for node in self.nodes:
            names = [name for _, name in _imports([node])] or [self.full_name(node)]
            for name in names:
                if any(name == ban or name.startswith(f"{ban}.") for ban in banned):
                    yield node.lineno, name  # type: ignore[attr-defined]

    def calls(self) -> Iterator[ast.Call]:
        """Every call."""
        return (node for node in self.nodes if isinstance(node, ast.Call))


def _imports(nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
    """Name in the file and full name of everything imported."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
                if not alias.asname and "." in alias.name:
                    yield alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


# ------------------------------------------------------------------------------------------ clock, chance, surroundings


def clock(source: Source) -> Iterator[Finding]:
    """No clock: time is what the log says."""
    for line, name in source.used("time", "datetime.datetime.now", "datetime.datetime.utcnow",
                                  "datetime.datetime.today", "datetime.date.today"):
        yield Finding(line, "a stage must not read a clock", f"it uses {name}", "take the time from the tick's columns")
    for call in source.calls():
        if source.full_name(call.func) == "numpy.datetime64" and _constants(call) & {"now", "today"}:
            yield Finding(call.lineno, "a stage must not read a clock", "it asks numpy.datetime64 for the time",
                          "take the time from the tick's columns")


def chance(source: Source) -> Iterator[Finding]:
    """No random numbers, no identifiers made of them."""
    for line, name in source.used("random", "numpy.random", "secrets", "uuid", "os.urandom", "os.getrandom"):
        yield Finding(line, "a stage must not depend on chance", f"it uses {name}",
                      "derive the value from the tick's id with udfs.symbols.mixed")


def surroundings(source: Source) -> Iterator[Finding]:
    """Nothing of the process or machine."""
    for line, name in source.used("os.environ", "os.getenv", "os.getpid", "socket", "platform", "locale"):
        yield Finding(line, "a stage must not depend on where it runs", f"it uses {name}",
                      "put the setting into the profile")


def threads(source: Source) -> Iterator[Finding]:
    """No threads: what they do first is not the log's order."""
    for line, name in source.used("threading", "multiprocessing", "concurrent.futures", "asyncio", "queue"):
        yield Finding(line, "a stage must run in one thread", f"it uses {name}",
                      "let Flink run shards side by side")


def salted_hash(source: Source) -> Iterator[Finding]:
    """No hash(): for text it is salted anew in every process."""
    for call in source.calls():
        if _builtin(source, call, "hash"):
            yield Finding(call.lineno, "a hash must be the same in every process", "it calls hash()",
                          "use udfs.symbols.hashes or hashlib")


def address(source: Source) -> Iterator[Finding]:
    """No id() except to look up an object: `table[id(x)]` and `id(x) in table` tell nothing of the address."""
    fine = {id(node.slice) for node in source.nodes if isinstance(node, ast.Subscript)}
    fine |= {id(node.left) for node in source.nodes if isinstance(node, ast.Compare)
             and all(isinstance(how, ast.In | ast.NotIn) for how in node.ops)}
    for call in source.calls():
        if _builtin(source, call, "id") and id(call) not in fine:
            yield Finding(call.lineno, "no value may depend on an address in memory", "it calls id()",
                          "number the objects in the order they were met")


# ---------------------------------------------------------------------------------------------------- state and sums


def state_ttl(source: Source) -> Iterator[Finding]:
    """No state that goes by the wall clock."""
    for node in source.nodes:
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        names = [name] if name else [full.rpartition(".")[2] for _, full in _imports([node])]
        for held in names:
            if held in ("StateTtlConfig", "enable_time_to_live"):
                yield Finding(node.lineno, "state must not expire by a clock",  # type: ignore[attr-defined]
                              f"it uses {held}", "drop state by the event time of the ticks")


def order_of_sums(source: Source) -> Iterator[Finding]:
    """No compiler option and no loop that may add up in another order."""
    for call in source.calls():
        for option in call.keywords:
            off = isinstance(option.value, ast.Constant) and not option.value.value
            if option.arg in ("fastmath", "parallel") and not off:
                yield Finding(call.lineno, "sums must be added in one order", f"it sets {option.arg}", "leave it out")
    for line, name in source.used("numba.prange"):
        yield Finding(line, "sums must be added in one order", f"it uses {name}", "use range")


# --------------------------------------------------------------------------------------------------------- set order

ORDERLESS = frozenset({"sorted", "len", "min", "max", "any", "all", "set", "frozenset", "bool", "isinstance", "isin"})
"""Calls whose result does not show the order of what they are given."""

ORDERED = frozenset({"list", "tuple", "enumerate", "iter", "next", "map", "filter", "zip", "sum", "fsum", "fromkeys",
                     "join", "extend", "deque", "array", "asarray", "fromiter", "chain", "from_iterable", "dumps",
                     "str", "repr", "reduce"})
"""Calls that go through what they are given in its order."""

_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})


class _SetNames:
    """Names and attributes that hold sets, and functions that return them, anywhere in the file."""

    def __init__(self, nodes: list[ast.AST]) -> None:
        self._functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and _of_sets(node.returns)}
        self._names = {name for node in nodes for name in _annotated(node)}
        before = -1
        while before < len(self._names):
            before = len(self._names)
            self._names |= {name for node in nodes for name in self._assigned(node)}

    def _assigned(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Assign) and self.holds(node.value):
            yield from (name for target in node.targets if (name := _name(target)))
        elif isinstance(node, ast.NamedExpr) and self.holds(node.value):
            yield node.target.id

    def holds(self, node: ast.AST) -> bool:
        """Whether an expression gives a set."""
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Call):
            called = _called(node)
            return called in ("set", "frozenset") or called in self._functions or (
                called in _METHODS and isinstance(node.func, ast.Attribute) and self.holds(node.func.value))
        if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
            return any(self.holds(side) or _view(side) for side in (node.left, node.right))
        if isinstance(node, ast.IfExp):
            return self.holds(node.body) or self.holds(node.orelse)
        return _name(node) in self._names


def set_order(source: Source) -> Iterator[Finding]:
    """No result that shows in which order a set holds its members."""
    unseen = {id(argument) for call in source.calls() if _called(call) in ORDERLESS for argument in call.args}
    for node in source.nodes:
        for line, what in _shown(node, source.sets.holds, id(node) in unseen):
            yield Finding(line, "the order of a set must not show", what, "go through sorted(...), or keep a dict")


def _shown(node: ast.AST, is_set: Callable[[ast.AST], bool], unseen: bool) -> Iterator[tuple[int, str]]:
    """Line and description of every way in which this node shows the order of a set."""
    if isinstance(node, ast.For) and is_set(node.iter):
        yield node.lineno, "a loop goes through one"
    elif isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp) and not unseen:
        if any(is_set(part.iter) for part in node.generators):
            yield node.lineno, "a comprehension goes through one"
    elif isinstance(node, ast.Call):
        yield from _shown_by_call(node, is_set)
    elif isinstance(node, ast.Starred | ast.YieldFrom | ast.FormattedValue) and is_set(node.value):
        yield node.lineno, "its members are spread out or printed"
    elif isinstance(node, ast.Assign) and is_set(node.value) and isinstance(node.targets[0], ast.Tuple | ast.List):
        yield node.lineno, "it is unpacked"


def _shown_by_call(call: ast.Call, is_set: Callable[[ast.AST], bool]) -> Iterator[tuple[int, str]]:
    called = _called(call)
    if called in ORDERED and any(is_set(argument) for argument in call.args):
        yield call.lineno, f"{called}() is given one"
    if called == "pop" and not call.args and isinstance(call.func, ast.Attribute) and is_set(call.func.value):
        yield call.lineno, "pop() takes any one"


def _builtin(source: Source, call: ast.Call, name: str) -> bool:
    """Whether a call is of the built-in function, not of a method or an import of that name."""
    return isinstance(call.func, ast.Name) and call.func.id == name and name not in source.imported


def _called(call: ast.Call) -> str:
    """Last part of the name that is called."""
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _constants(call: ast.Call) -> set[object]:
    return {argument.value for argument in call.args if isinstance(argument, ast.Constant)}


def _view(node: ast.AST) -> bool:
    """Whether this is keys() or items(): an operator makes a set of them."""
    return isinstance(node, ast.Call) and _called(node) in ("keys", "items") and not node.args


def _name(node: ast.AST) -> str:
    """A variable's name, or an attribute's of self."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return f"self.{node.attr}"
    return ""


def _of_sets(annotation: ast.expr | None) -> bool:
    """Whether an annotation is set[...], frozenset[...] or AbstractSet[...], alone or with None."""
    text = ast.unparse(annotation).strip("\"'") if annotation else ""
    return any(part.strip().split("[")[0] in ("set", "frozenset", "Set", "AbstractSet", "MutableSet")
               for part in text.split("|"))


def _annotated(node: ast.AST) -> Iterator[str]:
    """Names that an annotation says hold sets; one in a class is an attribute as well."""
    if isinstance(node, ast.AnnAssign) and _of_sets(node.annotation):
        name = _name(node.target)
        yield from (name, f"self.{name}")
    elif isinstance(node, ast.arg) and _of_sets(node.annotation):
        yield node.arg


RULES: tuple[Rule, ...] = (clock, chance, surroundings, threads, salted_hash, address, state_ttl, order_of_sums,
                           set_order)


def findings(text: str, rules: tuple[Rule, ...] = RULES) -> list[Finding]:
    """What a source text breaks, in the order of its lines, each once. Raises SyntaxError for what is no Python."""
    source = Source(text)
    found = {finding: None for rule in rules for finding in rule(source)}
    return sorted(found, key=lambda finding: (finding.line, str(finding)))


def problems(path: Path) -> list[str]:
    """What a file breaks: `file:line: rule, but found; remedy` for each."""
    return [f"{path}:{finding.line}: {finding}" for finding in findings(path.read_text())]
