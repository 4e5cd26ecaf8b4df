"""JPEG-like compression: the loss of JPEG, without its files.

Source: ITU-T T.81 (JPEG), the tables of annex K, and JFIF's YCbCr [S]; the jpeg_compression of
CIFAR-10-C and ImageNet-C.  Differs: the quantiser's steps are a continuous multiple of the tables
(not rounded, not cut at 1), and chroma keeps its resolution, so that a weak strength is a small
change; colours and output are not rounded to bytes.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from ablate.distortion.kind import Distortion, keep_at_zero
from ablate.distortion.random import draw_nothing
from ablate.distortion.shapes import Images, PerImage, Strengths

SCALE = 2.5
"""Steps at strength 1, in multiples of the tables: quality 20; strength 0.4 is quality 50."""

BLOCK = 8
FINEST = 1e-4  # stands for a step of 0: far below rounding, and coefficients stay exact in fp32
MIDDLE = 128 / 255  # JPEG's level shift
TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)

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


def jpeg(images: Images, strength: Strengths, _draws: Tensor) -> Images:
    """The images with their 8 x 8 blocks' cosine coefficients rounded to `SCALE * strength` tables.

    An image whose sides are no multiples of 8 is extended by its last row and column for the time.

    Args:
        images: in [0, 1], RGB or of one channel (which goes by the table of luma).
        strength: in [0, 1], one per image.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    batch, channels, height, width = images.shape
    planes = images.to(wide) - MIDDLE
    below, right = -height % BLOCK, -width % BLOCK
    if below or right:
        planes = functional.pad(planes, (0, right, 0, below), mode="replicate")
    with torch.autocast(images.device.type, enabled=False):
        if channels == 1:
            planes = _round_coefficients(planes, SCALE * strength)
        else:
            there, back = (
                matrix.expand(batch, 3, 3) for matrix in _ycc_matrices(wide, images.device)
            )
            coded = (there @ planes.flatten(2)).view(planes.shape)
            decoded = _round_coefficients(coded, SCALE * strength)
            planes = (back @ decoded.flatten(2)).view(planes.shape)
    compressed = planes[:, :, :height, :width].add_(MIDDLE).clamp_(0, 1)
    return keep_at_zero(compressed, images, strength)


def _round_coefficients(planes: Images, scale: PerImage) -> Images:
    batch, channels, height, width = planes.shape
    down, across = height // BLOCK, width // BLOCK
    blocks = planes.view(batch, channels, down, BLOCK, across, BLOCK).transpose(3, 4)
    dct = _dct_matrix(planes.dtype, planes.device)
    tables = _tables(planes.dtype, planes.device)[:channels]
    steps = tables * (scale.to(planes) / 255)[:, None, None, None]
    coefficients = blocks.reshape(batch, channels, down * across, BLOCK**2) @ dct
    rounded = coefficients.div_(steps.clamp_min_(FINEST)).round_().mul_(steps)
    decoded = (rounded @ dct.mT).view(batch, channels, down, across, BLOCK, BLOCK)
    return decoded.transpose(3, 4).reshape(planes.shape)


@cache
def _ycc_matrices(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """From RGB to YCbCr, and back."""
    to_ycc = torch.tensor(TO_YCC, dtype=torch.float64)
    return to_ycc.to(device, dtype), to_ycc.inverse().to(device, dtype)


@cache
def _tables(dtype: torch.dtype, device: torch.device) -> Tensor:
    """`[channel, 1, coefficient]`, of luma first."""
    tables = torch.tensor((LUMA_TABLE, CHROMA_TABLE, CHROMA_TABLE), dtype=dtype, device=device)
    return tables.view(3, 1, -1)


@cache
def _dct_matrix(dtype: torch.dtype, device: torch.device) -> Tensor:
    """`[pixel, coefficient]` of an 8 x 8 block in one: the cosine transform is orthonormal."""
    position = torch.arange(BLOCK, dtype=torch.float64)
    waves = torch.cos(math.pi / BLOCK * (position[:, None] + 0.5) * position) / 2
    waves[:, 0] /= math.sqrt(2)
    return torch.kron(waves, waves).to(device, dtype)


DISTORTION = Distortion("jpeg", draw_nothing, jpeg)
