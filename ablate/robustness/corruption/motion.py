"""ImageMagick's motion blur, which the benchmark's motion blur and snow are made with.

Source: `MotionBlurImage` of ImageMagick 6 and 7 (effect.c): weights, offsets and border.  The
kernel is half of a Gaussian: it starts at the pixel and runs `2 * radius` pixels to one side, in
whole pixels.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ablate.distortion.shapes import Images, PerImage

NEGLIGIBLE_WEIGHT = 1e-5  # of a tap: far below the rounding to bytes
TOGETHER = 128  # images with one extension, which is the smaller the more alike their angles are
STRETCH_VALUES = 2**18  # of all taps, so that they are in a CPU's cache when they are summed

Offsets = Int64[Tensor, "batch tap 2"]
"""How far down and across each tap lies, in pixels."""

Weights = Float[Tensor, " tap"]


def motion_blur(images: Images, radius: float, sigma: float, angle_degrees: PerImage) -> Images:
    """The images drawn out to one side, each in a direction of its own, in whole bytes.

    Args:
        images: in [0, 1]; what lies beyond the border is the pixel at the border.
        radius: in pixels; the kernel has `2 * radius + 1` taps.
        sigma: of the Gaussian along the line, in pixels.
        angle_degrees: where the line comes from, clockwise from the right; any angle.

    Returns:
        New images, rounded to multiples of 1 / 255 as ImageMagick writes them.
    """
    weights = images.new_tensor(_weights(radius, sigma))
    offsets = _offsets(len(weights), angle_degrees.double())
    blurred = torch.empty_like(images, memory_format=torch.contiguous_format)
    for start in range(0, len(images), TOGETHER):
        some = slice(start, start + TOGETHER)
        levels = _sum_taps(images[some], weights * 255, offsets[some]).round_()
        torch.div(levels, 255, out=blurred[some])
    return blurred


def _sum_taps(images: Images, weights: Weights, offsets: Offsets) -> Tensor:
    """The images moved by each tap, weighted and summed.

    Rows that are moved down and across are one stretch of the memory that the extended plane lies
    in, borders between them included.  Stretches of all taps are copied out, and a product sums
    them: no step is for a single tap of a single image.
    """
    batch, channels, height, width = images.shape
    least, most = (bound.tolist() for bound in offsets.flatten(0, 1).aminmax(dim=0))
    above, left = (max(0, -offset) for offset in least)
    below, right = (max(0, offset) for offset in most)
    extended = _extend(images, above, below, left, right)
    row = extended.shape[3]
    planes = torch.arange(batch * channels, device=images.device).mul_(extended.shape[2] * row)
    moves = (above + offsets[..., 0]) * row + left + offsets[..., 1]
    first = planes + moves.mT.repeat_interleave(channels, 1)
    summed = images.new_empty((batch * channels, height * row))
    rows = min(height, max(1, STRETCH_VALUES // (len(first) * row)))
    size = max(1, STRETCH_VALUES // (len(first) * row * rows))
    for top in range(0, height, rows):
        length = row * (min(rows, height - top) - 1) + width
        positions = extended.numel() - top * row - length + 1
        stretches = extended.view(-1)[top * row :].as_strided((positions, length), (1, 1))
        goals = torch.split(summed[:, top * row : top * row + length], size)
        for goal, starts in zip(goals, torch.split(first, size, 1), strict=True):
            moved = stretches.index_select(0, starts.flatten()).view(len(weights), -1)
            goal.copy_((weights @ moved).view(goal.shape))
    return summed.view(batch, channels, height, row)[..., :width]


def _weights(radius: float, sigma: float) -> list[float]:
    """Of each tap, nearest first; those too light to count are left out."""
    taps = 2 * math.ceil(radius) + 1
    weights = [math.exp(-(tap**2) / (2 * sigma**2)) for tap in range(taps)]
    kept = [weight for weight in weights if weight > NEGLIGIBLE_WEIGHT * sum(weights)]
    return [weight / sum(kept) for weight in kept]


def _offsets(taps: int, angle_degrees: Float64[Tensor, " batch"]) -> Offsets:
    radians = torch.deg2rad(angle_degrees)
    directions = torch.stack([radians.sin(), radians.cos()], dim=1)
    tap = torch.arange(taps, device=directions.device)
    along = tap[:, None] * directions[:, None]
    return (along - 0.5).ceil_().long()


def _extend(images: Images, above: int, below: int, left: int, right: int) -> Tensor:
    """The images with so many copies of their border pixels on each side."""
    batch, channels, height, width = images.shape
    extended = images.new_empty(batch, channels, above + height + below, left + width + right)
    rows = extended[:, :, above : above + height]
    rows[..., left : left + width] = images
    rows[..., :left] = images[..., :1]
    rows[..., left + width :] = images[..., -1:]
    extended[:, :, :above] = rows[:, :, :1]
    extended[:, :, above + height :] = rows[:, :, -1:]
    return extended
