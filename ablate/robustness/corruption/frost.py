"""Crops of photographs of frost, or of the plates that stand for them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from ablate.distortion.shapes import ByteImages
from ablate.robustness.corruption import Scale
from ablate.robustness.corruption.frost_photographs import FrostPhotographs

_SHRUNK = 5  # the code for CIFAR-10-C brings photographs to a fifth of their size

Photograph = UInt8[Tensor, "3 height width"]


def draw_frost(
    photographs: FrostPhotographs,
    shape: torch.Size,
    scale: Scale,
    generator: torch.Generator,
) -> ByteImages:
    """A random part of a random photograph for each image.

    Args:
        photographs: those that are drawn from, equally likely.
        shape: of the images, `[batch, channel, height, width]`.  A photograph that is smaller
            than they are is enlarged first, so that the part fits.
        scale: "cifar": photographs are brought to a fifth of their size; "imagenet": as they are.

    Returns:
        uint8 `[batch, 3, height, width]` on the generator's device.
    """
    device = generator.device
    batch, _, height, width = shape
    fitted = _fit(photographs, height, width, scale, device)
    drawn = torch.rand(3, batch, generator=generator, device=device)
    which = (drawn[0] * len(fitted)).long().clamp_(max=len(fitted) - 1)
    parts, order = [], []
    for number, photograph in enumerate(fitted):
        places = (which == number).nonzero()[:, 0]
        rows, columns = photograph.shape[1:]
        # As `randint` draws them: the last place is never taken, where there is more than one.
        top, left = (
            (drawn[axis + 1, places] * free).long().clamp_(max=max(free - 1, 0))
            for axis, free in enumerate((rows - height, columns - width))
        )
        # Every part by where it begins in memory: picked so, it is copied row by row.
        starts = (rows - height) * columns + columns - width + 1
        steps = (1, rows * columns, columns, 1)
        every_part = photograph.as_strided((starts, 3, height, width), steps)
        parts.append(every_part.index_select(0, top * columns + left))
        order.append(places)
    return torch.cat(parts).index_select(0, torch.cat(order).argsort())


@lru_cache(maxsize=8)
def _fit(
    photographs: FrostPhotographs, height: int, width: int, scale: Scale, device: torch.device
) -> tuple[Tensor, ...]:
    fitted = []
    for photograph in photographs.photographs:
        sized = _shrink(photograph) if scale == "cifar" else photograph
        sized = _enlarge(sized, height, width)
        fitted.append(sized.contiguous().to(device))
    return tuple(fitted)


def _shrink(photograph: Photograph) -> Tensor:
    """A fifth of it, bilinear without antialiasing: that is the middle of each 5 x 5 pixels."""
    _, height, width = photograph.shape
    middles = photograph[:, _SHRUNK // 2 :: _SHRUNK, _SHRUNK // 2 :: _SHRUNK]
    return middles[:, : round(height / _SHRUNK), : round(width / _SHRUNK)]


def _enlarge(photograph: Photograph, height: int, width: int) -> Tensor:
    """At least this size, its proportions kept."""
    rows, columns = photograph.shape[1:]
    factor = max(height / max(rows, 1), width / max(columns, 1))
    if factor <= 1:
        return photograph
    size = (max(height, math.ceil(rows * factor)), max(width, math.ceil(columns * factor)))
    floats = photograph[None].float()
    enlarged = functional.interpolate(floats, size, mode="bilinear", align_corners=False)
    return enlarged[0].round_().clamp_(0, 255).to(torch.uint8)
