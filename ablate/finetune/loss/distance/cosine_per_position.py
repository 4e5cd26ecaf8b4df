"""Cosine distance of two feature maps, position by position: free of scale at every position.

Source: [S].  Not to be confused with `cosine`, where positions with large activations weigh more.
"""

from __future__ import annotations

from torch import Tensor

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import per_image
from ablate.finetune.loss.distance.direction import direction_gap

READS_CHANNELS = True

GRADIENT_SCALE = 28
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def cosine_per_position_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean over positions of 1 - <f, f'> / (||f|| ||f'||), f the channels at one, averaged.

    Args:
        clean: second axis the channel; a map with two axes is one position, which gives `cosine`.
        distorted: of the same shape.

    Returns:
        Scalar in [0, 2] in fp32.  A position of zeros has no direction: its distance is 1 from any
        other, and 0 from another one of zeros.
    """
    return per_image(_gap, clean, distorted).mean()


def _gap(clean: Tensor, distorted: Tensor) -> Tensor:
    return direction_gap(clean, distorted, [1]).reshape(len(clean), -1).mean(1)
