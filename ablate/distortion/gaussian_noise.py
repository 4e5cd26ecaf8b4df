"""Gaussian noise on every value, independent over pixels and channels.

Source: the noise of CIFAR-10-C and ImageNet-C.  Differs: sigma grows linearly with the strength.
"""

from __future__ import annotations

import torch

from ablate.distortion.kind import Distortion
from ablate.distortion.random import as_normal, draw_bits
from ablate.distortion.shapes import Bits, Images, Strengths

SIGMA = 0.3
"""Standard deviation at strength 1, in units of the pixel range."""


def gaussian_noise(images: Images, strength: Strengths, bits: Bits) -> Images:
    """The images plus noise of sigma `SIGMA * strength`, clamped to [0, 1].

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
        bits: from `draw_bits`, of the images' shape.
    """
    sigma = SIGMA * strength[:, None, None, None]
    return torch.addcmul(images, sigma, as_normal(bits)).clamp_(0, 1).to(images.dtype)


DISTORTION = Distortion("gaussian_noise", draw_bits, gaussian_noise)
