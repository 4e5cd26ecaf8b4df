"""Whether a baseline is what a person takes it for: a network that is fed wrongly looks as if any
finetuning made it better."""

from __future__ import annotations

import math

from ablate.study.preparation import Preprocessing, fed_text

EXPECTED_ERRORS = 4.0
"""Standard errors that a baseline may lie below `baseline.expected_accuracy`."""

CAUSES = (
    "it is fed otherwise than it was trained (model.normalization, dataset.image_size, "
    "dataset.resize), or its training has not converged"
)
"""The two usual causes of a baseline that is worse than it should be."""


def expected_rule(
    expected: float | None, accuracy: float, images: int, preprocessing: Preprocessing | None
) -> str | None:
    """How a baseline falls short of `baseline.expected_accuracy`, as `rule, got X. Fix.`

    Args:
        expected, accuracy: in [0, 1]; on so many validation images.
        preprocessing: how they reach the network.

    Returns:
        None if it is at most 4 standard errors below it, or nothing is expected.
    """
    if expected is None:
        return None
    error = math.sqrt(expected * (1 - expected) / images)
    if accuracy >= expected - EXPECTED_ERRORS * error:
        return None
    return (
        f"must be reached within 4 standard errors of {100 * error:.1f} points, got {expected:g} "
        f"and a baseline that is right on {fed_text(accuracy, images, preprocessing)}. Either "
        f"{CAUSES}: correct that, or lower it."
    )
