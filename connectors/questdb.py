"""Equity, positions and fills in QuestDB: tables derived from `schemas/`, rows that can be written any number of times.

Rows go through the line protocol over HTTP and not through the PostgreSQL wire: the answer 204 comes after the rows
are in the table's write-ahead log, a refused line is named in the answer, one request carries thousands of rows
without a prepared statement a row, and nothing but the standard library is needed. The tables deduplicate on order
time and the message's own key, so a batch written twice leaves the rows of a batch written once; that is what makes
at-least-once delivery exact here.

`ts`, the designated timestamp, is `ts_order`: event time made non-decreasing, so that the curve never runs backwards.
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import schemas
from schemas import units

TIMEOUT_S = 10.0
#: Avro type to column type; a field in whole units (schemas/units.py) is a DOUBLE. Enums and strings are few values
#: repeated: account, venue, symbol, side, alpha.
TYPES = {"string": "SYMBOL", "enum": "SYMBOL", "long": "LONG", "int": "LONG", "double": "DOUBLE"}
ORDER_TIME = "ts_order"


class QuestDBError(Exception):
    """QuestDB did not take the rows: it is not there, or it refused a line."""


@dataclass(frozen=True)
class Table:
    """A table: its name, its columns with their types, and the key that makes a row the same row."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]

    @property
    def ddl(self) -> str:
        """Statement that creates the table where it is missing."""
        columns = ", ".join(f'"{name}" {kind}' for name, kind in self.columns.items())  # partition is a keyword
        return (
            f"CREATE TABLE IF NOT EXISTS {self.name} (ts TIMESTAMP_NS, {columns}) TIMESTAMP(ts) PARTITION BY DAY WAL "
            f"DEDUP UPSERT KEYS(ts, {', '.join(self.key)})"
        )

    @cached_property
    def _tags(self) -> list[str]:
        """Symbol columns: line protocol wants them first."""
        return [name for name, kind in self.columns.items() if kind == "SYMBOL"]

    @cached_property
    def _values(self) -> list[tuple[str, str]]:
        return [(name, kind) for name, kind in self.columns.items() if kind != "SYMBOL"]

    def line(self, row: Mapping[str, Any]) -> str:
        """Return one row in line protocol; what is missing, empty or not finite is left out and so null.

        >>> table = Table("t", {"account": "SYMBOL", "seq": "LONG", "mid": "DOUBLE"}, ("seq",))
        >>> table.line({"account": "my paper", "seq": 3, "mid": 1.5, "ts_order": 9})
        't,account=my\\\\ paper seq=3i,mid=1.5 9'
        """
        head = "".join(f",{name}={escape(row[name])}" for name in self._tags if row.get(name))
        fields = []
        for name, kind in self._values:
            value = row.get(name)
            if kind == "DOUBLE":
                if value is not None and math.isfinite(value):
                    fields.append(f"{name}={value!r}")
            elif value is not None:
                fields.append(f"{name}={value}{'n' if kind == 'TIMESTAMP_NS' else 'i'}")
        return f"{self.name}{head} {','.join(fields)} {row[ORDER_TIME]}"


@cache
def escape(text: str) -> str:
    """Return a symbol with the characters escaped that would end it.

    >>> print(escape("a b,c=d"))
    a\\ b\\,c\\=d
    """
    for mark in ("\\", " ", ",", "="):
        text = text.replace(mark, "\\" + mark)
    return text.replace("\n", "\\\n").replace("\r", "\\\r")


def _columns(schema: str, names: Iterable[str] = ()) -> dict[str, str]:
    """Return column types of a schema's fields, or of those named; order time becomes `ts` and is no column."""
    out, whole = {}, units.names(schema)
    for field in schemas.load(schema)["fields"]:
        kind = field["type"]["type"] if isinstance(field["type"], dict) else field["type"]
        name = field["name"]
        if name != ORDER_TIME and (not names or name in names):
            out[name] = "TIMESTAMP_NS" if name.startswith("ts_") else "DOUBLE" if name in whole else TYPES[kind]
    return out


EQUITY = Table("equity", _columns("equity"), ("account", "account_seq"))
FILLS = Table("fills", _columns("fill"), ("account", "fill_id"))
#: The newest row of a symbol is its position now: `SELECT * FROM positions LATEST ON ts PARTITION BY account, symbol`.
POSITIONS = Table(
    "positions",
    _columns("equity", ("account", "account_seq", "venue", "symbol", "position", "mid", "symbol_pnl")),
    ("account", "account_seq", "symbol"),
)
TABLES = (EQUITY, FILLS, POSITIONS)


class QuestDB:
    """The sink: `write` returns when the rows are QuestDB's."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._ready = False

    def write(self, lines: list[str]) -> None:
        """Write rows in line protocol, tables created first where missing. Raises QuestDBError where not all are in.

        A failed request may have written some of its rows; writing them again changes nothing. After a failure the
        tables are looked after again: a line that met no table would make one that does not deduplicate.
        """
        if not lines:
            return
        try:
            if not self._ready:
                self.create()
            self._request("POST", "/write?precision=n", ("\n".join(lines) + "\n").encode())
        except QuestDBError:
            self._ready = False
            raise
        self._ready = True

    def create(self) -> None:
        """Create the tables that are missing."""
        for table in TABLES:
            self.query(table.ddl)

    def query(self, sql: str) -> list[list[Any]]:
        """Run one statement and return its rows. Raises QuestDBError."""
        answer = self._request("GET", "/exec?" + urllib.parse.urlencode({"query": sql}))
        return json.loads(answer).get("dataset", [])

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self._url + path, body, {"Content-Type": "text/plain"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise QuestDBError(f"HTTP {error.code}: {_said(error.read().decode(errors='replace'))}") from None
        except (OSError, urllib.error.URLError) as error:
            raise QuestDBError(f"{self._url} does not answer ({getattr(error, 'reason', error)})") from None


def _said(answer: str) -> str:
    """What a refusal says, without the statement it repeats."""
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer[:500]
