"""Digital: the loss of JPEG without its files, and cells of one colour.

Source: ITU-T T.81 (JPEG), the tables of annex K, and JFIF's YCbCr [S]; jpeg_compression and
pixelate of CIFAR-10-C and ImageNet-C.  Differs: JPEG's steps are a continuous multiple of the
tables (not rounded, not cut at 1), chroma keeps its resolution, and nothing is rounded to bytes, so
that a weak strength is a small change; the side of a cell need not divide the image's.
"""

from __future__ import annotations

import math
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from ablate.distortion.convolution import mix_axes
from ablate.distortion.kind import distortion, keep_at_zero
from ablate.distortion.photometric import LUMA
from ablate.distortion.shapes import Images, PerImage, Strengths

SCALE = 2.5
"""Steps of JPEG at strength 1, as multiples of the tables: quality 20; strength 0.4 is 50."""

CELL = 1 / 16
"""How much a cell's side grows beyond one pixel by strength 1, as a share of the shorter side:
cells of 3 pixels of 32, 15 of 224."""

BLOCK = 8
_FINEST = 1e-4  # stands for a step of 0: far below rounding, and coefficients stay exact in fp32
_MIDDLE = 128 / 255  # JPEG's level shift
TO_YCC = (LUMA, (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


@distortion()
def jpeg(images: Images, strength: Strengths, _: Tensor) -> Images:
    """The images with their 8 x 8 blocks' cosine coefficients rounded to `SCALE * strength` tables.

    An image whose sides are no multiples of 8 is extended by its last row and column for the time.
    Images with one channel go by the table of luma.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    batch, channels, height, width = images.shape
    planes = images.to(wide) - _MIDDLE
    below, right = -height % BLOCK, -width % BLOCK
    if below or right:
        planes = functional.pad(planes, (0, right, 0, below), mode="replicate")
    to_ycc, to_rgb, *constants = _jpeg_constants(wide, images.device)
    with torch.autocast(images.device.type, enabled=False):
        if channels == 1:
            planes = _round_coefficients(planes, SCALE * strength, *constants)
        else:
            coded = (to_ycc.expand(batch, 3, 3) @ planes.flatten(2)).view(planes.shape)
            decoded = _round_coefficients(coded, SCALE * strength, *constants)
            planes = (to_rgb.expand(batch, 3, 3) @ decoded.flatten(2)).view(planes.shape)
    compressed = planes[:, :, :height, :width].add_(_MIDDLE).clamp_(0, 1)
    return keep_at_zero(compressed, images, strength)


def _round_coefficients(planes: Images, scale: PerImage, tables: Tensor, dct: Tensor) -> Images:
    batch, channels, height, width = planes.shape
    down, across = height // BLOCK, width // BLOCK
    blocks = planes.view(batch, channels, down, BLOCK, across, BLOCK).transpose(3, 4)
    steps = tables[:channels] * (scale.to(planes) / 255)[:, None, None, None]
    coefficients = blocks.reshape(batch, channels, down * across, BLOCK**2) @ dct
    rounded = coefficients.div_(steps.clamp_min_(_FINEST)).round_().mul_(steps)
    decoded = (rounded @ dct.mT).view(batch, channels, down, across, BLOCK, BLOCK)
    return decoded.transpose(3, 4).reshape(planes.shape)


@cache
def _jpeg_constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """From RGB to YCbCr, and back; the tables, `[channel, 1, coefficient]`, luma first; and the
    cosine transform of a block, `[pixel, coefficient]`, which is orthonormal."""
    to_ycc = torch.tensor(TO_YCC, dtype=torch.float64)
    tables = torch.tensor((LUMA_TABLE, CHROMA_TABLE, CHROMA_TABLE)).view(3, 1, -1)
    position = torch.arange(BLOCK, dtype=torch.float64)
    waves = torch.cos(math.pi / BLOCK * (position[:, None] + 0.5) * position) / 2
    waves[:, 0] /= math.sqrt(2)
    constants = (to_ycc, to_ycc.inverse(), tables, torch.kron(waves, waves))
    return tuple(constant.to(device, dtype) for constant in constants)


@distortion()
def pixelate(images: Images, strength: Strengths, _: Tensor) -> Images:
    """The images in cells of 1 + `CELL * strength` times the shorter side pixels.

    Per axis, a pixel is the mean of the cell that contains its centre; the last cells are cut.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    cell = 1 + (CELL * min(images.shape[2:]) * strength).to(wide)
    return mix_axes(images.to(wide), partial(_cell_matrix, cell)).clamp_(0, 1).to(images.dtype)


def _cell_matrix(cell_pixels: PerImage, side: int) -> Tensor:
    position = torch.arange(side, device=cell_pixels.device, dtype=cell_pixels.dtype)
    cell = cell_pixels[:, None]
    first = ((position + 0.5) / cell).floor() * cell
    last = (first + cell).clamp_max(side)[:, :, None]
    first = first[:, :, None]
    covered = (torch.minimum(position + 1, last) - torch.maximum(position, first)).clamp_min_(0)
    return covered.div_(last - first)
