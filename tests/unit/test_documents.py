"""Every page can be followed: its commands exist, its examples work, and nothing is outside of this."""
from __future__ import annotations

import doctest
import os
from pathlib import Path
from types import ModuleType

import pytest

from sigmaflow.cli import docs
from sigmaflow.settings import ROOT
from tests.documents import pages as reading
from tests.documents import shell
from tests.documents.copies import Copy, Failure, apply, environment, run
from tests.documents.pages import KINDS, NOT_RUN, Block, blocks, links, of_class, pages, spans

PAGES = pages()
RUN = [page for page in PAGES if any((b.language == "sh" and not b.kind) or b.language in ("diff", "python")
                                     for b in blocks(page))]
"""Pages that a test follows in a copy of the project."""

ONLY_READ = {
    "up": "start does it too", "chaos": "long", "bench": "long", "replay-identity": "long", "smoke-test": "long",
    "poison": "long",
    "reference": "file", "backtest": "file", "sweep": "file", "feed": "venue", "fetch": "venue", "alerts": "prometheus",
    "web": "the stack runs it", "slow fred": "venue", "slow rss": "venue", "slow alpaca": "venue",
    "slow reddit": "venue", "slow sentiment": "venue", "slow indicators": "venue",
    "restart": "shared", "stop": "shared", "clean": "shared",
}
"""Commands that no page runs, and why: a reason of NOT_RUN, or what stands for them."""


@pytest.mark.parametrize("page", PAGES)
def test_every_fence_says_what_it_is(page: str) -> None:
    for block in blocks(page):
        assert block.language in KINDS, f"{block.place}: a fence of {block.language!r}"
        known = KINDS[block.language]
        assert known is None or block.kind in known, f"{block.place}: {block.kind!r} behind {block.language}"
        assert block.kind != "check" or block.why in NOT_RUN, f"{block.place}: {block.why!r} is no reason of NOT_RUN"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_can_be_typed_as_it_stands(page: str) -> None:
    found = [(block.place, shell.wrong(words)) for block in blocks(page) if block.language == "sh"
             for words in shell.commands(block.text)]
    found += [(span.place, shell.named_wrong(words)) for span in spans(page)
              if (words := shell.named(span.text)) is not None]
    assert [f"{place}: {why}" for place, why in found if why] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in links(page):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", RUN)
def test_a_page_can_be_followed(page: str, tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    for block in blocks(page):
        copy.follow(block)


def ran() -> set[str]:
    """Commands of the command line that a page runs, by their words; a target of make runs the command of its name."""
    out = set()
    for block in [*of_class(""), *of_class("stack")]:
        for words in shell.commands(block.text):
            if words[0].endswith("make") or words[0].endswith("sigmaflow"):
                out.add(" ".join(word for word in words[1:3] if word[0] not in "-$" and "=" not in word))
    return out


def test_every_command_is_run_by_a_page_or_has_a_reason_not_to_be() -> None:
    commands = {path.removeprefix("sigmaflow ") for path, _ in docs.commands()}
    there = ran()
    missing = {name for name in commands if not any(found == name or found.startswith(f"{name} ") for found in there)}
    assert missing == set(ONLY_READ)


def test_a_reason_is_used_and_a_command_that_is_run_needs_none() -> None:
    assert {block.why for block in of_class("check")} <= set(NOT_RUN)
    assert {why for why in NOT_RUN} - {block.why for block in of_class("check")} == set()


# ---------------------------------------------------------------------------------------------------- of the harness


@pytest.mark.parametrize("module", [reading, shell])
def test_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def block(text: str, language: str = "sh") -> Block:
    return Block("page.md", 1, language, "", "", text)


@pytest.mark.parametrize("typed", [
    "sigmaflow nonsense", "sigmaflow dlq nonsense", "sigmaflow status --nonsense", "make nonsense", "make audit NO=1",
    "python -m nowhere.at.all", "nonsense", "flink run -py jobs/none.py", "flink run -py jobs/pipeline.py --none",
    "sigmaflow explain", "cd x && make nonsense"])
def test_what_is_wrong_is_found(typed: str) -> None:
    assert any(shell.wrong(words) for words in shell.commands(typed))


def test_a_block_stops_at_the_first_command_that_fails(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"page.md:1 ends with 1"):
        run(block("false\ntouch here\n"), tmp_path, dict(os.environ))
    assert not (tmp_path / "here").exists()
    with pytest.raises(Failure, match=r"page.md:1 still runs after 1 s:(.|\n)*[+] [01] s: sleep 9"):
        run(block("sleep 9 | cat\n"), tmp_path, environment(ROOT, tmp_path), limit_s=1)


def test_a_diff_is_applied_where_its_lines_are(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\nthree\n")
    changed = apply(tmp_path, block("--- a/a.py\n+++ b/a.py\n@@\n one\n-two\n+2\n@@\n+four\n--- /dev/null\n+++ b/b.py\n"
                                    "@@\n+new\n", "diff"))
    assert changed == ["a.py", "b.py"] and (tmp_path / "b.py").read_text() == "new\n"
    assert (tmp_path / "a.py").read_text() == "one\n2\nthree\nfour\n"
    with pytest.raises(Failure, match="must hold these lines once"):
        apply(tmp_path, block("--- a/a.py\n+++ b/a.py\n@@\n-five\n", "diff"))
