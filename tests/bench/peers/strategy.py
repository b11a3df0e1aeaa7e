"""The reference strategy as one numba kernel, the same for every peer: what differs between them is the framework.
In plain Python it is in plain.py.

It knows nothing of Sigmaflow: its own decoder of the Avro tick, its own window of order statistics, its own ledger.
Sums of mids are exact on the ticks' grid of 1/128 (bench/SEMANTICS.md), so running sums stand for windows of mids;
returns are summed anew at each tick; the 13 smallest are kept in order and searched for again only when one leaves.
"""
from __future__ import annotations

import argparse
import json
import math
import time
from importlib.metadata import version
from typing import Any

import numba
import numpy as np

WINDOW, TAIL, VOL, MIDS = 500, 13, 100, 50
STATE = np.dtype([
    ("ticks", np.int64), ("fills", np.int64), ("direction", np.int64), ("position", np.int64), ("volume", np.int64),
    ("mid", np.float64), ("cash", np.float64), ("pnl", np.float64), ("eq", np.float64), ("sig", np.float64),
    ("cv", np.float64), ("spr", np.float64), ("s", np.float64), ("cvar", np.float64), ("sum", np.float64),
    ("squares", np.float64),
    ("mids", np.float64, (MIDS,)), ("returns", np.float64, (WINDOW,)), ("tail", np.float64, (TAIL,))])
"""One symbol. `mids` and `returns` are rings, `tail` the smallest returns in rising order; `s` and `cvar` are the last
tick's.
"""

ROW = ("s", "cvar", "pos", "pnl")
"""What bench/SEMANTICS.md has out of each tick, behind its symbol and time."""
FIELDS = ("fills", "volume", "pnl", "eq", "sig", "cv", "spr")


@numba.njit(cache=True, inline="always")
def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


@numba.njit(cache=True)
def push(st, r):
    """Put a return in place of the one 500 returns ago."""
    n = st.ticks - 2
    at = n % WINDOW
    old = st.returns[at]
    st.returns[at] = r
    tail = st.tail
    if n < WINDOW - 1:
        return
    if n == WINDOW - 1 or old <= tail[TAIL - 1]:
        tail[:] = np.sort(st.returns)[:TAIL]
    elif r < tail[TAIL - 1]:
        k = TAIL - 1
        while k > 0 and tail[k - 1] > r:
            tail[k] = tail[k - 1]
            k -= 1
        tail[k] = r


@numba.njit(cache=True)
def volatility(st):
    """Population standard deviation of the last 100 returns."""
    end = (st.ticks - 1) % WINDOW
    low, rest = max(0, end - VOL), max(0, VOL - end)
    mean = (st.returns[low:end].sum() + st.returns[WINDOW - rest:].sum()) / VOL
    total = 0.0
    for k in range(low, end):
        total += (st.returns[k] - mean) ** 2
    for k in range(WINDOW - rest, WINDOW):
        total += (st.returns[k] - mean) ** 2
    return math.sqrt(total / VOL)


@numba.njit(cache=True)
def score(st, bid, ask, bid_size, ask_size, mid):
    """Ensemble signal of a warm symbol."""
    vol = volatility(st)
    imb = (bid_size - ask_size) / (bid_size + ask_size)
    micro = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
    n = st.ticks
    three = st.mids[(n - 1) % MIDS] + st.mids[(n - 2) % MIDS] + st.mids[(n - 3) % MIDS]
    six = three + st.mids[(n - 4) % MIDS] + st.mids[(n - 5) % MIDS] + st.mids[(n - 6) % MIDS]
    a1 = 2.0 * imb
    a2 = 0.0
    if vol > 0.0:
        a1 += (micro - mid) / (mid * vol)
        a2 = math.tanh(0.5 * (three / 3.0 - six / 6.0) / (mid * vol))
    spread = MIDS * st.squares - st.sum * st.sum
    z = (mid - st.sum / MIDS) / (math.sqrt(spread) / MIDS) if spread > 0.0 else 0.0
    a3 = -max(-1.0, min(1.0, z / 3.0))
    return 2.0 * sigmoid(1.2 * (2.0 * sigmoid(a1) - 1.0) + 0.6 * a2 + 0.9 * a3) - 1.0


@numba.njit(cache=True)
def wanted(st, bid, ask, bid_size, ask_size):
    """Take in a tick; whether to trade, and the target in whole shares."""
    mid = (bid + ask) / 2.0
    at = st.ticks % MIDS
    st.sum += mid - st.mids[at]
    st.squares += mid * mid - st.mids[at] * st.mids[at]
    st.mids[at] = mid
    st.ticks += 1
    if st.ticks > 1:
        push(st, math.log(mid / st.mid))
    st.mid = mid
    st.spr += ask - bid
    if st.ticks <= WINDOW:
        return False, 0
    st.s = s = score(st, bid, ask, bid_size, ask_size, mid)
    st.cvar = cvar = max(1e-9, -st.tail.sum() / TAIL)
    st.sig += s
    st.cv += cvar
    direction = 1 if s > 0.0 else -1
    if abs(s) < 0.35 or direction == st.direction:
        return False, 0
    st.direction = direction
    return True, math.floor(s * min(25.0 / cvar, 100_000.0) / mid + 0.5)


