"""fANOVA: the fraction of a score's variance over the space that a single parameter explains.

Source: Hutter et al. 2014, by Optuna's evaluator over a random forest of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

TREES = 12
DEPTH = 5
"""Optuna's 64 trees of unlimited depth take 8 s for 500 trials; these take 0.1 s and give the same
ranking."""


def fanova(
    points: NDArray[np.float64],
    scores: NDArray[np.float64],
    bounds: Sequence[tuple[float, float]],
    *,
    seed: int,
) -> NDArray[np.float64]:
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
    from optuna import create_study
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.trial import create_trial

    if np.ptp(scores) == 0:
        return np.zeros(points.shape[1])
    names = [str(column) for column in range(points.shape[1])]
    box: dict[str, BaseDistribution] = {
        name: FloatDistribution(*ends) for name, ends in zip(names, bounds, strict=True)
    }
    with _quiet():
        study = create_study()
    study.add_trials(
        [
            create_trial(
                value=score, params=dict(zip(names, point, strict=True)), distributions=box
            )
            for score, point in zip(scores.tolist(), points.tolist(), strict=True)
        ]
    )
    evaluator = FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=seed)
    try:
        found = evaluator.evaluate(study, names)
    except RuntimeError:  # every tree has met equal scores alone
        return np.zeros(points.shape[1])
    return np.array([found[name] for name in names], dtype=float)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's message about a new study; its log level is restored."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)
