"""risk: value at risk and its tail mean beside each opportunity. opportunities.v1 to risk.v1.

    flink run -d -py jobs/risk.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.topology import keyed_job

if __name__ == "__main__":
    main("risk", lambda options: keyed_job("risk", options), sys.argv[1:])
