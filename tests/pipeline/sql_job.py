"""A bounded SQL job over tables derived from the contracts: every function over ticks, and what equity.v1 holds.

    flink run -py tests/pipeline/sql_job.py BOOTSTRAP REGISTRY NAMESPACE
"""
from __future__ import annotations

import sys

from pyflink.table import EnvironmentSettings, TableEnvironment

import schemas
from schemas.ddl import create_table
from udfs.functions import FUNCTIONS
from udfs.pandas_udfs import register

TICK = {field["name"] for field in schemas.load("tick")["fields"]}
OVER_TICKS = [f for f in FUNCTIONS.values() if set(f.inputs) <= TICK]
"""Functions that need no more than a tick; the others get features made from it in the query."""

bootstrap, registry, namespace = sys.argv[1:]
tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
register(tables)
for name in ("market.ticks.v1", "equity.v1"):
    tables.execute_sql(create_table(schemas.topics()[name], bootstrap, registry, f"{namespace}.{name}"))


def sink(name: str, columns: str) -> None:
    """A topic of JSON rows."""
    tables.execute_sql(f"""CREATE TEMPORARY TABLE `{name}` ({columns}) WITH ('connector' = 'kafka', 'format' = 'json',
        'topic' = '{namespace}.{name}', 'properties.bootstrap.servers' = '{bootstrap}')""")


sink("functions", "symbol STRING, seq BIGINT, last_side STRING, last_price DOUBLE, "
     + ", ".join(f"`{f.name}` DOUBLE" for f in OVER_TICKS) + ", `book_pressure` DOUBLE")
sink("equity", "marks BIGINT, last_equity DOUBLE, state STRING, account STRING")
bounded = "/*+ OPTIONS('scan.bounded.mode' = 'latest-offset') */"
statements = tables.create_statement_set()
statements.add_insert_sql(f"""INSERT INTO `functions` SELECT symbol, seq, last_side, last_price,
    {', '.join(f"{f.name}({', '.join(f.inputs)})" for f in OVER_TICKS)},
    book_pressure(imbalance(bid_size, ask_size))
    FROM `{namespace}.market.ticks.v1` {bounded}""")
statements.add_insert_sql(f"""INSERT INTO `equity` SELECT COUNT(*), MAX(equity) / 1E9, MAX(state), MAX(kafka_key)
    FROM `{namespace}.equity.v1` {bounded}""")
statements.execute()
