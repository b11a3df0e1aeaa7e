"""fills: the ledger, its last gates and executions. proposals.v1 to fills.v1, equity.v1, decisions.v1.

    flink run -d -py jobs/fills.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.topology import ledger_job

if __name__ == "__main__":
    main("fills", lambda options: ledger_job("fills", options), sys.argv[1:])
