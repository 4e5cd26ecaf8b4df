"""Pixelate: square cells of one colour, the mean of what they cover.

Source: the pixelate of CIFAR-10-C and ImageNet-C (box filter down, nearest up).  Differs: the
side of a cell need not divide the image's (the last cells are cut), and is a share of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ablate.distortion.kind import Distortion
from ablate.distortion.random import draw_nothing
from ablate.distortion.shapes import Images, PerImage, Strengths

CELL = 1 / 16
"""How much the cell's side grows beyond one pixel by strength 1, as a share of the shorter side:
cells of 3 pixels of 32, 15 of 224."""


def pixelate(images: Images, strength: Strengths, _draws: Tensor) -> Images:
    """The images in cells of 1 + `CELL * strength` times the shorter side pixels.

    Per axis, a pixel is the mean of the cell that contains its centre: one batched matrix product
    for all cell sizes.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
    """
    _, channels, height, width = images.shape
    wide = torch.promote_types(images.dtype, torch.float32)
    cell = 1 + (CELL * min(height, width) * strength).to(wide)
    rows = _cell_matrix(height, cell).repeat_interleave(channels, dim=0)
    if width == height:
        columns = rows
    else:
        columns = _cell_matrix(width, cell).repeat_interleave(channels, dim=0)
    with torch.autocast(images.device.type, enabled=False):
        planes = rows @ images.to(wide).reshape(-1, height, width) @ columns.mT
    return planes.view(images.shape).clamp_(0, 1).to(images.dtype)


def _cell_matrix(side: int, cell_pixels: PerImage) -> Tensor:
    position = torch.arange(side, device=cell_pixels.device, dtype=cell_pixels.dtype)
    cell = cell_pixels[:, None]
    first = ((position + 0.5) / cell).floor() * cell
    last = (first + cell).clamp_max(side)[:, :, None]
    first = first[:, :, None]
    covered = (torch.minimum(position + 1, last) - torch.maximum(position, first)).clamp_min_(0)
    return covered.div_(last - first)


DISTORTION = Distortion("pixelate", draw_nothing, pixelate)
