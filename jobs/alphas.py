"""alphas: a forecast of every alpha at every tick. features.v1 to signals.v1.

    flink run -d -py jobs/alphas.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.topology import keyed_job

if __name__ == "__main__":
    main("alphas", lambda options: keyed_job("alphas", options), sys.argv[1:])
