"""LightGBM's trees without LightGBM: read from its text format into arrays, walked by one compiled loop.

A row's prediction is the sum of its leaves in the order of the trees, in double precision, exactly as LightGBM adds
them, so it has LightGBM's bits and does not depend on how many rows a call has. LightGBM's own predict costs
more a call than a micro-batch of a few rows may take: tests/bench/model_inference.py measures both.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

CATEGORICAL, MISSING = 1, 0b1100
"""Bits of a node's decision_type; both must be off: every feature is a finite number."""


class TreeError(ValueError):
    """A text that is not a LightGBM model of plain numerical trees."""


@dataclass(frozen=True)
class Trees:
    """Some forests, flat. Node n goes to `left[n]` where row[feature[n]] <= threshold[n], else to `right[n]`.

    A negative child is leaf ~child of `value`. `roots` has the first node of each tree, and forest f has the trees from
    `forests[f]` up to `forests[f + 1]`.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    roots: NDArray[np.int64]
    forests: NDArray[np.int64]

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """One prediction for each row (rows, features) and forest: (rows, forests)."""
        out = np.empty((len(rows), len(self.forests) - 1))
        _walk(np.ascontiguousarray(rows), self.feature, self.threshold, self.left, self.right, self.value, self.roots,
              self.forests, out)
        return out


@numba.njit(cache=True)
def _walk(rows, feature, threshold, left, right, value, roots, forests, out):
    for forest in range(forests.shape[0] - 1):
        for row in range(rows.shape[0]):
            total = 0.0
            for tree in range(forests[forest], forests[forest + 1]):
                node = roots[tree]
                while node >= 0:
                    node = left[node] if rows[row, feature[node]] <= threshold[node] else right[node]
                total += value[~node]
            out[row, forest] = total


def read(texts: Sequence[str], features: int) -> Trees:
    """The forests of some LightGBM text models over that many features. Raises TreeError for anything else."""
    forests = [_trees(text) for text in texts]
    parts: list[tuple[NDArray[Any], ...]] = []
    thresholds, values, roots = [np.zeros(0)], [np.zeros(0)], []
    nodes = leaves = 0
    for tree in (tree for trees in forests for tree in trees):
        feature, threshold, left, right, value = _tree(tree, features)
        roots.append(nodes if len(feature) else ~leaves)
        parts.append((feature, *(np.where(child >= 0, child + nodes, child - leaves) for child in (left, right))))
        thresholds.append(threshold)
        values.append(value)
        nodes, leaves = nodes + len(feature), leaves + len(value)
    whole = [np.concatenate([np.zeros(0, np.int64), *(part[n] for part in parts)]) for n in range(3)]
    return Trees(whole[0], np.concatenate(thresholds), whole[1], whole[2], np.concatenate(values),
                 np.array(roots, np.int64), np.cumsum([0, *map(len, forests)]).astype(np.int64))


def _trees(text: str) -> list[dict[str, str]]:
    """The fields of every tree of one text model."""
    head, *blocks = text.split("\nTree=")
    if not head.startswith("tree\n") or "end of trees" not in text:
        raise TreeError("no LightGBM text model, or only a part of one")
    if "average_output" in head:
        raise TreeError("a forest whose trees are averaged")
    return [dict(line.split("=", 1) for line in block.split("\n\n")[0].splitlines() if "=" in line)
            for block in blocks]


def _tree(held: dict[str, str], features: int) -> tuple[NDArray[Any], ...]:
    """Features, thresholds, children and leaf values of one tree."""
    try:
        value = _numbers(held["leaf_value"])
        if int(held["num_leaves"]) == 1:
            none = np.zeros(0, np.int64)
            return none, np.zeros(0), none, none, value
        feature, left, right, kind = (np.array(held[name].split(), np.int64) for name in (
            "split_feature", "left_child", "right_child", "decision_type"))
        threshold = _numbers(held["threshold"])
    except (KeyError, ValueError) as error:
        raise TreeError(f"a tree without a readable field ({error})") from None
    if int(held.get("num_cat", 0)) or (kind & (CATEGORICAL | MISSING)).any() or held.get("is_linear") == "1":
        raise TreeError("a tree with categories, missing values or linear leaves")
    count = len(feature)
    if not (len(value) == count + 1 and len(threshold) == len(left) == len(right) == count):
        raise TreeError("a tree whose fields differ in length")
    # A child that is a node lies behind its parent in LightGBM's numbering, so a walk always ends.
    behind = all(((child < 0) | (child > np.arange(count))).all() for child in (left, right))
    if not behind or max(left.max(), right.max()) >= count or min(left.min(), right.min()) < -len(value):
        raise TreeError("a tree whose children are not nodes behind them")
    if feature.min() < 0 or feature.max() >= features:
        raise TreeError(f"a tree that splits feature {feature.max()} of {features}")
    return feature, threshold, left, right, value


def _numbers(text: str) -> NDArray[np.float64]:
    found = np.array(text.split(), np.float64)
    if not np.isfinite(found).all():
        raise ValueError("a number is not finite")
    return found
