"""Relative distance of two feature maps: free of scale, the default of FMA.

Source: own interpretation [O]: ||F - F'||^2 / (stopgrad ||F||^2 + eps).
Not to be confused with `mse`, which shrinks with the activations.
"""

from __future__ import annotations

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.squared_error import squared_error, squared_norm

EPSILON = 1e-6
"""Added to the squared norm, so that a clean map of zeros does not divide by zero."""

GRADIENT_SCALE = 12
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def relative_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Squared error over the squared norm of the clean map, image by image, averaged.

    Args:
        clean: first axis the image.  Its norm in the denominator has no gradient.
        distorted: of the same shape.

    Returns:
        Scalar >= 0 in fp32: 0 for equal maps, 1 if a distorted map is all zeros.  For a clean map
        of all zeros it is the squared error over eps, which is large.
    """
    error = squared_error(clean, distorted)
    return (error / (squared_norm(clean) + EPSILON)).mean()
