"""Avro in the Confluent wire format to and from columns, a whole micro-batch at a time.

A schema is turned into a small program (an array of field kinds and target columns) that two numba loops interpret:
one turns the bytes of many messages into columns, one turns columns into bytes. The layout of a message is
https://avro.apache.org/docs/1.11.1/specification/#binary-encoding behind one zero byte and the schema id as four
bytes, big endian (https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/#wire-format).

Long, int, boolean and enum fields become int64 columns; double fields float64 columns, NaN for null; string fields a
`Text` column, which points into the bytes it was decoded from. An array of records becomes one two-dimensional column
for each of its fields, named `array.field`, plus `array.count`; an array of doubles one two-dimensional column.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from schemas import wire
from schemas.layout import (
    ARRAY_END,
    ARRAY_START,
    BOOLEAN,
    DOUBLE,
    LONG,
    MAX_ITEMS,
    NULL_LONG,
    NULLABLE_DOUBLE,
    NULLABLE_LONG,
    SKIP,
    STRING,
    Field,
    column_kinds,
    fields,
)
from schemas.packed import Packed, Text
from schemas.resolution import (
    BAD_MAGIC,
    BAD_TEXT,
    BYTES,
    DEFAULT_DOUBLE,
    DEFAULT_ITEM,
    DEFAULT_LONG,
    DEFAULT_TEXT,
    ENUM,
    FLOAT,
    LONG_AS_DOUBLE,
    NULL_VALUE,
    OK,
    OPTION,
    REQUIRED,
    TRAILING,
    TRUNCATED,
    UNKNOWN_SCHEMA,
    UNRESOLVED,
    Operation,
    Resolution,
)
from sigmaflow.errors import UserError

HEADER = wire.HEADER.size
ONE = np.uint64(1)


Columns = dict[str, Any]
"""Columns by name: arrays, or `Text` for strings."""


# ---------------------------------------------------------------------------------------------------------- decode


@numba.njit(cache=True, inline="always")
def _varint(buf, i, end):
    """One zigzag varint: (value, next position), position -1 where the bytes end too early or run past 64 bits."""
    value, shift = np.uint64(0), np.uint64(0)
    while True:
        if i >= end or shift > np.uint64(63):
            return np.int64(0), -1
        byte = np.uint64(buf[i])
        i += 1
        value |= (byte & np.uint64(127)) << shift
        shift += np.uint64(7)
        if byte < 128:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), i


@numba.njit(cache=True)
def _utf8(buf, i, end):
    """Whether buf[i:end] is well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF."""
    while i < end:
        byte = buf[i]
        if byte < 0x80:
            extra = 0
        elif 0xC2 <= byte < 0xE0:
            extra = 1
        elif 0xE0 <= byte < 0xF0:
            extra = 2
        elif 0xF0 <= byte < 0xF5:
            extra = 3
        else:
            return False
        if i + extra >= end:
            return False
        second = buf[i + 1] if extra else 0
        if (byte == 0xE0 and second < 0xA0) or (byte == 0xED and second >= 0xA0) \
                or (byte == 0xF0 and second < 0x90) or (byte == 0xF4 and second >= 0x90):
            return False
        for k in range(extra):
            if buf[i + 1 + k] & 0xC0 != 0x80:
                return False
        i += 1 + extra
    return True


@numba.njit(cache=True)
def _decode(buf, at, size, added, ids, first, kinds, target, low, high, outside, numbers, table, ints, floats, starts,
            lengths, arrays, verdict):
    """Decode every message; the columns of a failed one mean nothing and its verdict says why."""
    word = np.zeros(8, np.uint8)
    as_double, as_float = word.view(np.float64), word.view(np.float32)
    for row in range(at.shape[0]):
        i, end = at[row], at[row] + size[row]
        if size[row] < 0:
            verdict[row] = NULL_VALUE
            continue
        if end - i < HEADER:
            verdict[row] = TRUNCATED
            continue
        if buf[i] != 0:
            verdict[row] = BAD_MAGIC
            continue
        schema = (np.int64(buf[i + 1]) << 24) | (np.int64(buf[i + 2]) << 16) | (np.int64(buf[i + 3]) << 8) | buf[i + 4]
        program = -1
        for k in range(ids.shape[0]):
            if ids[k] == schema:
                program = k
        if program < 0:
            verdict[row] = UNKNOWN_SCHEMA
            continue
        i += HEADER
        code, items, item, body, count_at = first[program], np.int64(0), np.int64(0), np.int64(0), SKIP
        bad = OK
        while code < first[program + 1]:
            kind, to = kinds[code], target[code]
            if kind == ARRAY_START:
                count_at = to
                items, i = _varint(buf, i, end)
                if i >= 0 and items < 0:                      # a block with its size in bytes in front
                    items = -items
                    _, i = _varint(buf, i, end)
                item, body = np.int64(0), np.int64(code + 1)
                if i < 0 or items > MAX_ITEMS:
                    bad = TRUNCATED
                    break
                if count_at >= 0:
                    ints[count_at, row] = items
                if items == 0:
                    while kinds[code] != ARRAY_END:
                        code += 1
                    items = np.int64(-1)
                    continue
            elif kind == ARRAY_END:
                if items > 0:
                    item += 1
                    if item < items:
                        code = body
                        continue
                    rest, i = _varint(buf, i, end)            # only single-block arrays are written by anyone here
                    if i < 0 or rest != 0:
                        bad = TRUNCATED
                        break
                items = np.int64(0)
            elif kind in (LONG, NULLABLE_LONG):
                if kind == NULLABLE_LONG:
                    branch, i = _varint(buf, i, end)
                    if i < 0 or branch > 1 or branch < 0:
                        bad = TRUNCATED
                        break
                else:
                    branch = np.int64(1)
                value = np.int64(NULL_LONG)
                if branch == 1:
                    value, i = _varint(buf, i, end)
                    if i < 0:
                        bad = TRUNCATED
                        break
                    if value < low[code] or value > high[code]:
                        bad = outside[code]
                        break
                if to >= 0:
                    if items > 0:
                        arrays[to, row, item] = value
                    else:
                        ints[to, row] = value
            elif kind in (DOUBLE, NULLABLE_DOUBLE):
                branch = np.int64(1)
                if kind == NULLABLE_DOUBLE:
                    branch, i = _varint(buf, i, end)
                    if i < 0 or branch > 1 or branch < 0:
                        bad = TRUNCATED
                        break
                number = np.nan
                if branch == 1:
                    if i + 8 > end:
                        bad = TRUNCATED
                        break
                    for k in range(8):
                        word[k] = buf[i + k]
                    number = as_double[0]
                    i += 8
                if to >= 0:
                    if items > 0:
                        arrays[to, row, item] = number
                    else:
                        floats[to, row] = number
            elif kind == BOOLEAN:
                if i >= end or buf[i] > 1:
                    bad = TRUNCATED
                    break
                if to >= 0 and items > 0:
                    arrays[to, row, item] = buf[i]
                elif to >= 0:
                    ints[to, row] = buf[i]
                i += 1
            elif kind in (STRING, BYTES):
                length, i = _varint(buf, i, end)
                if i < 0 or length < 0 or length > end - i:
                    bad = TRUNCATED
                    break
                if kind == STRING and not _utf8(buf, i, i + length):
                    bad = BAD_TEXT
                    break
                if to >= 0 and items == 0:
                    starts[to, row], lengths[to, row] = i, length
                i += length
            elif kind in (ENUM, LONG_AS_DOUBLE):
                value, i = _varint(buf, i, end)
                if kind == ENUM and i >= 0 and 0 <= value <= high[code]:
                    value = table[low[code] + value]
                    bad = UNRESOLVED if value < 0 else OK
                elif i < 0 or kind == ENUM or value < low[code] or value > high[code]:
                    bad = TRUNCATED if i < 0 else outside[code]
                if bad != OK:
                    break
                if to >= 0 and items > 0:
                    arrays[to, row, item] = value
                elif to >= 0 and kind == ENUM:
                    ints[to, row] = value
                elif to >= 0:
                    floats[to, row] = value
            elif kind == FLOAT:
                if i + 4 > end:
                    bad = TRUNCATED
                    break
                for k in range(4):
                    word[k] = buf[i + k]
                i += 4
                if to >= 0 and items > 0:
                    arrays[to, row, item] = as_float[0]
                elif to >= 0:
                    floats[to, row] = as_float[0]
            elif kind in (OPTION, REQUIRED):
                branch, i = _varint(buf, i, end)
                if i < 0 or branch > 1 or branch < 0:
                    bad = TRUNCATED
                    break
                if branch == low[code]:
                    if kind == REQUIRED:
                        bad = UNRESOLVED
                        break
                    code += 1                                 # past the value that is not there
                    if to >= 0 and items > 0:
                        arrays[to, row, item] = np.nan
                    elif to >= 0 and kinds[code] == LONG:
                        ints[to, row] = NULL_LONG
                    elif to >= 0:
                        floats[to, row] = np.nan
            elif kind == DEFAULT_LONG:
                ints[to, row] = low[code]
            elif kind == DEFAULT_DOUBLE:
                floats[to, row] = numbers[code]
            elif kind == DEFAULT_ITEM:
                arrays[to, row, item if low[code] < 0 else low[code]] = numbers[code]
            elif kind == DEFAULT_TEXT:
                starts[to, row], lengths[to, row] = added + low[code], high[code]
            code += 1
        if bad == OK and i != end:
            bad = TRAILING
        verdict[row] = bad


@dataclass(frozen=True)
class Batch:
    """Messages as columns. `verdict[i]` is OK or says why message i could not be read (its columns then mean nothing).
    """

    columns: Columns
    verdict: NDArray[np.uint8]


class Decoder:
    """Reads one subject's messages into the columns of `reader`, whichever registered version wrote them.

    `writers` maps schema id to writer schema. A field that the writer does not have takes the reader's default, one
    that the reader does not have is skipped, enum symbols go by name, numbers widen; a value that the reader has no
    place for gets the verdict UNRESOLVED. `resolution.py` has the rules. `find` is asked for the writer schema of an id
    that is not among `writers`, as when it was registered later; it gives None where there is none.
    """

    def __init__(self, reader: Mapping[str, Any], writers: Mapping[int, Mapping[str, Any]],
                 find: Callable[[int], Mapping[str, Any] | None] | None = None) -> None:
        """Raises UserError, naming field and rule, where none of a writer's messages could be read."""
        self._reader, self._find = reader, find
        items = [f for f in fields(reader) if f.array is not None and f.kind not in (ARRAY_START, ARRAY_END)]
        counts = [f for f in fields(reader) if f.kind == ARRAY_START]
        kinds = column_kinds(reader)
        self._ints = [n for n, k in kinds.items() if k == LONG] + [f"{f.name}.count" for f in counts]
        self._floats = [n for n, k in kinds.items() if k == DOUBLE]
        self._texts = [n for n, k in kinds.items() if k == STRING]
        self._arrays = [f.name for f in items if f.kind != STRING]
        self._program(writers)

    def _program(self, writers: Mapping[int, Mapping[str, Any]]) -> None:
        names = (self._ints, self._floats, self._texts, self._arrays)
        resolution = Resolution(self._reader, {name: n for held in names for n, name in enumerate(held)})
        programs = {schema_id: resolution.program(schema_id, writer) for schema_id, writer in sorted(writers.items())}
        code = [operation for program in programs.values() for operation in program]
        first = np.cumsum([0, *map(len, programs.values())])
        columns = [np.array([o[n] for o in code], np.int64) for n in range(len(Operation._fields) - 1)]
        self._code = (np.array(list(programs), np.int64), first.astype(np.int64), *columns,
                      np.array([o.number for o in code], np.float64), np.array(resolution.table, np.int64))
        self._text, self._writers = bytes(resolution.text), writers

    def decode(self, messages: Sequence[bytes | None]) -> Batch:
        """Columns of these messages, one row each, and a verdict for each."""
        packed = Packed.of(messages)
        batch = self._read(packed)
        if self._find is None or not (batch.verdict == UNKNOWN_SCHEMA).any():
            return batch
        unknown = (packed[row] or b"" for row in np.flatnonzero(batch.verdict == UNKNOWN_SCHEMA).tolist())
        return self._read(packed) if self._learn({int.from_bytes(m[1:HEADER], "big") for m in unknown}) else batch

    def _learn(self, ids: set[int]) -> bool:
        """Whether one of these ids is known now. One that cannot be read stays unknown: the job goes on."""
        assert self._find is not None
        before = len(self._writers)
        for schema_id in sorted(ids):
            writer = self._find(schema_id)
            if writer is not None:
                with suppress(UserError):
                    self._program({**self._writers, schema_id: writer})
        return len(self._writers) > before

    def _read(self, messages: Packed) -> Batch:
        rows, added, pool = len(messages), len(messages.pool), messages.pool
        if self._text:
            pool = np.concatenate([pool, np.frombuffer(self._text, np.uint8)])
        ints = np.zeros((len(self._ints), rows), np.int64)
        floats = np.full((len(self._floats), rows), np.nan)
        starts, lengths = (np.zeros((len(self._texts), rows), np.int64) for _ in range(2))
        arrays = np.zeros((max(1, len(self._arrays)), rows, MAX_ITEMS if self._arrays else 1))
        verdict = np.zeros(rows, np.uint8)
        _decode(pool, messages.start, messages.length, added, *self._code, ints, floats, starts, lengths, arrays,
                verdict)
        columns: Columns = dict(zip(self._ints, ints, strict=True)) | dict(zip(self._floats, floats, strict=True))
        columns |= {name: Text(pool, starts[i], lengths[i]) for i, name in enumerate(self._texts)}
        for i, name in enumerate(self._arrays):
            most = int(ints[self._ints.index(f"{name.split('.')[0]}.count")].max(initial=0))
            columns[name] = np.ascontiguousarray(arrays[i, :, :most])
        return Batch(columns, verdict)


