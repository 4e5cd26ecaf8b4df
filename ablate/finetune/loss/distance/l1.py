"""Mean absolute difference of two feature maps.  It can be lowered by shrinking the activations.

Source: [S].  It weighs a few large differences less than `mse` does.
"""

from __future__ import annotations

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import per_image

GRADIENT_SCALE = 15
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def l1_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean of |clean - distorted| over all values and images.

    Args:
        clean: first axis the image.
        distorted: of the same shape.

    Returns:
        Scalar >= 0 in fp32, in units of the activations.
    """
    axes = tuple(range(1, clean.ndim))
    return per_image(lambda one, other: (one - other).abs().mean(axes), clean, distorted).mean()
