"""Measures of a network's answers: means, mCE, intervals, calibration, classes.  Uses only
NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from statistics import NormalDist, fmean
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ablate.robustness.bits import Outcomes, SetOutcomes
from ablate.study.scores import Scores

Errors = Mapping[str, Sequence[float]]
"""Type -> errors by severity, as fractions, the lowest severity first."""

ALEXNET_MEAN_ERRORS: Mapping[str, float] = MappingProxyType(
    {
        "gaussian_noise": 0.886428,
        "shot_noise": 0.894468,
        "impulse_noise": 0.922640,
        "defocus_blur": 0.819880,
        "glass_blur": 0.826268,
        "motion_blur": 0.785948,
        "zoom_blur": 0.798360,
        "snow": 0.866816,
        "frost": 0.826572,
        "fog": 0.819324,
        "brightness": 0.564592,
        "contrast": 0.853204,
        "elastic_transform": 0.646056,
        "pixelate": 0.717840,
        "jpeg_compression": 0.606500,
    }
)
"""AlexNet's error on ImageNet-C, by corruption, mean over the five severities.

Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, and their public code.
"""

ALEXNET_CLEAN_ERROR = 0.43478
"""AlexNet's error on ImageNet's validation images: 1 - 0.56522, the accuracy that torchvision
states for its `AlexNet_Weights.IMAGENET1K_V1`."""

LEVEL = 0.95
"""Level of every interval."""

_BINS = 15


class Interval(NamedTuple):
    """Bounds of a fraction."""

    low: float
    high: float


def wilson_interval(right: int, n: int) -> Interval:
    """Interval of a binomial proportion after `right` successes in n; (0, 1) for n = 0.

    Source: Wilson 1927, without continuity correction.
    """
    return Interval(0.0, 1.0) if n == 0 else _wilson(right / n, n)


def _wilson(share: float, n: int) -> Interval:
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else middle - half
    high = 1.0 if share == 1 else middle + half
    return Interval(low, high)


def mean_interval(shares: np.ndarray) -> Interval:
    """Interval of a mean over several copies of the same n images.

    The copies of an image are not independent, so images are the sampling unit: the mean over n of
    each image's share, with the normal approximation.

    Args:
        shares: float `[n]`, from 0 to 1: fraction of each image's copies that is correct, weighted
            as in the mean.

    Returns:
        Within [0, 1]. For one image: (0, 1); if all images have the same share: Wilson's.
    """
    n = len(shares)
    if n < 2:
        return Interval(0.0, 1.0)
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * float(shares.std(ddof=1)) / math.sqrt(n)
    mean = float(shares.mean())
    if half == 0:  # all images have the same share: a binomial proportion
        return _wilson(mean, n)
    return Interval(max(0.0, mean - half), min(1.0, mean + half))


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error: mean difference between confidence and accuracy in 15 bins of
    equal width; a confidence on the border of two belongs to the lower one.

    Args:
        confidence: float `[n]`, probability of the most likely class, from 0 to 1.
        correct: bool `[n]`, whether that class is the label.

    Returns:
        From 0 to 1; NaN without images.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    n = len(confidence)
    if n == 0:
        return math.nan
    sure = confidence.astype(np.float64)
    place = np.clip(np.ceil(sure * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = np.bincount(place, sure, _BINS) - np.bincount(place, correct, _BINS)
    return float(np.abs(gaps).sum() / n)


def class_accuracies(shares: np.ndarray, labels: np.ndarray, classes: int) -> list[float]:
    """Accuracy of each class; NaN for a class without images.

    Args:
        shares: `[n]`, whether an image was correct, or the fraction of its copies.
        labels: int `[n]`, from 0.
        classes: number of classes.
    """
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=shares.astype(np.float64), minlength=classes)
    return [total / count if count else math.nan for total, count in zip(sums, counts, strict=True)]


def mean_over_types(values: Errors) -> float:
    """Mean over the types of each type's mean over its severities, unnormalised; NaN without
    types."""
    return fmean(fmean(row) for row in values.values()) if values else math.nan


def mean_corruption_error(
    errors: Errors,
    reference: Errors,
    clean_error: float = 0.0,
    reference_clean_error: float = 0.0,
) -> float:
    """mCE: mean over the types of CE_c = sum_s E_sc / sum_s E^reference_sc; with clean errors the
    relative mCE, of the errors that corruption adds to them.

    Args:
        errors: of the network.
        reference: errors of the reference network, with the same types and severities.
        clean_error, reference_clean_error: errors on clean images, subtracted from each E.

    Returns:
        A ratio: 1 is as bad as the reference. NaN where the reference makes, or adds, no errors on
        a type.

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, sec. 4.
    """
    ratios = []
    for kind, row in errors.items():
        above = math.fsum(error - clean_error for error in row)
        below = math.fsum(error - reference_clean_error for error in reference[kind])
        ratios.append(above / below if below > 0 else math.nan)
    return fmean(ratios) if ratios else math.nan


def alexnet_errors() -> dict[str, tuple[float, ...]]:
    """AlexNet's errors in the form of `Errors`, five severities.  Only their mean is known, which
    is sufficient for mCE."""
    return {kind: (mean,) * 5 for kind, mean in ALEXNET_MEAN_ERRORS.items()}


# -- Measures of a whole network, of which its accuracies do not tell ------------------------


def class_measures(shares: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, float]:
    """Balanced accuracy, the mean of the recall over the classes that have images, and the lowest
    of these.  Arguments as for `class_accuracies`.

    Source: Brodersen et al. 2010, The balanced accuracy and its posterior distribution, ICPR.
    """
    there = [one for one in class_accuracies(shares, labels, classes) if not math.isnan(one)]
    return {"balanced_accuracy": fmean(there), "worst_class_accuracy": min(there)}


def measure_network(
    found: SetOutcomes, scores: Scores, labels: np.ndarray, copy_labels: np.ndarray, classes: int
) -> dict[str, float]:
    """`Scores.measures` of a network: of clean images, and of their copies, averaged as
    `robust_accuracy` is: the recall of each class, calibration error and likelihood of each cell.

    Args:
        found: its answers.
        scores: of the same answers, without measures.
        labels: int `[n]`, of the clean images; copy_labels: int `[n_corrupted]`, of each copy.
        classes: number of classes.

    Returns:
        By name without split; of sparse scores without what they do not give.
    """
    weights = {
        kind: weight / len(scores.accuracies[kind]) for kind, weight in scores.type_weights.items()
    }

    def mean(of: Callable[[Outcomes], Any]) -> Any:
        return sum(weights[kind] * of(cell) for (kind, _), cell in found.cells.items())

    def error(outcomes: Outcomes) -> float:
        return calibration_error(outcomes.confidence, outcomes.correct)

    clean, likelihood = found.clean, attrgetter("negative_log_likelihood")
    assert clean is not None
    measured = class_measures(clean.correct, labels, classes)
    measured |= {"ece": error(clean), "nll": likelihood(clean)}
    robust = {"nll": mean(likelihood)}
    if scores.cell_share == 1:
        robust |= class_measures(mean(attrgetter("correct")), copy_labels, classes)
        robust["ece"] = mean(error)
    return measured | {f"robust_{name}": value for name, value in robust.items()}
