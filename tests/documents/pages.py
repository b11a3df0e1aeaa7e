"""Pages and their blocks."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from sigmaflow.settings import ROOT

LEFT_OUT = frozenset({"build", "node_modules", "CHANGELOG.md"})
"""Folders and files whose pages are no instructions: what is made, and what was."""

NOT_RUN = {
    "engine": "needs a container engine, which a test may not ask for",
    "cluster": "needs a cluster of the reader's",
    "venue": "needs a live venue and the internet",
    "file": "needs a recording, which is not part of the project",
    "shared": "stops or empties the stack that all tests share; tests/conftest.py does the same at the end",
    "long": "takes minutes; each is a test or a benchmark of its own (tests/FIGURES.md)",
    "reference": "each command runs in another page; here every example is read",
    "prometheus": "needs Prometheus, which the stack runs where the machine has it; tests/pipeline/monitoring runs it",
    "git": "changes the reader's clone",
}
"""Every reason for which a command of the documents is only read, and what stands behind it."""

KINDS = {"sh": {"", "stack", "check"}, "python": None, "diff": {""}, "text": {""}, "mermaid": {""}, "json": {""},
         "toml": {""}}
"""Languages of fences, and what the second word may be; None is any."""


@dataclass(frozen=True)
class Block:
    """One fenced block. `kind` is the second word of its fence, `why` the third."""

    page: str
    line: int
    language: str
    kind: str
    why: str
    text: str

    @property
    def place(self) -> str:
        """Where it is: "docs/operate.md:12"."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Span:
    """Code within a sentence."""

    page: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """Where it is: "docs/operate.md:12"."""
        return f"{self.page}:{self.line}"


def pages(root: Path = ROOT) -> list[str]:
    """Every page of the project, relative to it."""
    found = (file.relative_to(root) for file in root.rglob("*.md"))
    return sorted(str(file) for file in found if not any(part in LEFT_OUT or part[0] == "." for part in file.parts))


def blocks(page: str, root: Path = ROOT) -> list[Block]:
    """The fenced blocks of a page in their order.

    >>> [(block.language, block.kind) for block in blocks("docs/README.md")]
    []
    """
    out = []
    for token in MarkdownIt().parse((root / page).read_text()):
        if token.type in ("fence", "code_block"):
            language, kind, why = [*token.info.split(), "", "", ""][:3]
            out.append(Block(page, (token.map or [0])[0] + 1, language, kind, why, token.content))
    return out


def spans(page: str, root: Path = ROOT) -> Iterator[Span]:
    """Code within the sentences of a page."""
    for token in MarkdownIt().enable("table").parse((root / page).read_text()):
        if token.type == "inline":
            for child in token.children or []:
                if child.type == "code_inline":
                    yield Span(page, (token.map or [0])[0] + 1, child.content)


def links(page: str, root: Path = ROOT) -> Iterator[str]:
    """Files that a page links to, as it writes them."""
    for token in MarkdownIt().enable("table").parse((root / page).read_text()):
        for child in token.children or []:
            target = str(child.attrGet("href") or "").partition("#")[0]
            if target and "://" not in target:
                yield target


def of_class(kind: str) -> list[Block]:
    """All blocks of commands of a class."""
    return [block for page in pages() for block in blocks(page) if block.language == "sh" and block.kind == kind]
