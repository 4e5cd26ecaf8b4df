"""Difference of attention maps: where a layer is active, whatever the channel.

Source: [S] Zagoruyko and Komodakis 2017, arXiv:1612.03928, sec. 3.1, activation-based attention
with p = 2; the mean square of their code, where the paper writes a norm.
"""

from __future__ import annotations

import math

from torch import Tensor

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import per_image
from ablate.finetune.loss.distance.direction import direction

READS_CHANNELS = True

GRADIENT_SCALE = 1300
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def attention_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean (A - A')^2 over positions, A = a / ||a|| and a = mean_c F^2, averaged.

    Args:
        clean: second axis the channel.  A map with a single position would have the constant
            attention 1 and no gradient, so its channels are treated as positions [O].
        distorted: of the same shape.

    Returns:
        Scalar in [0, 2 / positions] in fp32: 0 if both are active at the same positions.  A map of
        zeros has the attention 0 everywhere.
    """
    return per_image(_difference, clean, distorted).mean()


def _difference(clean: Tensor, distorted: Tensor) -> Tensor:
    return (_attention(clean) - _attention(distorted)).square().mean(1)


def _attention(features: Tensor) -> Tensor:
    energy = features.square()
    if math.prod(features.shape[2:]) > 1:
        energy = energy.mean(1)
    return direction(energy.flatten(1), [1])
