"""Mean squared error of two feature maps after global average pooling.

Source: [S].  What moves inside the image is free.  It can be lowered by shrinking the activations.
"""

from __future__ import annotations

from torch import Tensor

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import per_image

READS_CHANNELS = True

GRADIENT_SCALE = 7.3
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def pooled_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean over channels and images of (mean over positions of clean - distorted)^2.

    Args:
        clean: second axis the channel; a map with two axes is already pooled, which gives `mse`.
        distorted: of the same shape.

    Returns:
        Scalar >= 0 in fp32, in squared units of the activations.
    """
    return per_image(_difference, clean, distorted).mean()


def _difference(clean: Tensor, distorted: Tensor) -> Tensor:
    gap = clean - distorted
    pooled = gap if gap.ndim == 2 else gap.mean(tuple(range(2, gap.ndim)))
    return pooled.square().mean(1)
