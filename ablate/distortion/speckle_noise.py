"""Speckle noise: Gaussian noise in proportion to the value it falls on.

Source: the speckle noise of CIFAR-10-C and ImageNet-C (their extra set).  Differs: sigma grows
linearly with the strength.
"""

from __future__ import annotations

import torch

from ablate.distortion.kind import Distortion
from ablate.distortion.random import as_normal, draw_bits
from ablate.distortion.shapes import Bits, Images, Strengths

SIGMA = 0.6
"""Standard deviation at strength 1 as a share of the value: `gaussian_noise`'s at mid-grey."""


def speckle_noise(images: Images, strength: Strengths, bits: Bits) -> Images:
    """The images times 1 plus noise of sigma `SIGMA * strength`, clamped to [0, 1].

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
        bits: from `draw_bits`, of the images' shape.
    """
    sigma = SIGMA * strength[:, None, None, None] * images
    return torch.addcmul(images, sigma, as_normal(bits)).clamp_(0, 1).to(images.dtype)


DISTORTION = Distortion("speckle_noise", draw_bits, speckle_noise)
