"""What every job file does: parse options, build the topology, run it; a user's mistake ends in one sentence."""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from jobs.chain.options import Options, parse
from jobs.chain.topology import Topology
from sigmaflow.errors import UserError


def main(name: str, build: Callable[[Options], Topology], argv: Sequence[str]) -> None:
    """Build the job and hand it to Flink. Exit status 2 for a UserError."""
    try:
        options = parse(name, argv)
        topology = build(options)
    except UserError as error:
        print(f"UserError: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    title = f"{name} ({options.profile.name})" + (f" {options.namespace}" if options.namespace else "")
    topology.streams.execute(title)
