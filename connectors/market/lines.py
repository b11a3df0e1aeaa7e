"""Reads the lines of a recorded file, packed with gzip, Zstandard or zip, or not at all: told by content, not by name.

A packed file is checked to its end before its first line is given, so that a truncated one stops a replay before
anything was sent, not in the middle.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from sigmaflow.errors import UserError

STAGE = "replay"
BLOCK = 1 << 20


_UNZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError,
          OverflowError)
"""What zipfile raises for bytes that are no sound archive; RuntimeError for encryption and for unknown methods."""


class _Damaged(Exception):
    """A packed file that ends early or does not unpack."""


def lines(path: Path) -> Iterator[bytes]:
    """Every line without its end, empty ones included. Assumes that `check` has passed."""
    rest = b""
    for block in _blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r")
    if rest:
        yield rest.rstrip(b"\r")


def head(path: Path, count: int) -> list[bytes]:
    """The first lines that are not empty, at most `count`."""
    found: list[bytes] = []
    for line in lines(path):
        if line.strip():
            found.append(line)
        if len(found) == count:
            break
    return found


def check(path: Path) -> int:
    """Unpack the whole file once and give its number of lines.

    Raises UserError for a missing, unreadable, empty or damaged file, with the last line that can be read.
    """
    count, last = 0, b"\n"
    try:
        for block in _blocks(path):
            count += block.count(b"\n")
            last = block[-1:]
    except _Damaged as error:
        raise UserError(STAGE, f"{path} must be whole", f"it {error} after line {count}",
                        "fetch the file again, or cut it there and pack it anew") from None
    except FileNotFoundError:
        raise UserError(STAGE, f"{path} must exist", "it does not", "give the path of a recording") from None
    except OSError as error:
        raise UserError(STAGE, f"{path} must be readable", error.strerror or str(error), "check the file") from None
    count += last != b"\n"
    if count == 0:
        raise UserError(STAGE, f"{path} must hold a recording", "it is empty", "give another file")
    return count


def member(path: Path) -> str:
    """Name of the file that a recording holds: the zip member's, else the file's own without .gz and .zst."""
    if _magic(path).startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()[0]
    return path.name.removesuffix(".gz").removesuffix(".zst")


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _blocks(path: Path) -> Iterator[bytes]:
    magic = _magic(path)
    if magic.startswith(b"\x1f\x8b"):
        yield from _gzip(path)
    elif magic == b"\x28\xb5\x2f\xfd":
        yield from _zstandard(path)
    elif magic.startswith(b"PK"):
        yield from _zip(path)
    else:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(BLOCK), b"")


def _gzip(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        while True:
            try:
                block = file.read1(BLOCK)
            except EOFError:
                raise _Damaged("ends in the middle of its gzip stream") from None
            except (zlib.error, gzip.BadGzipFile) as error:
                raise _Damaged(f"does not unpack ({error})") from None
            if not block:
                return
            yield block


def _zstandard(path: Path) -> Iterator[bytes]:
    unpack = zstandard.ZstdDecompressor().decompressobj()
    with path.open("rb") as file:
        for packed in iter(lambda: file.read(BLOCK), b""):
            while packed:
                try:
                    if unpack.eof:
                        unpack = zstandard.ZstdDecompressor().decompressobj()
                    block = unpack.decompress(packed)
                except zstandard.ZstdError as error:
                    raise _Damaged(f"does not unpack ({error})") from None
                if block:
                    yield block
                packed = unpack.unused_data if unpack.eof else b""
    if not unpack.eof:
        raise _Damaged("ends in the middle of its Zstandard frame")


def _zip(path: Path) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise _Damaged(f"holds {len(names)} files where one is wanted, found")
            with archive.open(names[0]) as file:
                yield from iter(lambda: file.read(BLOCK), b"")
    except _UNZIP as error:
        raise _Damaged(f"does not unpack ({error})") from None


