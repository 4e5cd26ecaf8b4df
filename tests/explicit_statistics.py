"""The statistics of an ablation once more, in explicit sums and SciPy's distributions."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

from ablate.ablation.intervals import PSEUDO_IMAGES as ADDED
from ablate.study.scores import Scores


def mean_squares(table: np.ndarray) -> tuple[float, float, float]:
    """Of seeds, images and residual, `[K, n_images]`; the added ones are among the images."""
    n_seeds, n_images = table.shape
    grand = table.sum() / table.size
    rows, columns = table.sum(axis=1) / n_images, table.sum(axis=0) / n_seeds
    seeds = n_images * sum((row - grand) ** 2 for row in rows) / (n_seeds - 1)
    rest = ((table - rows[:, None] - columns + grand) ** 2).sum()
    rest /= (n_seeds - 1) * (n_images - 1)
    squares, fourths = ((table**power).sum() for power in (2, 4))
    added = fourths / squares if squares else 1.0
    images = n_seeds * (((columns - grand) ** 2).sum() + ADDED * added)
    return float(seeds), float(images / (n_images + ADDED - 1)), float(rest)


class Explicit:
    """Mean, interval and p of a difference, over seeds, `[K]`, or over images too, `[K, n]`.

    The interval is the widest of several, so its p is the largest of theirs.
    """

    def __init__(self, table: np.ndarray) -> None:
        table = np.asarray(table, float)
        seeds = table if table.ndim == 1 else table.mean(axis=1)
        n = len(seeds)
        self.mean, self.sd = float(seeds.mean()), float(seeds.std(ddof=1))
        over_seeds = [(self.sd / math.sqrt(n), n - 1)]
        if table.ndim == 1:
            self._forms = [over_seeds]
            return
        ms_seeds, ms_images, ms_rest = mean_squares(table)
        total = max(ms_seeds + ms_images - ms_rest, 0.0)
        free = (n - 1, table.shape[1] - 1, (n - 1) * (table.shape[1] - 1))
        squares = zip((ms_seeds, ms_images, ms_rest), free, strict=True)
        satterthwaite = total**2 / sum(square**2 / one for square, one in squares)
        size = table.size
        self._forms = [
            [(math.sqrt(total / size), max(n - 1, satterthwaite))],
            [
                (math.sqrt(max(ms_seeds - ms_rest, 0.0) / size), n - 1),
                (math.sqrt(max(ms_images, ms_rest) / size), table.shape[1] - 1),
            ],
        ]
        if n == 2:
            self._forms.append(over_seeds)

    def half(self, level: float = 0.95) -> float:
        return max(_half(form, 1 - level) for form in self._forms)

    def bounds(self, level: float = 0.95) -> tuple[float, float]:
        return self.mean - self.half(level), self.mean + self.half(level)

    def p(self, null: float = 0.0) -> float:
        return max(_p(form, abs(self.mean - null)) for form in self._forms)


_LEAST = 1e-25

Form = Sequence[tuple[float, float]]
"""Standard errors with their degrees of freedom: their half-widths add up in squares."""


def _half(form: Form, alpha: float) -> float:
    return math.hypot(*(error * stats.t.isf(alpha / 2, free) for error, free in form))


def _p(form: Form, distance: float) -> float:
    if len(form) == 1:
        ((error, free),) = form
        return float(2 * stats.t.sf(distance / error, free)) if error else 0.0
    if _half(form, _LEAST) < distance:
        return _LEAST
    found = optimize.bisect(
        lambda alpha: _half(form, alpha) - distance, _LEAST, 1.0, xtol=1e-75, rtol=1e-13
    )
    return float(found)


def holm(p_values: Sequence[float]) -> list[float]:
    """Step down: each p times those that are not smaller, and never below the one before."""
    of_all = len(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = [min(1.0, (of_all - rank) * p_values[place]) for rank, place in enumerate(order)]
    adjusted = np.empty(of_all)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted.tolist()


def simultaneous(model: Explicit, of_claims: int, p_adjusted: float) -> tuple[float, float]:
    """Bonferroni's interval; where Holm rejects 0 all the same, it ends there."""
    low, high = model.bounds(1 - 0.05 / of_claims)
    if p_adjusted < 0.05 and low <= 0 <= high:
        return (0.0, high) if model.mean > 0 else (low, 0.0)
    return low, high


def confirmed_level(networks: int, accuracies: int) -> float:
    """Of the interval of each confirmed network over a reference in each accuracy, so that all of
    them hold in 95 % of confirmations."""
    return 1 - 0.05 / (networks * accuracies)


def images_right(text: str, scores: Scores, metric: str) -> np.ndarray:
    """`[n]`, what a network got of each image, in a metric."""
    flat = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8)).astype(float)
    n, corrupted = scores.n_images, scores.n_corrupted or scores.n_images
    clean, rest = flat[:n], flat[n:]
    severities, types = {}, {}
    for kind, by_severity in scores.accuracies.items():
        for severity in by_severity:
            severities[f"{kind}.{severity}"], rest = rest[:corrupted], rest[corrupted:]
        own = [severities[f"{kind}.{severity}"] for severity in by_severity]
        types[kind] = np.mean(own, axis=0)
    families = {
        family: np.mean([types[kind] for kind in kinds], axis=0)
        for family, kinds in scores.families.items()
    }
    robust = np.mean(list(families.values()), axis=0)
    whole = {"val_clean_accuracy": clean, "val_robust_accuracy": robust}
    named = {
        f"val_accuracy.{name}": one for name, one in {**severities, **types, **families}.items()
    }
    return {**whole, **named}[metric]
