"""ensemble: forecasts blended into one, with its uncertainty. signals.v1 to opportunities.v1.

    flink run -d -py jobs/ensemble.py --profile default
"""
from jobs.chain.main import main

if __name__ == "__main__":
    main("ensemble")
