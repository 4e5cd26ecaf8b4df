"""Motion blur: every point becomes a straight line; each image has its own length and direction.

Source: the motion blur of CIFAR-10-C and ImageNet-C.  Differs: the line is uniform and extends to
both sides of the point, so that the image does not shift (theirs fades out to one side); all
directions are equally likely (theirs are within 45 degrees of the horizontal); the length is a
fraction of the image's side; and the border mirrors the image (edge repeated).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ablate.distortion.convolution import convolve
from ablate.distortion.kind import Distortion, keep_at_zero
from ablate.distortion.random import draw_angle
from ablate.distortion.shapes import Images, PerImage, Strengths

Places = Float[Tensor, "batch point"]
"""Distances from the middle of the line along one axis, in pixels."""

LENGTH = 5 / 16
"""Length at strength 1 as a share of the shorter side: 10 pixels of 32, 70 of 224."""


def motion_blur(images: Images, strength: Strengths, angle: PerImage) -> Images:
    """The images' mean along a line of `LENGTH * strength` times the shorter side.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
        angle: of the line to the rows, in radians, one per image; pi / 2 is upright.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    longest = LENGTH * min(images.shape[2:])
    points = math.ceil(longest)  # on half of the line, so two a pixel or more
    place = (torch.arange(points, device=images.device) + 0.5) * (longest / 2 / points)
    along = (strength[:, None] * place).to(wide)
    reach = math.ceil(longest / 2)
    down, across = (
        _share_out(along * part(angle.to(wide))[:, None], reach) for part in (torch.sin, torch.cos)
    )
    with torch.autocast(images.device.type, enabled=False):
        half_lines = down.mT @ across
    return keep_at_zero(convolve(images, half_lines).clamp_(0, 1), images, strength)


def _share_out(places_pixels: Places, reach: int) -> Tensor:
    """Each place shared between its two pixels, as linear interpolation does: `[..., pixel]`."""
    pixel = torch.arange(-reach, reach + 1, device=places_pixels.device)
    return (1 - (places_pixels[:, :, None] - pixel).abs_()).clamp_min_(0)


DISTORTION = Distortion("motion_blur", draw_angle, motion_blur)
