"""Cosine distance of two complete feature maps, independent of their scale.  Source: [S]."""

from __future__ import annotations

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import per_image
from ablate.finetune.loss.distance.direction import direction_gap

GRADIENT_SCALE = 28
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def cosine_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """1 - <F, F'> / (||F|| ||F'||), each image's map as one vector, averaged.

    Args:
        clean: first axis the image.
        distorted: of the same shape.

    Returns:
        Scalar in [0, 2] in fp32: 0 for maps of the same direction.  A map of zeros has no
        direction: its distance is 1 from any other map, and 0 from another map of zeros.
    """
    axes = range(1, clean.ndim)
    return per_image(lambda one, other: direction_gap(one, other, axes), clean, distorted).mean()
