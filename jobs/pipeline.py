"""pipeline: all six jobs in one job graph. market.ticks.v1 to intents, fills, equity, decisions, dead letters and taps.

    flink run -d -py jobs/pipeline.py --profile default
"""
from jobs.chain.main import main

if __name__ == "__main__":
    main("pipeline")
