"""Cost of one forecast: LightGBM's own predict beside its trees in arrays, by rows of a call; and that bits are equal.

    python -m tests.bench.model_inference
"""
from __future__ import annotations

import time

import lightgbm
import numpy as np

from sigmaflow.learning import PARAMETERS, ROUNDS
from udfs import models, profiles, trees
from udfs.models import QUANTILES

LENGTHS = (1, 8, 64, 512, 4_096)


def seconds(call: object, repeats: int) -> float:
    """Least time of a call in some tries."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        call()  # type: ignore[operator]
        best = min(best, time.perf_counter() - began)
    return best


def main() -> int:
    """Print microseconds a row for both; 1 where a bit differs."""
    rng = np.random.default_rng(1)
    features = len(models.inputs(profiles.DEFAULT.alphas.names))
    x, y = rng.normal(size=(50_000, features)), rng.standard_t(4, 50_000)
    boosters = []
    for quantile in QUANTILES:
        p = PARAMETERS | {"alpha": quantile, "min_data_in_leaf": 250}
        boosters.append(lightgbm.train(p, lightgbm.Dataset(x, y + x[:, 0], params=p), ROUNDS))
    forests = trees.read([b.model_to_string() for b in boosters], features)
    differing = 0
    for rows in LENGTHS:
        some = x[:rows]
        theirs = np.stack([b.predict(some, num_threads=1) for b in boosters], axis=1)
        differing += int((theirs != forests.predict(some)).sum())
        library = seconds(lambda some=some: [b.predict(some, num_threads=1) for b in boosters], 20)
        arrays = seconds(lambda some=some: forests.predict(some), 50)
        print(f"{rows:>5} rows a call: LightGBM {1e6 * library / rows:6.2f} us a row, arrays {1e6 * arrays / rows:.2f}")
    print(f"differing bits in {sum(LENGTHS):,} rows: {differing}")
    return int(differing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
