"""A small thread-mode job for the stack's own tests: counts generated rows by key in Python state."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.table import StreamTableEnvironment


class Count(KeyedProcessFunction):
    """Rows seen so far by key."""

    def __init__(self, fail: bool) -> None:
        self.fail = fail

    def open(self, runtime_context: RuntimeContext) -> None:
        if self.fail:
            raise RuntimeError("told to fail")
        self.state = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        count = (self.state.value() or 0) + 1
        self.state.update(count)
        yield Row(value[0], count)


tables = StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment())
if "refuse" in sys.argv:
    raise ValueError("told to refuse")
tables.execute_sql("""CREATE TABLE numbers (k INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200',
    'fields.k.min' = '0', 'fields.k.max' = '7')""")
counted = (
    tables.to_data_stream(tables.from_path("numbers"))
    .key_by(lambda row: row[0], key_type=Types.INT())
    .process(Count("fail" in sys.argv), output_type=Types.ROW_NAMED(["k", "n"], [Types.INT(), Types.LONG()]))
    .name("count")
    .uid("count")
    .disable_chaining()
)
tables.execute_sql("CREATE TABLE counts (k INT, n BIGINT) WITH ('connector' = 'blackhole')")
tables.from_data_stream(counted).execute_insert("counts")
