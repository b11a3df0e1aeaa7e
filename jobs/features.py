"""features: admitted ticks with what the ticks before them say. market.ticks.v1 to features.v1 and dead letters.

    flink run -d -py jobs/features.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.topology import keyed_job

if __name__ == "__main__":
    main("features", lambda options: keyed_job("features", options), sys.argv[1:])
