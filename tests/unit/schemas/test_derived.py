"""What is derived from the contracts: the page of messages, the SQL tables, the SQL functions."""
from __future__ import annotations

import json
import re

import pytest

import schemas
from schemas import docs
from schemas.ddl import create_table, flink_type, literal
from udfs.alphas import REGISTRY
from udfs.functions import FUNCTIONS, create_statement


def options(statement: str) -> dict[str, str]:
    """The WITH part as a dictionary."""
    found = re.findall(r"^  '([^']+)' = '((?:[^']|'')*)'", statement, re.MULTILINE)
    return {key: value.replace("''", "'") for key, value in found}


def test_the_page_of_messages_is_up_to_date() -> None:
    assert docs.FILE.read_text() == docs.page(), "run: python -m schemas.docs"


def test_every_field_is_on_the_page_with_its_unit() -> None:
    for topic in schemas.topics().values():
        for field in schemas.load(topic.schema)["fields"]:
            row = next(line for line in docs.page().splitlines() if field["doc"] in line)
            assert row.startswith(f"| `{field['name']}` |") and "Unit: " in row


@pytest.mark.parametrize("topic", schemas.topics().values(), ids=lambda topic: topic.name)
def test_table_has_every_field_and_the_registered_schema(topic: schemas.Topic) -> None:
    statement = create_table(topic, "kafka:1", "http://registry")
    with_ = options(statement)
    assert json.loads(with_["value.avro-confluent.schema"]) == schemas.load(topic.schema)
    assert with_["value.avro-confluent.subject"] == topic.subject
    assert with_["properties.isolation.level"] == "read_committed"
    for field in schemas.load(topic.schema)["fields"]:
        line = next(line for line in statement.splitlines() if line.startswith(f"  `{field['name']}` "))
        nullable = isinstance(field["type"], list)
        assert (" NOT NULL COMMENT " not in line) == nullable
        assert line.endswith(f"COMMENT {literal(field['doc'])},")


def test_a_run_apart_has_its_own_topic_under_the_same_subject() -> None:
    with_ = options(create_table(schemas.topics()["equity.v1"], "kafka:1", "http://registry", "run.equity.v1"))
    assert (with_["topic"], with_["value.avro-confluent.subject"]) == ("run.equity.v1", "equity.v1-value")


def test_a_nested_record_becomes_an_array_of_rows() -> None:
    kind = {"type": "array", "items": {"type": "record", "fields": [{"name": "a", "type": "string"},
                                                                  {"name": "b", "type": ["null", "long"]}]}}
    assert flink_type(kind) == "ARRAY<ROW<`a` STRING NOT NULL, `b` BIGINT> NOT NULL> NOT NULL"


def test_every_alpha_that_reads_features_alone_and_is_not_fitted_is_a_function_of_sql() -> None:
    scores = {name for name, alpha in REGISTRY.items() if not alpha.terms and not alpha.reads}
    assert scores | {"mid", "spread", "imbalance", "micro_price"} == set(FUNCTIONS)
    assert create_statement("micro_price").endswith("'udfs.pandas_udfs.micro_price' LANGUAGE PYTHON")
