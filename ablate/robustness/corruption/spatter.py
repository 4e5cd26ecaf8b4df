"""What spatters a lens: drops of water, lit along their edges, and stains of mud."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ablate.robustness.corruption.edges import Planes, canny, squared_distance

_LOW, _HIGH = 50, 150
_FURTHEST = 20
_SIDE, _CORNER, _KNIGHT = 1.0, 1.4, 2.1969
_DEEPEST_CLEAR = 0.8
_EMBOSS = ((0, 0, -2), (0, 1, -1), (1, 0, -1), (1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 2))

Layer = Float[Tensor, "height width batch"]


def smooth_layer(layer: Layer, sigma: float) -> Layer:
    """Each plane under a Gaussian that is cut at 4 sigma; beyond the border is its own pixel."""
    for _ in range(2):  # one product an axis, with the axes changed about after it
        side, other, batch = layer.shape
        smoothed = _gaussian(side, sigma).to(layer) @ layer.reshape(side, -1)
        layer = smoothed.view(side, other, batch).transpose(0, 1).contiguous()
    return layer


def water(layer: Layer) -> Layer:
    """How much light each pixel gets from the drops: 1 at the brightest of an image.

    Distances are to the nearest edge, and as long as OpenCV's 5 x 5 chamfer measures them.

    Args:
        layer: what is below the threshold is 0.

    Returns:
        In [0, 1]; 0 everywhere in an image without drops.
    """
    depth = (layer.clamp(0, 1) * 255).to(torch.int16)
    nearest = squared_distance(canny(depth, _LOW, _HIGH), _FURTHEST)
    lengths = _chamfer_lengths(layer.device).index_select(0, nearest.int().flatten())
    far = (_sum_of_nine(lengths.view(layer.shape)) / 9).to(torch.int16)
    lit = _emboss(_equalize(far))
    light = depth * _sum_of_nine(lit).float().div_(9).round_()
    brightest = light.amax((0, 1))
    return light.div_(brightest.clamp_min_(1))


def mud(layer: Layer, threshold: float, sigma: float) -> Layer:
    """How opaque the stain is at each pixel, 0 or from 0.8 to 1.

    Args:
        layer: as it was drawn and blurred.
        threshold: above it there is mud.
        sigma: of the Gaussian that softens the stain, in pixels.
    """
    stain = smooth_layer((layer > threshold).float(), sigma)
    return functional.threshold(stain, _DEEPEST_CLEAR, 0.0)


@lru_cache(maxsize=64)
def _gaussian(side: int, sigma: float) -> Tensor:
    matrix = ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, mode="nearest", truncate=4.0)
    return torch.from_numpy(matrix).float()


@lru_cache(maxsize=8)
def _chamfer_lengths(device: torch.device) -> Float[Tensor, " squared"]:
    """How long OpenCV's 5 x 5 chamfer has a distance, by its square in whole pixels.

    Its path is one of steps to the side, to a corner and of a knight.  Where two distances share
    a square, such as 5 and 5 or 1 and 7 pixels, the shorter path stands for both.
    """
    lengths = torch.full((_FURTHEST**2 + 1,), float(_FURTHEST))
    for long in range(_FURTHEST + 1):
        for short in range(long + 1):
            knights = min(short, long - short)
            rest = (long - 2 * knights, 0) if 2 * short <= long else (0, 2 * short - long)
            length = rest[0] * _SIDE + rest[1] * _CORNER + knights * _KNIGHT
            squared = long**2 + short**2
            if squared <= _FURTHEST**2:
                lengths[squared] = min(lengths[squared].item(), length)
    return lengths.to(device)


def _equalize(levels: Planes) -> Planes:
    """Levels spread so that each image's histogram becomes flat, from 0 to 255, as OpenCV does."""
    height, width, batch = levels.shape
    count = _FURTHEST + 1
    places = (levels.int() + torch.arange(batch, device=levels.device).int() * count).flatten()
    histogram = torch.bincount(places, minlength=batch * count).view(batch, count)
    total = height * width
    first = (histogram > 0).int().argmax(1, keepdim=True)
    in_first = histogram.gather(1, first)
    above = (histogram.cumsum(1) - in_first).clamp_(min=0)
    spread = (above * (255 / (total - in_first).clamp(min=1))).round()
    table = torch.where(in_first == total, first, spread).to(torch.int16)
    return table.flatten().index_select(0, places).view(levels.shape)


def _emboss(planes: Planes) -> Planes:
    height, width = planes.shape[:2]
    around = _reflect(planes)
    lit = torch.zeros_like(planes)
    for row, column, weight in _EMBOSS:
        lit.add_(around[row : row + height, column : column + width], alpha=weight)
    return lit.clamp_(0, 255)


def _sum_of_nine(planes: Tensor) -> Tensor:
    around = _reflect(planes)
    rows = around[:-2] + around[1:-1] + around[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]


def _reflect(planes: Tensor) -> Tensor:
    """With a border of one pixel, mirrored at the outermost pixels, which are not repeated."""
    taller = torch.cat([planes[1:2], planes, planes[-2:-1]])
    return torch.cat([taller[:, 1:2], taller, taller[:, -2:-1]], dim=1)
