"""What every job file does: parse options, build the topology, hand it to Flink; a user's mistake ends in one sentence.

Before a job can be built the JVM loads thousands of classes and Python a thousand modules, each idle while the other
does. Here they do it side by side, and while a job of several is handed over, the next one is built.
"""
from __future__ import annotations

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.chain.options import Options
    from jobs.chain.topology import Topology


def main(*jobs: str) -> None:
    """Build these jobs, all six where none is named, from the command line's options; hand them to Flink in this order.

    Exit status 2 for a UserError.
    """
    with ThreadPoolExecutor(1) as beside:
        if "PYFLINK_GATEWAY_PORT" in os.environ:  # of `flink run`: without it nobody waits for a JVM, as for --help
            beside.submit(_load_tables)
            beside.submit(import_module, "pyflink.fn_execution.flink_fn_execution_pb2")  # Apache Beam, seconds
        from jobs.chain.options import parse
        from jobs.chain.plans import JOBS
        from jobs.chain.topology import build
        from sigmaflow.errors import UserError

        handed: Future[None] | None = None
        for name in jobs or JOBS:
            try:
                options = parse(name, sys.argv[1:])
                topology = build(name, options)
            except UserError as error:
                print(f"UserError: {error}", file=sys.stderr)
                raise SystemExit(2) from None
            if handed:
                handed.result()
            handed = beside.submit(_hand_over, topology, options)
        if handed:
            handed.result()


def _load_tables() -> None:
    """Let the JVM load what makes tables, with an environment that nobody uses."""
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment

    StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment())


def _hand_over(topology: Topology, options: Options) -> None:
    title = f"{topology.name} ({options.profile.name})" + (f" {options.namespace}" if options.namespace else "")
    topology.streams.execute(title)
