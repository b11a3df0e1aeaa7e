"""six: the chain as six jobs, submitted by one client, which takes a third of the time that six clients take.

    flink run -d -py jobs/six.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.options import Options
from jobs.chain.plans import JOBS
from jobs.chain.topology import Topology, account_job, keyed_job, ledger_job

BUILDERS = {"sizing": account_job, "fills": ledger_job}


def build(name: str, options: Options) -> Topology:
    """One of the six."""
    return BUILDERS.get(name, keyed_job)(name, options)


if __name__ == "__main__":
    for job in JOBS:
        main(job, lambda options, name=job: build(name, options), sys.argv[1:])  # type: ignore[misc]
