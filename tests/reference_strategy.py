"""bench/SEMANTICS.md of the reference strategy, written down once more in plain Python, to check the chain against."""
from __future__ import annotations

import math
from typing import Any

import numpy as np


def ticks(rows: int, symbols: int = 5, seed: int = 1) -> dict[str, Any]:
    """Quotes on a grid of 1/64, as the reference generator makes them, so that sums are exact."""
    rng = np.random.default_rng(seed)
    symbol = rng.integers(0, symbols, rows)
    columns = {"symbol": symbol, "ts": 1_704_205_800_000_000_000 + np.cumsum(rng.integers(1_000, 99_000, rows)),
               "bid": np.empty(rows), "ask": np.empty(rows),
               "bid_size": rng.integers(5_000, 200_000, rows), "ask_size": rng.integers(5_000, 200_000, rows)}
    for s in range(symbols):
        at = np.flatnonzero(symbol == s)
        k = (50 + 40 * s) * 128 + np.cumsum(np.rint(rng.normal(0, 1.6, len(at))).astype(int))
        half = np.where(k & 1, rng.choice([1, 3], len(at)), rng.choice([2, 4], len(at)))
        columns["bid"][at], columns["ask"][at] = (k - half) / 128, (k + half) / 128
    return columns


def checksums(columns: dict[str, Any]) -> dict[str, float]:
    """fills, volume, pnl, eq, sig, cv, spr over all rows."""
    states: dict[int, dict[str, Any]] = {}
    out = dict.fromkeys(("fills", "volume", "pnl", "eq", "sig", "cv", "spr"), 0.0)
    for symbol, bid, ask, bid_size, ask_size in zip(*(columns[n].tolist() for n in
                                                      ("symbol", "bid", "ask", "bid_size", "ask_size")), strict=True):
        state = states.setdefault(symbol, {"mids": [], "r": [], "pos": 0, "cash": 0.0, "dir": 0, "pnl": 0.0})
        step(state, bid, ask, bid_size, ask_size, out)
    out["pnl"] = sum(state["pnl"] for state in states.values())
    return out


def step(st: dict[str, Any], bid: float, ask: float, bid_size: float, ask_size: float, out: dict[str, float]) -> None:
    """One tick of one symbol."""
    mid = (bid + ask) / 2
    if st["mids"]:
        st["r"].append(math.log(mid / st["mids"][-1]))
    st["mids"].append(mid)
    out["spr"] += ask - bid
    if len(st["r"]) >= 500:
        s, cvar = score(st, bid, ask, bid_size, ask_size)
        target = math.floor(s * min(25.0 / cvar, 100_000.0) / mid + 0.5)
        direction = int(math.copysign(1, s)) if s else 0
        if abs(s) >= 0.35 and direction != st["dir"]:
            q = target - st["pos"]
            st["cash"] -= q * mid
            st["pos"], st["dir"] = target, direction
            out["fills"] += 1
            out["volume"] += abs(q)
        out["sig"] += s
        out["cv"] += cvar
    st["pnl"] = st["cash"] + st["pos"] * mid
    out["eq"] += st["pnl"]


def score(st: dict[str, Any], bid: float, ask: float, bid_size: float, ask_size: float) -> tuple[float, float]:
    """Ensemble signal and CVaR of a warm symbol."""
    mids, mid = st["mids"], st["mids"][-1]
    vol = float(np.std(st["r"][-100:]))
    last = np.array(mids[-50:])
    deviation = float(np.std(last))
    z = (mid - float(np.mean(last))) / deviation if deviation else 0.0
    micro = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
    imbalance = (bid_size - ask_size) / (bid_size + ask_size)
    a1 = 2 * sigmoid(2.0 * imbalance + ((micro - mid) / (mid * vol) if vol else 0.0)) - 1
    a2 = math.tanh(0.5 * (sum(mids[-3:]) / 3 - sum(mids[-6:]) / 6) / (mid * vol)) if vol else 0.0
    a3 = -max(-1.0, min(1.0, z / 3))
    cvar = max(1e-9, -sum(sorted(st["r"][-500:])[:13]) / 13)
    return 2 * sigmoid(1.2 * a1 + 0.6 * a2 + 0.9 * a3) - 1, cvar


def sigmoid(x: float) -> float:
    """Logistic function."""
    return 1 / (1 + math.exp(-x))
