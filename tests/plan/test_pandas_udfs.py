"""What Flink plans for SQL over the functions and the derived tables. Starts a JVM, no server."""
from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import schemas
from schemas.ddl import create_table
from sigmaflow.programs import java_home
from sigmaflow.settings import load
from udfs.functions import FUNCTIONS, create_statement


@pytest.fixture(scope="module")
def tables() -> Iterator[object]:
    os.environ["JAVA_HOME"] = str(java_home(load()))
    from pyflink.table import EnvironmentSettings, TableEnvironment

    from udfs.pandas_udfs import register

    made = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    register(made)
    inputs = dict.fromkeys(name for function in FUNCTIONS.values() for name in function.inputs)
    columns = ", ".join(f"`{name}` DOUBLE" for name in inputs)
    made.execute_sql(f"CREATE TEMPORARY TABLE features ({columns}) WITH ('connector' = 'datagen')")
    yield made


def python_nodes(plan: str) -> int:
    """Python operators of the optimised plan."""
    return plan.split("== Optimized Execution Plan ==")[1].count("PythonCalc")


def test_every_function_in_one_query_is_one_python_node(tables: object) -> None:
    calls = ", ".join(f"{f.name}({', '.join(f.inputs)})" for f in FUNCTIONS.values())
    plan = tables.explain_sql(f"SELECT {calls} FROM features")  # type: ignore[attr-defined]
    assert python_nodes(plan) == 1
    assert "PythonGroup" not in plan and "PythonOver" not in plan


def test_nested_functions_merge_into_one_node(tables: object) -> None:
    plan = tables.explain_sql(  # type: ignore[attr-defined]
        "SELECT book_pressure(imbalance(bid_size, ask_size)) FROM features")
    assert python_nodes(plan) == 1


def test_filter_stays_in_the_jvm(tables: object) -> None:
    plan = tables.explain_sql("SELECT mid(bid, ask) FROM features WHERE bid_size > 0")  # type: ignore[attr-defined]
    assert python_nodes(plan) == 1
    assert "where=[(bid_size > 0" in plan or "where=[>(bid_size, 0" in plan, plan


@pytest.mark.parametrize("name", schemas.topics())
def test_flink_takes_the_derived_table(tables: object, name: str) -> None:
    tables.execute_sql(create_table(schemas.topics()[name], "127.0.0.1:1", "http://127.0.0.1:1"))  # type: ignore[attr-defined]
    fields = [field["name"] for field in schemas.load(schemas.topics()[name].schema)["fields"]]
    found = tables.from_path(f"`{name}`").get_schema().get_field_names()  # type: ignore[attr-defined]
    assert found == [*fields, "kafka_key", "kafka_partition", "kafka_offset"]


def test_the_printed_statement_makes_the_function_known(tables: object) -> None:
    tables.execute_sql("DROP TEMPORARY FUNCTION micro_price")  # type: ignore[attr-defined]
    tables.execute_sql(create_statement("micro_price"))  # type: ignore[attr-defined]
    plan = tables.explain_sql(  # type: ignore[attr-defined]
        "SELECT micro_price(bid, ask, bid_size, ask_size) FROM features")
    assert python_nodes(plan) == 1
