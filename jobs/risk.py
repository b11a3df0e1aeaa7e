"""risk: value at risk and its tail mean beside each opportunity. opportunities.v1 to risk.v1.

    flink run -d -py jobs/risk.py --profile default
"""
from jobs.chain.main import main

if __name__ == "__main__":
    main("risk")
