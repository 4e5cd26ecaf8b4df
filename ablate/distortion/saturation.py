"""Saturation: colours pulled towards grey, or pushed away from it.

Source: the saturate of CIFAR-10-C, which also goes both ways.  Differs: about the luma of RGB
instead of HSV's S.  Grey images and images with one channel are not changed.
"""

from __future__ import annotations

import torch

from ablate.distortion.kind import Distortion
from ablate.distortion.random import draw_sign
from ablate.distortion.shapes import Images, PerImage, Strengths

GAIN = 2.0
"""How much stronger colours become at strength 1, upwards; downwards strength 1 is grey."""

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def saturation(images: Images, strength: Strengths, sign: PerImage) -> Images:
    """The images' distance from their grey times 1 - strength, or 1 + GAIN * strength.

    Args:
        images: in [0, 1], RGB or of one channel.
        strength: in [0, 1], one per image.
        sign: 1 stronger colours, -1 weaker, one per image.
    """
    if images.shape[1] == 1:
        return images.clone()
    kept = 1 + torch.where(sign > 0, GAIN * strength, -strength)
    red, green, blue = images.unbind(1)
    luma = (LUMA[0] * red).add_(LUMA[1] * green).add_(LUMA[2] * blue)
    # Written out, since lerp with two broadcast operands is three times slower on a CPU.
    grey = torch.empty_like(images).copy_(luma[:, None])
    return grey.lerp_(images, kept.to(images.dtype)[:, None, None, None]).clamp_(0, 1)


DISTORTION = Distortion("saturation", draw_sign, saturation)
