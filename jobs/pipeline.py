"""pipeline: all six jobs in one job graph. market.ticks.v1 to intents, fills, equity, decisions, dead letters and taps.

    flink run -d -py jobs/pipeline.py --profile default
"""
import sys

from jobs.chain.main import main
from jobs.chain.topology import pipeline_job

if __name__ == "__main__":
    main("pipeline", lambda options: pipeline_job(options), sys.argv[1:])
