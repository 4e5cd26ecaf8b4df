"""Hue: all colours turned about the grey axis, by the same angle either way.

Source: the hue of YIQ (NTSC), whose chroma plane is turned [S].  Differs from HSV's hue: grey and
luma are not changed, and the rotation is one linear map without the discontinuities of HSV.  Images
with one channel are not changed.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from ablate.distortion.kind import Distortion
from ablate.distortion.random import draw_sign
from ablate.distortion.shapes import Images, PerImage, Strengths

TURN = 1 / 3
"""Share of a full turn at strength 1: red becomes green, or blue."""

TO_YIQ = (
    (0.299, 0.587, 0.114),
    (0.595716, -0.274453, -0.321263),
    (0.211456, -0.522591, 0.311135),
)


def hue(images: Images, strength: Strengths, sign: PerImage) -> Images:
    """The images' colours turned by `TURN * strength * sign` of a full turn, clamped to [0, 1].

    Args:
        images: in [0, 1], RGB or of one channel.
        strength: in [0, 1], one per image.
        sign: 1 from red towards green, -1 towards blue, one per image.
    """
    if images.shape[1] == 1:
        return images.clone()
    wide = torch.promote_types(images.dtype, torch.float32)
    turns = _turns((2 * math.pi * TURN * strength * sign).to(wide))
    with torch.autocast(images.device.type, enabled=False):
        turned = turns @ images.to(wide).flatten(2)
    return turned.view(images.shape).clamp_(0, 1).to(images.dtype)


def _turns(angle: PerImage) -> Tensor:
    across, away = _chroma_planes(angle.dtype, angle.device)
    sine, versine = angle.sin()[:, None, None], (1 - angle.cos())[:, None, None]
    # The identity plus the rotation part, so that angle 0 does not change any bit.
    unturned = torch.eye(3, dtype=angle.dtype, device=angle.device)
    return unturned + sine * across + versine * away


@cache
def _chroma_planes(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Chroma's two axes turned by a right angle; and what takes a colour to minus its chroma."""
    to_yiq = torch.tensor(TO_YIQ, dtype=torch.float64)
    across, away = (
        (to_yiq.inverse() @ torch.tensor(plane, dtype=torch.float64) @ to_yiq).to(device, dtype)
        for plane in ([[0, 0, 0], [0, 0, 1], [0, -1, 0]], [[0, 0, 0], [0, -1, 0], [0, 0, -1]])
    )
    return across, away


DISTORTION = Distortion("hue", draw_sign, hue)
