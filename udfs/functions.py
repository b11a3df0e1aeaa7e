"""Every stateless function by name, without pyflink: the formulas of a quote and the alphas of a tick's features alone.
"""
from __future__ import annotations

from udfs.alphas import REGISTRY
from udfs.formulas import FORMULAS, Formula

FUNCTIONS: dict[str, Formula] = FORMULAS | {
    alpha.name: Formula(alpha.name, alpha.compiled) for alpha in REGISTRY.values()
    if not alpha.terms and not alpha.reads}


def create_statement(name: str) -> str:
    """Statement that makes a function known to the SQL client.

    >>> create_statement("mid")
    "CREATE TEMPORARY FUNCTION IF NOT EXISTS mid AS 'udfs.pandas_udfs.mid' LANGUAGE PYTHON"
    """
    return f"CREATE TEMPORARY FUNCTION IF NOT EXISTS {name} AS 'udfs.pandas_udfs.{name}' LANGUAGE PYTHON"
