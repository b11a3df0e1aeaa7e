"""alphas: a forecast of every alpha at every tick. features.v1 to signals.v1.

    flink run -d -py jobs/alphas.py --profile default
"""
from jobs.chain.main import main

if __name__ == "__main__":
    main("alphas")
