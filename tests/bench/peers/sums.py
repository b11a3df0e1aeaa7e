"""The checksums of a file of reference ticks, from the peers' kernel alone: for ticks whose sums nobody has published.

    python sums.py --ticks FILE.parquet --count N
"""
from __future__ import annotations

import json

import numba
import numpy as np
import pyarrow.parquet as pq
from strategy import STATE, arguments, step, sums

QUOTE = ("bid", "ask", "bid_size", "ask_size")


@numba.njit(cache=True)
def loop(states, slots, bid, ask, bid_size, ask_size):
    """All ticks in their order."""
    for n in range(len(slots)):
        step(states[slots[n]], bid[n], ask[n], bid_size[n], ask_size[n])


def checksums(slots, quotes):
    """Sums over ticks: the symbols' numbers from 0, and the columns of QUOTE."""
    states = np.zeros(int(slots.max()) + 1, STATE)
    loop(states, slots, *(np.asarray(column, np.float64) for column in quotes))
    return sums(states)


def main() -> None:
    a = arguments("sums")
    table = pq.read_table(a.ticks, columns=["symbol", *QUOTE]).slice(0, a.count)
    slots = np.unique(table["symbol"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    print(json.dumps(checksums(slots, [table[name].to_numpy() for name in QUOTE])))


if __name__ == "__main__":
    main()
