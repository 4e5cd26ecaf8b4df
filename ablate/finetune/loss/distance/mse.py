"""Mean squared error of two feature maps.  It can be lowered by shrinking the activations."""

from __future__ import annotations

import math

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.squared_error import squared_error

GRADIENT_SCALE = 3.8
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def mse_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean of (clean - distorted)^2 over all values and images.

    Args:
        clean: first axis the image.
        distorted: of the same shape.

    Returns:
        Scalar >= 0 in fp32, in squared units of the activations.
    """
    return squared_error(clean, distorted).mean() / math.prod(clean.shape[1:])