# ---------------------------------------------------------------------------------------------------------- encode


@numba.njit(cache=True, inline="always")
def _put(buf, i, value):
    word = (np.uint64(value) << np.uint64(1)) ^ np.uint64(value >> np.int64(63))
    while word > np.uint64(127):
        buf[i] = np.uint8(word & np.uint64(127)) | np.uint8(128)
        word >>= np.uint64(7)
        i += ONE
    buf[i] = np.uint8(word)
    return i + ONE


@numba.njit(cache=True, inline="always")
def _copy(buf, i, source, start, length):
    first = np.uint64(start)
    for k in range(np.uint64(length)):
        buf[i + k] = source[first + k]
    return i + np.uint64(length)


@numba.njit(cache=True)
def _encode(header, kinds, source, ints, floats, pool, starts, lengths, counts, arrays, constant, tail, buf, offsets):
    word = np.zeros(8, np.uint8)
    as_double = word.view(np.float64)
    i = np.uint64(0)
    for row in range(offsets.shape[0] - 1):
        offsets[row] = i
        i = _copy(buf, i, header, 0, HEADER)
        code, item, items, body = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        inside = False
        while code < kinds.shape[0]:
            kind, at = kinds[code], source[code]
            if kind == ARRAY_START:
                items, item, body, inside = counts[at, row], np.int64(0), code + 1, True
                i = _put(buf, i, items)
                if items == 0:
                    while kinds[code] != ARRAY_END:
                        code += 1
                    continue
            elif kind == ARRAY_END:
                item += 1
                if item < items:
                    code = body
                    continue
                if items > 0:
                    i = _put(buf, i, np.int64(0))
                inside = False
            elif kind == LONG:
                i = _put(buf, i, np.int64(arrays[at, row, item]) if inside else ints[at, row])
            elif kind == BOOLEAN:
                buf[i] = np.uint8(arrays[at, row, item]) if inside else ints[at, row]
                i += ONE
            elif kind == NULLABLE_LONG:
                if ints[at, row] == NULL_LONG:
                    i = _put(buf, i, np.int64(0))
                else:
                    i = _put(buf, _put(buf, i, np.int64(1)), ints[at, row])
            elif kind in (DOUBLE, NULLABLE_DOUBLE):
                number = arrays[at, row, item] if inside else floats[at, row]
                if kind == NULLABLE_DOUBLE:
                    i = _put(buf, i, np.int64(0 if np.isnan(number) else 1))
                if kind == DOUBLE or not np.isnan(number):
                    as_double[0] = number
                    i = _copy(buf, i, word, 0, 8)
            else:
                start = constant[at, item, 0] if inside else starts[at, row]
                length = constant[at, item, 1] if inside else lengths[at, row]
                i = _copy(buf, _put(buf, i, length), pool, start, length)
            code += 1
        i += np.uint64(tail)
    offsets[-1] = i


