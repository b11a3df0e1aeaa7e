"""features: admitted ticks with what the ticks before them say. market.ticks.v1 to features.v1 and dead letters.

    flink run -d -py jobs/features.py --profile default
"""
from jobs.chain.main import main

if __name__ == "__main__":
    main("features")
