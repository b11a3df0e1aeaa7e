"""pipeline: all six jobs in one job graph. market.ticks.v1 to intents, fills, equity, decisions, dead letters and taps.

    flink run -d -py jobs/pipeline.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.topology import account_job

if __name__ == "__main__":
    main("pipeline", lambda options: account_job("pipeline", options), sys.argv[1:])
