"""Lines and tables for QuestDB, without a server."""

from __future__ import annotations

import math

import schemas
from connectors.questdb import EQUITY, FILLS, POSITIONS, TABLES
from tests.records import make_record


def test_every_field_of_the_messages_is_a_column():
    for table, schema in ((EQUITY, "equity"), (FILLS, "fill")):
        fields = {field["name"] for field in schemas.load(schema)["fields"]} - {"ts_order"}
        assert set(table.columns) == fields


def test_tables_deduplicate_on_time_and_key():
    assert EQUITY.ddl.endswith("DEDUP UPSERT KEYS(ts, account, account_seq)")
    assert FILLS.ddl.endswith("DEDUP UPSERT KEYS(ts, account, fill_id)")
    assert POSITIONS.ddl.endswith("DEDUP UPSERT KEYS(ts, account, account_seq, symbol)")
    assert all(" WAL " in table.ddl and "TIMESTAMP(ts)" in table.ddl for table in TABLES)


def test_line_keeps_every_digit():
    row = make_record(50)[0][-1]
    head, values, ts = EQUITY.line(row).split(" ")
    fields = dict(pair.split("=") for pair in values.split(","))
    assert head.startswith("equity,account=paper,venue=BINANCE,symbol=")
    assert float(fields["equity"]) == row["equity"] and fields["account_seq"] == f"{row['account_seq']}i"
    assert fields["ts_event"] == f"{row['ts_event']}n" and int(ts) == row["ts_order"]


def test_what_is_missing_or_not_finite_becomes_null():
    row = make_record(50)[0][-1] | {"mid": math.nan, "spread": math.inf, "venue": ""}
    del row["gross"]
    line = EQUITY.line(row)
    assert not any(name in line for name in ("mid=", "spread=", "venue=", "gross="))
