"""What is compared of two sets of corrupted images, and when they differ by more than by chance.

Both sides corrupt the same images with draws of their own. So whatever is computed per image
differs, from side to side, by a number whose expectation is 0 if they draw from one distribution;
the spread of that number over the images gives the error of its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from parity_images import as_input, trained_network
from scipy import stats

NAMES = ("mean", "variance", "beside", "below", "rightward", "downward")
"""Of the change, per image and channel: its mean and variance over the pixels; its covariance with
itself one pixel to the right and one down (how it hangs together); and the mean of its product with
the image's slope to the right and down (where it moves the image to)."""

CHANCE = 1e-5
"""That a pair of equal distributions is taken for unequal by one comparison."""

ROUNDING = np.array([0.05, 0.1, 0.1, 0.1, 0.05, 0.05])[:, None]
"""In grey levels, or their squares: fp32 and fp64 end on two sides of a byte here and there."""
RELATIVE_ROUNDING = 0.003


@dataclass(frozen=True)
class Look:
    """One side's copy of the images.

    Attributes:
        moments: `[n, 6, 3]`, by `NAMES` and channel.
        correct: bool `[n]`, whether the network says the label; None where none looked.
        confidence: `[n]`, the probability that it gives the label.
    """

    moments: np.ndarray
    correct: np.ndarray | None = None
    confidence: np.ndarray | None = None


def look_at(
    corrupted: torch.Tensor, images: torch.Tensor, labels: torch.Tensor | None = None
) -> Look:
    """Args: uint8 `[n, 3, height, width]` both."""
    before = images.numpy().astype(np.float64)
    change = corrupted.numpy() - before
    centred = change - change.mean((2, 3), keepdims=True)
    moments = [
        change.mean((2, 3)),
        (centred**2).mean((2, 3)),
        (centred[..., 1:] * centred[..., :-1]).mean((2, 3)),
        (centred[..., 1:, :] * centred[..., :-1, :]).mean((2, 3)),
        (change[..., 1:-1] * (before[..., 2:] - before[..., :-2])).mean((2, 3)) / 64,
        (change[..., 1:-1, :] * (before[..., 2:, :] - before[..., :-2, :])).mean((2, 3)) / 64,
    ]
    if labels is None:
        return Look(np.stack(moments, 1))
    probabilities = trained_network()(as_input(corrupted)).softmax(1)
    correct = (probabilities.argmax(1) == labels).numpy()
    confidence = probabilities[torch.arange(len(labels)), labels].double().numpy()
    return Look(np.stack(moments, 1), correct, confidence)


def find_differences(ours: Look, theirs: Look) -> list[str]:
    """Every moment whose mean over the images differs by more than its error allows.

    The bound is Student's quantile for `CHANCE` times the standard error of the paired
    difference, and `ROUNDING` above that.
    """
    difference = ours.moments - theirs.moments
    count = len(difference)
    quantile = stats.t.ppf(1 - CHANCE / 2, count - 1)
    error = difference.std(0, ddof=1) / np.sqrt(count)
    size = np.abs(theirs.moments).mean(0)
    bound = quantile * error + ROUNDING + RELATIVE_ROUNDING * size
    found = difference.mean(0)
    return [
        f"{NAMES[row]} of channel {channel}: {theirs.moments.mean(0)[row, channel]:.4g} "
        f"{found[row, channel]:+.4g} (bound {bound[row, channel]:.2g})"
        for row, channel in zip(*np.nonzero(np.abs(found) > bound), strict=True)
    ]


def chance_of_accuracies(ours: Look, theirs: Look) -> float:
    """Of accuracies at least that far apart, if both sides are one distribution.

    McNemar's exact test: of the images that only one side gets right, either is as likely.
    """
    only_ours = int((ours.correct & ~theirs.correct).sum())
    only_theirs = int((theirs.correct & ~ours.correct).sum())
    if only_ours + only_theirs == 0:
        return 1.0
    return float(stats.binomtest(only_ours, only_ours + only_theirs).pvalue)


def chance_of_confidences(ours: Look, theirs: Look) -> float:
    """The same of the mean probability of the label, by Student's paired test."""
    difference = ours.confidence - theirs.confidence
    if np.abs(difference).max() < 0.02:  # a grey level here and there
        return 1.0
    return float(stats.ttest_1samp(difference, 0).pvalue)
