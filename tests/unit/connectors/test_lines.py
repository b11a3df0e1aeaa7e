"""Packed files: read by content, and a damaged one is refused before anything is read."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest
import zstandard

from connectors.market.lines import check, head, lines, member
from sigmaflow.errors import UserError

TEXT = b"".join(b"line %d of a recording\n" % i for i in range(60_000))


def packed(kind: str, path: Path, text: bytes = TEXT) -> Path:
    """The text in a file of some kind, with a name that does not tell it."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.csv", text)
    else:
        pack = {"plain": bytes, "gzip": gzip.compress, "zstandard": zstandard.compress}[kind]
        path.write_bytes(pack(text))
    return path


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstandard", "zip"])
def test_lines_come_back_whole(kind: str, tmp_path: Path) -> None:
    path = packed(kind, tmp_path / "recording")
    assert check(path) == 60_000
    assert list(lines(path)) == TEXT.splitlines()
    assert head(path, 2) == [b"line 0 of a recording", b"line 1 of a recording"]
    assert member(path) == ("inner.csv" if kind == "zip" else "recording")


@pytest.mark.parametrize("kind", ["gzip", "zstandard", "zip"])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused_with_what_to_do(kind: str, kept: float, tmp_path: Path) -> None:
    path = packed(kind, tmp_path / "recording")
    whole = path.read_bytes()
    path.write_bytes(whole[:int(len(whole) * kept)])
    with pytest.raises(UserError, match=r"must be whole.* after line \d+; fetch"):
        check(path)


def test_a_corrupt_gzip_file_is_refused(tmp_path: Path) -> None:
    path = packed("gzip", tmp_path / "recording")
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 255
    path.write_bytes(held)
    with pytest.raises(UserError, match="does not unpack"):
        check(path)


@pytest.mark.parametrize(("at", "value", "found"), [
    (6, 0x01, "encrypted"), (8, 0x63, "compression"), (4, 0x80, "version")], ids=("encrypted", "method", "version"))
def test_an_archive_that_asks_for_more_than_python_has_is_refused(
    at: int, value: int, found: str, tmp_path: Path
) -> None:
    """The same field stands in the entry's own header and, two bytes further, in the directory at the end."""
    path = packed("zip", tmp_path / "recording")
    held = bytearray(path.read_bytes())
    held[at] = value
    held[held.index(b"PK\x01\x02") + at + 2] = value
    path.write_bytes(held)
    with pytest.raises(UserError, match=rf"must be whole.*{found}"):
        check(path)


def test_files_that_are_two_packed_one_after_the_other_are_read_to_the_end(tmp_path: Path) -> None:
    for pack in (gzip.compress, zstandard.compress):
        path = tmp_path / "two"
        path.write_bytes(pack(b"one\n") + pack(b"two"))
        assert check(path) == 2
        assert list(lines(path)) == [b"one", b"two"]


def test_missing_empty_and_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, found in (("nothing", "does not"), ("empty", "is empty"), (".", "directory")):
        with pytest.raises(UserError, match=found):
            check(tmp_path / name)
