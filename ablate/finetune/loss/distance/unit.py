"""Squared difference of feature maps whose channel vectors have length 1, as LPIPS takes it.

Source: [S] Zhang et al. 2018, arXiv:1801.03924, eq. 1, with all channel weights 1.  Differs: a
vector of zeros stays one, with no constant in the denominator.  Twice `cosine_per_position`,
except where one of two vectors is zeros.
"""

from __future__ import annotations

from torch import Tensor

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import per_image
from ablate.finetune.loss.distance.direction import direction

READS_CHANNELS = True

GRADIENT_SCALE = 14
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def unit_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean over positions of ||f / ||f|| - f' / ||f'|| ||^2, f the channels at one, averaged.

    Args:
        clean: second axis the channel; a map of two axes is one position.
        distorted: of the same shape.

    Returns:
        Scalar in [0, 4] in fp32.  The distance of a position of zeros is 1 from any other, and 0
        from another one of zeros.
    """
    return per_image(_chord, clean, distorted).mean()


def _chord(clean: Tensor, distorted: Tensor) -> Tensor:
    chord = (direction(clean, [1]) - direction(distorted, [1])).square().sum(1)
    return chord.reshape(len(chord), -1).mean(1)
