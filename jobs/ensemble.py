"""ensemble: forecasts blended into one, with its uncertainty. signals.v1 to opportunities.v1.

    flink run -d -py jobs/ensemble.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.topology import keyed_job

if __name__ == "__main__":
    main("ensemble", lambda options: keyed_job("ensemble", options), sys.argv[1:])
