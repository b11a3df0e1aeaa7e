"""six: the chain as six jobs, submitted by one client, which takes a third of the time that six clients take.

    flink run -d -py jobs/six.py --profile default
"""
from jobs.chain.main import main

if __name__ == "__main__":
    main()
