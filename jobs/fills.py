"""fills: the ledger, its last gates and executions. market.ticks.v1, intents.v1 and progress.v1 to fills.v1,
equity.v1, decisions.v1.

    flink run -d -py jobs/fills.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.topology import account_job

if __name__ == "__main__":
    main("fills", lambda options: account_job("fills", options), sys.argv[1:])