@numba.njit(cache=True)
def book(st, quantity):
    """A fill at mid."""
    st.cash -= quantity * st.mid
    st.position += quantity
    st.fills += 1
    st.volume += abs(quantity)


@numba.njit(cache=True)
def mark(st):
    """Profit after a tick."""
    st.pnl = st.cash + st.position * st.mid
    st.eq += st.pnl


@numba.njit(cache=True)
def step(st, bid, ask, bid_size, ask_size):
    """One tick with its fill at mid; whether there was one, and its signed quantity."""
    trade, target = wanted(st, bid, ask, bid_size, ask_size)
    quantity = target - st.position
    if trade:
        book(st, quantity)
    mark(st)
    return trade, quantity


@numba.njit(cache=True, inline="always")
def note(st, row):
    """The row of a state's last tick, its fields in the order of ROW."""
    row[0], row[1], row[2], row[3] = st.s, st.cvar, st.position, st.pnl


@numba.njit(cache=True, inline="always")
def varint(buf, i):
    """An Avro long and the place after it."""
    value, shift = np.uint64(0), np.uint64(0)
    while True:
        byte = np.uint64(buf[i])
        i += 1
        value |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            break
        shift += np.uint64(7)
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), i


@numba.njit(cache=True)
def quote(buf, i, out):
    """Bid, ask and sizes of the tick whose symbol ends before i, into `out`; its time."""
    _, i = varint(buf, i)  # seq
    ts, i = varint(buf, i)
    _, i = varint(buf, i)  # ts_recv
    word = out.view(np.uint8)
    for k in range(32):
        word[k] = buf[i + k]
    return ts


@numba.njit(cache=True)
def symbol(buf, i):
    """First and next place of the symbol in the message at i: header of five bytes, venue, symbol."""
    length, i = varint(buf, i + 5)
    length, i = varint(buf, i + length)
    return i, i + length


@numba.njit(cache=True)
def one(states, slot, buf):
    """Decode one message and take the step of its symbol's state.

    Its time, the fields of its row, whether it traded, how much, and the mid.
    """
    out = np.empty(4)
    _, end = symbol(buf, 0)
    ts = quote(buf, end, out)
    st = states[slot]
    trade, quantity = step(st, out[0], out[1], out[2], out[3])
    return ts, st.s, st.cvar, st.position, st.pnl, trade, quantity, st.mid


@numba.njit(cache=True)
def many(states, slot, buf, offsets, times, rows, traded):
    """The same for messages of one symbol, one after another, with their rows; `traded` gets their quantities, NaN for
    none, and mids.
    """
    out = np.empty(4)
    for n in range(len(offsets)):
        _, end = symbol(buf, offsets[n])
        times[n] = quote(buf, end, out)
        trade, quantity = step(states[slot], out[0], out[1], out[2], out[3])
        note(states[slot], rows[n])
        traded[n, 0] = quantity if trade else np.nan
        traded[n, 1] = states[slot].mid


def sums(states: Any) -> dict[str, float]:
    """The checksums of bench/SEMANTICS.md, and the ticks, over the states of all symbols: an array, or plain dicts."""
    if isinstance(states, list):
        return {name: sum(st[name] for st in states) for name in ("ticks", *FIELDS)}
    return {name: states[name].sum().item() for name in ("ticks", *FIELDS)}


BLANK = bytes(10) + np.ones(4).tobytes() + bytes(8)
"""A message for compiling: header, two empty strings, three zeros, a quote of ones, and nothing after it."""


def warm_up() -> None:
    """Compile everything before the clock starts, for read-only buffers as they come from bytes."""
    states, message = np.zeros(1, STATE), np.frombuffer(BLANK, np.uint8)
    one(states, 0, message)
    many(states, 0, message, np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros((1, len(ROW))), np.zeros((1, 2)))


def arguments(name: str) -> argparse.Namespace:
    """What the bench tells a peer."""
    p = argparse.ArgumentParser(name)
    p.add_argument("--bootstrap", default="")
    p.add_argument("--ticks", default="", help="topic to read, or a Parquet file for a peer without Kafka")
    p.add_argument("--fills", default="", help="topic to write")
    p.add_argument("--rows", default="", help="topic for a row of each tick; without it there are fills only")
    p.add_argument("--count", type=int, required=True, help="ticks there are")
    p.add_argument("--state", default="", help="folder for state that outlives the process")
    p.add_argument("--plain", action="store_true", help="the strategy in plain Python, not as a kernel")
    return p.parse_args()


class Clock:
    """Time and processor time of this process from the first tick to the report."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def start(self) -> None:
        """The first call counts."""
        self._began = self._began or (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """All is done: written and flushed."""
        assert self._began is not None
        self._took = time.perf_counter() - self._began[0], time.process_time() - self._began[1], time.time()

    def report(self, states: Any, versions: list[str], note: str) -> None:
        """The last line of a peer's output."""
        seconds, cpu_s, ended_s = self._took
        found = sums(states)
        print(json.dumps({"ticks": found.pop("ticks"), "seconds": seconds, "cpu_s": cpu_s, "ended_s": ended_s,
                          "sums": found, "note": note, "versions": {name: version(name) for name in versions}}),
              flush=True)
