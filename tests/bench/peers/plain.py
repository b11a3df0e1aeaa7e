"""The reference strategy by hand in plain Python, a dict a symbol: what one writes where a framework hands over a tick.

Tuned as far as the language goes: running sums in place of windows summed anew, the 13 smallest returns kept in order,
quotes taken out of their message by place. A state is lists and numbers, so that any framework can keep it.
"""
from __future__ import annotations

from bisect import insort
from math import exp, floor, log, sqrt, tanh
from struct import Struct
from typing import Any

WINDOW, TAIL, VOL, MIDS = 500, 13, 100, 50
QUOTE = Struct("<4d").unpack_from
TIMES = 18
"""Bytes of two times in ns since 1970, as Avro writes them: nine each from 1989 to 2116."""


def state() -> dict[str, Any]:
    """A symbol that was never seen. `mids` and `returns` are rings, `tail` the smallest returns in rising order."""
    return {"ticks": 0, "fills": 0, "direction": 0, "position": 0, "volume": 0, "mid": 0.0, "cash": 0.0, "pnl": 0.0,
            "eq": 0.0, "sig": 0.0, "cv": 0.0, "spr": 0.0, "s": 0.0, "cvar": 0.0, "sum": 0.0, "squares": 0.0,
            "r_sum": 0.0, "r_squares": 0.0,
            "mids": [0.0] * MIDS, "returns": [0.0] * WINDOW, "tail": []}


def place(value: bytes) -> int:
    """Where a tick's times begin: header of five bytes, venue, symbol, seq, two times, quote."""
    i = 6 + (value[5] >> 1)
    i += 1 + (value[i] >> 1)
    while value[i] > 127:
        i += 1
    return i + 1


def quote(value: bytes, at: int) -> tuple[float, float, float, float]:
    """Bid, ask and sizes of a tick whose times begin at `at`."""
    return QUOTE(value, at + TIMES)


def when(value: bytes, at: int) -> int:
    """The first of the times at `at`: nine groups of seven bits, twice the number since it is not negative."""
    a, b, c, d, e, f, g, h, i = value[at:at + 9]
    return (a & 127 | (b & 127) << 7 | (c & 127) << 14 | (d & 127) << 21 | (e & 127) << 28 | (f & 127) << 35
            | (g & 127) << 42 | (h & 127) << 49 | i << 56) >> 1


def row(symbol: str, ts: int, st: dict[str, Any]) -> dict[str, Any]:
    """What bench/SEMANTICS.md has out of each tick."""
    return {"symbol": symbol, "ts": ts, "s": st["s"], "cvar": st["cvar"], "pos": st["position"], "pnl": st["pnl"]}


def push(st: dict[str, Any], n: int, r: float) -> None:
    """Put the n-th return in place of the one 500 returns ago."""
    returns = st["returns"]
    before = returns[(n - VOL) % WINDOW] if n >= VOL else 0.0
    st["r_sum"] += r - before
    st["r_squares"] += r * r - before * before
    at = n % WINDOW
    old, returns[at] = returns[at], r
    if n < WINDOW - 1:
        return
    tail = st["tail"]
    if n == WINDOW - 1 or old <= tail[-1]:
        st["tail"] = sorted(returns)[:TAIL]
    elif r < tail[-1]:
        insort(tail, r)
        tail.pop()


def score(st: dict[str, Any], n: int, bid: float, ask: float, bid_size: float, ask_size: float, mid: float) -> float:
    """Ensemble signal of a warm symbol at its n-th tick, n from 1."""
    mids, both = st["mids"], bid_size + ask_size
    mean = st["r_sum"] / VOL
    vol = sqrt(max(0.0, st["r_squares"] / VOL - mean * mean))
    a1, a2 = 2.0 * (bid_size - ask_size) / both, 0.0
    if vol > 0.0:
        scale = mid * vol
        a1 += ((bid * ask_size + ask * bid_size) / both - mid) / scale
        three = mid + mids[(n - 2) % MIDS] + mids[(n - 3) % MIDS]
        six = three + mids[(n - 4) % MIDS] + mids[(n - 5) % MIDS] + mids[(n - 6) % MIDS]
        a2 = tanh(0.5 * (three / 3.0 - six / 6.0) / scale)
    spread = MIDS * st["squares"] - st["sum"] * st["sum"]
    z = (mid - st["sum"] / MIDS) / (sqrt(spread) / MIDS) if spread > 0.0 else 0.0
    a3 = -max(-1.0, min(1.0, z / 3.0))
    return 2.0 / (1.0 + exp(-(1.2 * (2.0 / (1.0 + exp(-a1)) - 1.0) + 0.6 * a2 + 0.9 * a3))) - 1.0


def step(st: dict[str, Any], bid: float, ask: float, bid_size: float, ask_size: float) -> int | None:
    """One tick with its fill at mid; the signed quantity of the fill, None where there is none."""
    mid, n = (bid + ask) / 2.0, st["ticks"]
    mids, at = st["mids"], n % MIDS
    old, mids[at] = mids[at], mid
    st["sum"] += mid - old
    st["squares"] += mid * mid - old * old
    if n:
        push(st, n - 1, log(mid / st["mid"]))
    st["ticks"], st["mid"] = n + 1, mid
    st["spr"] += ask - bid
    quantity = trade(st, score(st, n + 1, bid, ask, bid_size, ask_size, mid), mid) if n >= WINDOW else None
    st["pnl"] = pnl = st["cash"] + st["position"] * mid
    st["eq"] += pnl
    return quantity


def trade(st: dict[str, Any], s: float, mid: float) -> int | None:
    """Order and fill where a strong signal flips side."""
    cvar = max(1e-9, -sum(st["tail"]) / TAIL)
    st["s"], st["cvar"] = s, cvar
    st["sig"] += s
    st["cv"] += cvar
    direction = 1 if s > 0.0 else -1
    if abs(s) < 0.35 or direction == st["direction"]:
        return None
    target = floor(s * min(25.0 / cvar, 100_000.0) / mid + 0.5)
    quantity = target - st["position"]
    st["cash"] -= quantity * mid
    st["position"], st["direction"] = target, direction
    st["fills"] += 1
    st["volume"] += abs(quantity)
    return quantity
