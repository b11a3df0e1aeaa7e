"""Small operators in Java around those in Python: what Flink does at each message, where Python works at micro-batches.

Flink compiles generated code on the TaskManagers with the compiler that it carries (Janino): the same door takes the
source text of the classes here (`CodeGenOperatorFactory`,
https://github.com/apache/flink/blob/release-2.3/flink-table/flink-table-runtime/src/main/java/org/apache/flink/table/runtime/operators/CodeGenOperatorFactory.java),
so nobody needs a JDK or a jar of ours. Janino knows no generics and no lambdas.
"""
from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import DataStream
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.types import DataType, _to_java_data_type

_MESSAGE = (DataTypes.FIELD("k", DataTypes.BYTES()), DataTypes.FIELD("v", DataTypes.BYTES()),
            DataTypes.FIELD("topic", DataTypes.STRING(nullable=False)))


def run(name: str, stream: DataStream, out: TypeInformation | DataType | None, title: str,
        references: Sequence[int | str], parallelism: int | None = None, group: str | None = None) -> DataStream:
    """Run the operator `name` over a stream, at the stream's parallelism and in its slots where none are given.

    So it is chained to what gives the stream, and a sink behind it, which inherits the slots, to both: nothing that the
    operators in Python write crosses between TaskManagers.

    `references` is what its constructor gets; `out` the type of what it gives: of rows inside SQL where it is a
    DataType, that of what it takes where there is none.
    """
    gateway = get_gateway()
    java = gateway.jvm
    given = gateway.new_array(java.Object, len(references))
    for place, reference in enumerate(references):
        given[place] = reference
    code = resources.files(__name__).joinpath(f"{name}.java").read_text()
    generated = java.org.apache.flink.table.runtime.generated.GeneratedOperator(
        name, code, given, java.org.apache.flink.configuration.Configuration())
    factory = java.org.apache.flink.table.runtime.operators.CodeGenOperatorFactory(generated)
    before = stream._j_data_stream.getTransformation()
    kind = before.getOutputType() if out is None else _type(out)
    made = java.org.apache.flink.streaming.api.transformations.OneInputTransformation(
        before, title, factory, kind, parallelism or before.getParallelism(), False)
    made.setUid(title)
    made.setBufferTimeout(0)  # what leaves the thread is whole micro-batches: nothing is gained by waiting for more
    inherited = before.getSlotSharingGroup()
    if group or inherited.isPresent():
        made.setSlotSharingGroup(group or inherited.get().getName())
    environment = stream._j_data_stream.getExecutionEnvironment()
    environment.addOperator(made)
    return DataStream(java.org.apache.flink.streaming.api.datastream.DataStream(environment, made))


def rows_of(tables: StreamTableEnvironment, query: str) -> DataStream:
    """The result of a query as a stream of the rows that SQL works on, converted to nothing."""
    found = tables.sql_query(query)._j_table
    row = get_gateway().jvm.Class.forName("org.apache.flink.table.data.RowData")
    kind = found.getResolvedSchema().toPhysicalRowDataType().bridgedTo(row)
    return DataStream(tables._j_tenv.toDataStream(found, kind))


def messages(stream: DataStream, sink: int, named: bool, topics: str, title: str) -> DataStream:
    """The messages for a sink out of what an operator in Python gives: rows of key and value, and topic if `named`.

    Their type is that of the sink's table to the letter: a column more, or elsewhere, would be a copy of each row.
    """
    fields = _MESSAGE if named else _MESSAGE[:2]
    return run("Messages", stream, DataTypes.ROW(fields), title, [sink, len(fields), topics])


def view(tables: StreamTableEnvironment, name: str, stream: DataStream) -> None:
    """Name a stream of such rows as a view."""
    tables.create_temporary_view(f"`{name}`", tables.from_data_stream(stream))


def _type(out: TypeInformation | DataType) -> Any:
    if isinstance(out, TypeInformation):
        return out.get_java_type_info()
    internal = get_gateway().jvm.org.apache.flink.table.runtime.typeutils.InternalTypeInfo
    return internal.of(_to_java_data_type(out).getLogicalType())
