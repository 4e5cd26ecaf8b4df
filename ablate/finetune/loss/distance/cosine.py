"""Cosine distance of two whole feature maps: free of the scale of either.  Source: [S]."""

from __future__ import annotations

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import per_image
from ablate.finetune.loss.distance.direction import direction_gap


def cosine_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """1 - <F, F'> / (||F|| ||F'||), each image's map as one vector, averaged.

    Args:
        clean: first axis the image.
        distorted: of the same shape.

    Returns:
        Scalar in [0, 2] in fp32: 0 for maps of one direction.  A map of zeros has no direction:
        it is at 1 from any other, and at 0 from another one of zeros.
    """
    axes = range(1, clean.ndim)
    return per_image(lambda one, other: direction_gap(one, other, axes), clean, distorted).mean()
