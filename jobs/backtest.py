"""backtest: the job graph of pipeline on the files of a folder, in a Flink that lives as long as the job.

    python jobs/backtest.py FOLDER

`sigmaflow backtest --engine flink` fills the folder and reads it; jobs/chain/embedded.py says what is in it.
"""
import sys
from pathlib import Path

from jobs.chain.embedded import build

if __name__ == "__main__":
    build(Path(sys.argv[1])).streams.execute("backtest")
