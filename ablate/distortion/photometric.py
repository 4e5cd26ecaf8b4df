"""Photometric: brightness, contrast, saturation, hue and gamma.

Source: brightness, contrast and saturate of CIFAR-10-C, the hue of YIQ (NTSC) [S], and the power
law of displays [S].  Differs: all but contrast go both ways, equally likely (`sign`); brightness is
added in RGB instead of to HSV's V; saturation is about the luma of RGB instead of HSV's S.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from ablate.distortion.kind import distortion, keep_at_zero
from ablate.distortion.random import draw_sign
from ablate.distortion.shapes import Images, PerImage, Strengths

SHIFT = 0.5
"""Brightness that is added or subtracted at strength 1, in units of the pixel range."""

FACTOR = 0.1
"""Fraction of the contrast kept at strength 1; the strongest of the benchmarks keep 0.15, 0.05."""

GAIN = 2.0
"""How much stronger colours become at strength 1, upwards; downwards strength 1 is grey."""

TURN = 1 / 3
"""Share of a full turn of the hue at strength 1: red becomes green, or blue."""

GAMMA = 3.0
"""The power at strength 1, or one over it: mid-grey becomes 0.125 or 0.79."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey.  Source: ITU-R BT.601."""

TO_YIQ = (LUMA, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


@distortion(draw_sign)
def brightness(images: Images, strength: Strengths, sign: PerImage) -> Images:
    """The images plus `SHIFT * strength * sign`; 1 is brighter."""
    change = (strength * sign).view(-1, 1, 1, 1)
    return torch.add(images, change, alpha=SHIFT).clamp_(0, 1).to(images.dtype)


@distortion()
def contrast(images: Images, strength: Strengths, _: Tensor) -> Images:
    """The images' distance from their channel means times `1 - (1 - FACTOR) * strength`."""
    means = images.mean((2, 3), keepdim=True)
    return _move_from(means, images, 1 - (1 - FACTOR) * strength)


@distortion(draw_sign)
def saturation(images: Images, strength: Strengths, sign: PerImage) -> Images:
    """The images' distance from their grey times 1 + GAIN * strength, or 1 - strength for sign -1.

    Images with one channel are not changed.
    """
    if images.shape[1] == 1:
        return images.clone()
    red, green, blue = images.unbind(1)
    luma = (LUMA[0] * red).add_(LUMA[1] * green).add_(LUMA[2] * blue)
    kept = 1 + torch.where(sign > 0, GAIN * strength, -strength)
    return _move_from(luma[:, None], images, kept)


def _move_from(middle: Tensor, images: Images, kept: PerImage) -> Images:
    """The images' distance from a middle times `kept`."""
    # Written out, since lerp with two broadcast operands is three times slower on a CPU.
    middles = torch.empty_like(images).copy_(middle)
    return middles.lerp_(images, kept.to(images.dtype)[:, None, None, None]).clamp_(0, 1)


@distortion(draw_sign)
def hue(images: Images, strength: Strengths, sign: PerImage) -> Images:
    """The images' colours turned by `TURN * strength * sign` of a full turn about the grey axis.

    1 is from red towards green.  Differs from HSV's hue: grey and luma are not changed, and the
    rotation is one linear map.  Images with one channel are not changed.
    """
    if images.shape[1] == 1:
        return images.clone()
    wide = torch.promote_types(images.dtype, torch.float32)
    angle = (2 * math.pi * TURN * strength * sign).to(wide)
    across, away = _chroma_planes(wide, images.device)
    sine, versine = angle.sin()[:, None, None], (1 - angle.cos())[:, None, None]
    # The identity plus the rotation part, so that angle 0 does not change any bit.
    turns = torch.eye(3, dtype=wide, device=images.device) + sine * across + versine * away
    with torch.autocast(images.device.type, enabled=False):
        turned = turns @ images.to(wide).flatten(2)
    return turned.view(images.shape).clamp_(0, 1).to(images.dtype)


@cache
def _chroma_planes(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Chroma's two axes turned by a right angle; and what takes a colour to minus its chroma."""
    to_yiq = torch.tensor(TO_YIQ, dtype=torch.float64)
    across, away = (
        (to_yiq.inverse() @ torch.tensor(plane, dtype=torch.float64) @ to_yiq).to(device, dtype)
        for plane in ([[0, 0, 0], [0, 0, 1], [0, -1, 0]], [[0, 0, 0], [0, -1, 0], [0, 0, -1]])
    )
    return across, away


@distortion(draw_sign)
def gamma(images: Images, strength: Strengths, sign: PerImage) -> Images:
    """The images to the power `GAMMA ** (strength * sign)`; 1 is darker.

    Black and white stay as they are.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    power = (math.log(GAMMA) * strength * sign).exp_().div_(math.log(2))
    # In place of pow, which takes twice as long on a CPU.  log1p is its fast logarithm: near 0 it
    # is off by 6e-8 over the value, far less than a byte shows.  log(0) is -inf, and back to 0;
    # no logarithm is above 0, so that no power needs a clamp.
    raised = (images.to(wide) - 1).log1p_().mul_(power.to(wide).view(-1, 1, 1, 1)).exp2_()
    return keep_at_zero(raised, images, strength)
