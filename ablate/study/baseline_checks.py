"""Whether a baseline is what a person takes it for: a network that is fed wrongly looks as if any
finetuning made it better."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ablate.study.preparation import Preprocessing, fed_text

Bits = NDArray[np.bool_]

EXPECTED_ERRORS = 4.0
"""Standard errors that a baseline may lie below `baseline.expected_accuracy`."""

CAUSES = (
    "it is fed otherwise than it was trained (model.normalization, dataset.image_size, "
    "dataset.resize), or its training has not converged"
)
"""The two usual causes of a baseline that is worse than it should be."""


def expected_rule(
    expected: float | None,
    accuracy: float,
    images: int,
    preprocessing: Preprocessing | None,
    *,
    errors: float = EXPECTED_ERRORS,
) -> str | None:
    """How a baseline falls short of `baseline.expected_accuracy`, as `rule, got X. Fix.`

    Args:
        expected, accuracy: in [0, 1]; on so many validation images.
        preprocessing: how they reach the network.
        errors: standard errors that it may lie below.

    Returns:
        None if it is at most so many standard errors below, or nothing is expected.
    """
    error = math.sqrt(expected * (1 - expected) / images) if expected is not None else 0.0
    if expected is None or accuracy >= expected - errors * error:
        return None
    fed = fed_text(accuracy, images, preprocessing)
    rule = f"must be reached within {errors:g} standard errors of {100 * error:.1f} points"
    got = f"{expected:g} and a baseline that is right on {fed}"
    return f"{rule}, got {got}. Either {CAUSES}: correct that, or lower it."


WARNING_ERRORS = 2.0
"""Standard errors below what is expected, from which `ablate init` asks for a person's word; and
those of a plain finetune's gain, from which results begin with a warning."""


def guess_rule(accuracy: float, frequent: str, share: float) -> str | None:
    """What is wrong with a baseline that is no better than a guess.

    Args:
        accuracy: of the baseline, in [0, 1].
        frequent: name of the most frequent class; share: of the images that are of it, in [0, 1].

    Returns:
        A sentence without its end; None if it is better.
    """
    if accuracy > share:
        return None
    return (
        f"the baseline is right on {100 * accuracy:.1f} %, no more than a network that always "
        f"answers {frequent} ({100 * share:.1f} %): either {CAUSES}"
    )


GAIN_POINTS, GAIN_ERRORS = 3.0, 3.0
"""What plain finetuning may gain in clean accuracy, in points and standard errors: more of both is
no effect of a method."""


def gain_rule(
    baseline: float,
    plain: float,
    images: int,
    correct: tuple[Bits, Bits] | None,
    *,
    errors: float = GAIN_ERRORS,
) -> str | None:
    """What is wrong where plain finetuning makes a baseline much better.

    Args:
        baseline, plain: clean accuracy on so many validation images, in [0, 1].
        correct: of the two, whether each image is classified correctly, for the standard error of
            the paired difference; None: not known, the two are taken as independent.
        errors: standard errors that it may gain.

    Returns:
        A sentence without its end; None up to 3 points or so many standard errors.
    """
    gain = plain - baseline
    variance = baseline * (1 - baseline) + plain * (1 - plain)
    if correct is not None:
        variance = float(np.var(correct[1].astype(float) - correct[0].astype(float)))
    error = math.sqrt(variance / images)
    if 100 * gain <= GAIN_POINTS or gain <= errors * error:
        return None
    return (
        f"plain finetuning raises clean accuracy by {100 * gain:.1f} points, from "
        f"{100 * baseline:.1f} to {100 * plain:.1f} % (standard error {100 * error:.1f})"
    )


def seen_rule(validation: tuple[float, int], held_out: tuple[float, int]) -> str | None:
    """How a network's accuracy speaks against `baseline.saw_validation: false`.

    Args:
        validation: accuracy in [0, 1], and number of images, of the validation images, which are
            drawn from train/; held_out: of those in val/, which are others.

    Returns:
        A sentence without its end; None up to 3 points or 3 standard errors.
    """
    gain = validation[0] - held_out[0]
    both = (validation, held_out)
    error = math.sqrt(sum(share * (1 - share) / images for share, images in both))
    if 100 * gain <= GAIN_POINTS or gain <= GAIN_ERRORS * error:
        return None
    seen, unseen = (f"{100 * share:.1f} % of {images:,} images" for share, images in both)
    return (
        f"saw_validation: no looks false: the network is right on {seen} of train/, which trials "
        f"are compared on, and on {unseen} of val/ (standard error of the difference "
        f"{100 * error:.1f} points): say yes if it was trained on train/"
    )