class Encoder:
    """Writes columns as messages of one schema.

    `constants` gives strings that are the same in every row, so that there is no column of them: those of array items
    by item (alpha names), that of another field alone. `tail` bytes behind each message are left for the caller.
    """

    def __init__(self, schema: Mapping[str, Any], schema_id: int,
                 constants: Mapping[str, Sequence[str]] | None = None, tail: int = 0) -> None:
        self._tail = tail
        self._header = np.frombuffer(wire.HEADER.pack(0, schema_id), np.uint8)
        self._fields = fields(schema)
        ints, floats, texts, arrays, counts = (list[str]() for _ in range(5))
        source = []
        for f in self._fields:
            names = _place(f, ints, floats, texts, arrays, counts)
            source.append(SKIP if names is None else len(names) - 1)
        self._names = ints, floats, texts, arrays, counts
        self._kinds = np.array([f.kind for f in self._fields], np.int64)
        self._source = np.array(source, np.int64)
        self._width = HEADER + sum(10 if f.kind != STRING else 5 for f in self._fields if f.array is None)
        self._item_width = sum(10 if f.kind != STRING else 5 for f in self._fields if f.array is not None)
        self._hold(constants or {})

    def _hold(self, constants: Mapping[str, Sequence[str]]) -> None:
        """Lay out the constants: their bytes, and where each item's are. Those behind a first widen every message."""
        texts, pool = self._names[2], b""
        self._held = np.zeros((max(1, len(texts)), max(1, MAX_ITEMS), 2), np.int64)
        self._varying = [(i, name) for i, name in enumerate(texts) if name not in constants]
        for i, name in enumerate(texts):
            for item, text in enumerate(constants.get(name, ())):
                self._held[i, item] = len(pool), len(text.encode())
                pool += text.encode()
        self._pool = np.frombuffer(pool or b"\0", np.uint8)
        self._width += int(self._held[:, 1:, 1].sum())

    def encode(self, columns: Mapping[str, Any], rows: int) -> Packed:
        """One message for each row, in order. What is a number, or a column of one row, all rows have. The items of an
        array may be in several columns, the first items in the first of them."""
        if rows == 0:
            return Packed.table([])
        ints, floats, texts, arrays, counts = self._names
        held = [_parts(columns[n]) for n in arrays]
        items = max((sum(part.shape[1] for part in parts) for parts in held), default=0)
        places = np.empty((2, max(1, len(texts)), rows), np.int64)
        places[:] = self._held[:, 0].T[:, :, None]
        pool = self._texts(columns, places)
        held_arrays = np.empty((max(1, len(arrays)), rows, max(1, items)))  # what is behind an array's end is not read
        for i, parts in enumerate(held):
            at = 0
            for part in parts:
                held_arrays[i, :, at:at + part.shape[1]] = part
                at += part.shape[1]
        width = self._width + items * self._item_width + 16 + self._tail
        buf = np.empty(rows * width + int(places[1].sum()), np.uint8)
        offsets = np.empty(rows + 1, np.int64)
        _encode(self._header, self._kinds, self._source, _stack([columns[n] for n in ints], rows, np.int64),
                _stack([columns[n] for n in floats], rows, np.float64), pool, places[0], places[1],
                _stack([columns[f"{n}.count"] for n in counts], rows, np.int64), held_arrays, self._held, self._tail,
                buf, offsets)
        return Packed(buf, offsets[:-1], np.diff(offsets))

    def _texts(self, columns: Mapping[str, Any], places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """All texts' bytes, each buffer once; `places` gets where each is."""
        parts, seen, total = [self._pool], dict[int, int](), len(self._pool)
        for i, name in self._varying:
            text = columns[name]
            if id(text.pool) not in seen:
                seen[id(text.pool)] = total
                parts.append(text.pool)
                total += len(text.pool)
            np.add(text.start, seen[id(text.pool)], out=places[0, i])
            places[1, i] = text.length
        return np.concatenate(parts)


def _place(f: Field, ints: list[str], floats: list[str], texts: list[str], arrays: list[str],
           counts: list[str]) -> list[str] | None:
    if f.kind == ARRAY_END:
        return None
    if f.kind == ARRAY_START:
        names = counts
    elif f.kind == STRING:
        names = texts
    elif f.array is not None:
        names = arrays
    else:
        names = floats if f.kind in (DOUBLE, NULLABLE_DOUBLE) else ints
    names.append(f.name)
    return names


def _parts(column: NDArray[Any] | tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
    return column if isinstance(column, tuple) else (column,)


def _stack(parts: list[NDArray[Any]], rows: int, dtype: type) -> NDArray[Any]:
    out: NDArray[Any] = np.empty((max(1, len(parts)), rows), dtype)
    for i, part in enumerate(parts):
        out[i] = part
    return out
