"""fANOVA: the fraction of a score's variance over the space that a single parameter explains.

Source: Hutter et al. 2014, over a random forest of scikit-learn; the shares of a tree are those of
Optuna's evaluator, computed from the boxes of its leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

TREES = 12
DEPTH = 5
"""Optuna's 64 trees of unlimited depth take 8 s for 500 trials; these take 0.1 s and give the same
ranking."""

Numbers = NDArray[np.float64]


def has_fanova() -> bool:
    """Whether scikit-learn is installed (the extra `fanova`)."""
    return find_spec("sklearn") is not None


def fanova(
    points: Numbers, scores: Numbers, bounds: Sequence[tuple[float, float]], *, seed: int
) -> Numbers:
    """The importance of each column.

    A choice of more than two values is a column of indices in a fixed order: one column per value,
    as in Optuna, costs 2 ** choices steps.

    Args:
        points: `[trials, columns]`, without NaN.
        scores: `[trials]`, finite; the direction does not matter.
        bounds: of each column, low below high; the variance is that over this box.
        seed: of the forest.

    Returns:
        `[columns]`, 0 to 1, with sum at most 1: the rest is interactions. All 0 if all scores are
        equal.
    """
    if np.ptp(scores) == 0:
        return np.zeros(points.shape[1])
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=TREES, max_depth=DEPTH, random_state=seed)
    forest.fit(points, scores)
    box = np.array(bounds, dtype=float).T
    shares = [_tree_shares(tree.tree_, *box) for tree in forest.estimators_]
    # A tree that has met equal scores alone says nothing.
    found = [of_tree for of_tree in shares if of_tree is not None]
    return np.mean(found, axis=0) if found else np.zeros(points.shape[1])


def _tree_shares(tree: Any, low: Numbers, high: Numbers) -> Numbers | None:
    """The fraction of a tree's variance over the box that each column explains; None without
    variance."""
    lows, highs, values = _leaves(tree, low, high)
    sides = (highs - lows) / (high - low)
    volumes = sides.prod(axis=1)
    mean = volumes @ values
    variance = volumes @ (values - mean) ** 2
    if not variance > 0:
        return None
    shares = np.empty(len(low))
    for column in range(len(low)):
        ends = np.unique(np.append(lows[:, column], high[column]))
        inside = (lows[:, column] <= ends[:-1, None]) & (ends[:-1, None] < highs[:, column])
        elsewhere = np.delete(sides, column, axis=1).prod(axis=1)
        marginal = inside @ (elsewhere * values)
        widths = np.diff(ends) / (high[column] - low[column])
        shares[column] = widths @ (marginal - mean) ** 2 / variance
    return shares


def _leaves(tree: Any, low: Numbers, high: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The boxes that a tree divides the box into, `[leaves, columns]` twice, and their values."""
    lows, highs, values = [], [], []
    open_nodes = [(0, low, high)]
    while open_nodes:
        node, low, high = open_nodes.pop()
        column = tree.feature[node]
        if column < 0:
            lows.append(low)
            highs.append(high)
            values.append(tree.value[node].item())
            continue
        below, above = high.copy(), low.copy()
        below[column] = above[column] = tree.threshold[node]
        open_nodes += [(tree.children_left[node], low, below)]
        open_nodes += [(tree.children_right[node], above, high)]
    return np.array(lows), np.array(highs), np.array(values)
