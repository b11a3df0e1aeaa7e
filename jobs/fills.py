"""fills: the ledger, its last gates and executions. proposals.v1 to fills.v1, equity.v1, decisions.v1.

    flink run -d -py jobs/fills.py --profile default
"""
from jobs.chain.main import main

if __name__ == "__main__":
    main("fills")
