"""sizing: new targets in the account's total order. risk.v1 and dead letters to proposals.v1 and intents.v1.

    flink run -d -py jobs/sizing.py --profile default
"""
from jobs.chain.main import main

if __name__ == "__main__":
    main("sizing")
