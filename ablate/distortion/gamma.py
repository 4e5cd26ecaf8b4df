"""Gamma: every value raised to a power, which darkens or lightens the mid-tones.

Source: the power law of displays [S]; not among the corruptions of the benchmarks.  Black and white
stay as they are.
"""

from __future__ import annotations

import math

import torch

from ablate.distortion.kind import Distortion, keep_at_zero
from ablate.distortion.random import draw_sign
from ablate.distortion.shapes import Images, PerImage, Strengths

GAMMA = 3.0
"""The power at strength 1, or one over it: mid-grey becomes 0.125 or 0.79."""


def gamma(images: Images, strength: Strengths, sign: PerImage) -> Images:
    """The images to the power `GAMMA ** (strength * sign)`.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
        sign: 1 darker, -1 lighter, one per image.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    power = (math.log(GAMMA) * strength * sign).exp_().div_(math.log(2))
    # In place of pow, which takes twice as long on a CPU.  log1p is its fast logarithm: near 0 it
    # is off by 6e-8 over the value, far less than a byte shows.  log(0) is -inf, and back to 0;
    # no logarithm is above 0, so that no power needs a clamp.
    raised = (images.to(wide) - 1).log1p_().mul_(power.to(wide).view(-1, 1, 1, 1)).exp2_()
    return keep_at_zero(raised, images, strength)


DISTORTION = Distortion("gamma", draw_sign, gamma)
