"""Cosine distance of two whole feature maps: free of the scale of either."""

from __future__ import annotations

import torch
from torch.nn import functional

from ablate.distortion.shapes import FeatureMap, Scalar


def cosine_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """1 - <F, F'> / (||F|| ||F'||), each image's map as one vector, averaged.

    Args:
        clean: first axis the image.
        distorted: of the same shape.

    Returns:
        Scalar in [0, 2] in fp32: 0 for maps of one direction.  A map of zeros has no direction:
        its distance is 1, whatever the other one is.
    """
    wide = torch.promote_types(clean.dtype, torch.float32)
    first, second = (features.to(wide).flatten(1) for features in (clean, distorted))
    return (1 - functional.cosine_similarity(first, second, dim=1)).mean()
