"""Weights of least CVaR: the linear programme of Rockafellar and Uryasev (2000), theorem 2. Off the hot path."""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse


def minimum_cvar(returns: NDArray[np.float64], tail: float, cap: float = 1.0) -> NDArray[np.float64]:
    """Long-only weights that add up to 1, each at most `cap`, with the least historical CVaR.

    `returns` has a row for each scenario and a column for each instrument, simple returns. Minimise
    c + sum(u) / (tail * n) over weights w, c and u >= 0 with u >= -returns @ w - c. Solved by HiGHS, one thread.
    ValueError for no scenario, values that are not finite, a tail outside (0, 1), or a cap that cannot add up to 1.

    >>> minimum_cvar(np.array([[0.01, -0.02], [-0.01, 0.02], [0.02, -0.04]]), 0.5).round(6).tolist()
    [0.666667, 0.333333]
    """
    rows, count = _scenarios(returns)
    if not 0 < tail < 1 or not cap * count >= 1:
        raise ValueError(f"risk: tail must lie in (0, 1) and {count} weights of at most {cap:g} add up to 1, "
                         f"found tail {tail:g}")
    cost = np.concatenate([np.zeros(count), [1.0], np.full(rows, 1 / (tail * rows))])
    beyond = sparse.hstack([-returns, np.full((rows, 1), -1.0), -sparse.identity(rows)], format="csr")
    total = np.concatenate([np.ones(count), np.zeros(rows + 1)])[np.newaxis]
    bounds = [(0.0, cap)] * count + [(None, None)] + [(0.0, None)] * rows
    found = optimize.linprog(cost, A_ub=beyond, b_ub=np.zeros(rows), A_eq=total, b_eq=[1.0], bounds=bounds,
                             method="highs-ds")
    if not found.success:
        raise ValueError(f"risk: no weights of least CVaR: {found.message}")
    return np.asarray(found.x[:count])


def _scenarios(returns: NDArray[np.float64]) -> tuple[int, int]:
    rows, count = np.shape(returns)
    if rows == 0 or count == 0 or not np.isfinite(returns).all():
        raise ValueError(f"risk: scenarios must be finite and at least one by one, found {rows} by {count}")
    return rows, count
