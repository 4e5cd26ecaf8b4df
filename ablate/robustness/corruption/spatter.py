"""What spatters a lens: drops of water, lit along their edges, and stains of mud."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Float, Int, Int16, UInt8
from torch import Tensor
from torch.nn import functional

from ablate.robustness.corruption.filters import gaussian_matrix

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
        smoothed = gaussian_matrix(side, sigma).to(layer) @ layer.reshape(side, -1)
        layer = smoothed.view(side, other, batch).transpose(0, 1).contiguous()
    return layer


def water(layer: Layer) -> Layer:
    """How much light each pixel gets from the drops: 1 at the brightest of an image that has any.

    Distances are to the nearest edge, and as long as OpenCV's 5 x 5 chamfer measures them.  What is
    below the threshold is 0 in the layer.
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
    """How opaque the stain is at each pixel, 0 or from 0.8 to 1: mud where the layer is above the
    threshold, softened by a Gaussian."""
    stain = smooth_layer((layer > threshold).float(), sigma)
    return functional.threshold(stain, _DEEPEST_CLEAR, 0.0)


@lru_cache(maxsize=8)
def _chamfer_lengths(device: torch.device) -> Float[Tensor, " squared"]:
    """Lengths of OpenCV's 5 x 5 chamfer distance, by the squared distance in pixels.

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
    around = _border(planes, 1)
    lit = torch.zeros_like(planes)
    for row, column, weight in _EMBOSS:
        lit.add_(around[row : row + height, column : column + width], alpha=weight)
    return lit.clamp_(0, 255)


def _sum_of_nine(planes: Tensor) -> Tensor:
    around = _border(planes, 1)
    rows = around[:-2] + around[1:-1] + around[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]


def _border(planes: Tensor, first: int) -> Tensor:
    """With a border of one pixel, a copy of the row and column that is `first` from each end."""
    for axis in (0, 1):
        last = planes.shape[axis] - 1 - first
        ends = planes.narrow(axis, first, 1), planes.narrow(axis, last, 1)
        planes = torch.cat([ends[0], planes, ends[1]], dim=axis)
    return planes


# -- Canny's edges and the distance to them, of planes of bytes, many at once --------------
#
# The batch is the last axis, so that a pixel's neighbours are slices of long runs.  Source: Canny
# 1986; thresholds, gradient and ties as in OpenCV's `Canny` with its defaults (3 x 3 Sobel, sum of
# the absolute gradients, edges repeated at the border).


Planes = Int16[Tensor, "height width batch"]
"""Whole numbers, as bytes mostly, one plane per image."""

Edges = UInt8[Tensor, "height width batch"]
"""1 on an edge, else 0."""

_TAN_22 = 13573  # of 22.5 degrees, in units of 2**-15, as OpenCV rounds it
_ONE = 1 << 15


def canny(planes: Planes, low: int, high: int) -> Edges:
    """Where the edges are: a ridge goes on with one above the low gradient, and begins one above
    the high gradient."""
    ridges, gradient = _thin(planes)
    weak = (ridges & _compare(torch.gt, gradient, low)).to(torch.uint8)
    edges = weak & _compare(torch.gt, gradient, high).to(torch.uint8)
    while True:
        grown = _dilate(edges) & weak
        if not (grown ^ edges).any():
            return edges
        edges = grown


def squared_distance(edges: Edges, furthest: int) -> Planes:
    """Of each pixel to the nearest edge of its plane, exact; at most `furthest` pixels, squared."""
    down = (1 - edges).to(torch.int16).mul_(furthest)
    height, width = down.shape[:2]
    for row in range(1, height):
        torch.minimum(down[row], down[row - 1] + 1, out=down[row])
    for row in range(height - 2, -1, -1):
        torch.minimum(down[row], down[row + 1] + 1, out=down[row])
    column = down.square_()
    nearest = column.clone()
    for step in range(1, min(furthest, width)):
        if not nearest.numel() or step**2 >= nearest.max():
            break
        further = column + step**2
        for to, of in ((slice(step, None), slice(-step)), (slice(-step), slice(step, None))):
            torch.minimum(nearest[:, to], further[:, of], out=nearest[:, to])
    return nearest


def _thin(planes: Planes) -> tuple[Planes, Planes]:
    """1 where the gradient is the largest across its own direction, else 0; and the gradient."""
    extended = _border(planes, 0)
    smooth = extended[:-2] + 2 * extended[1:-1] + extended[2:]
    across = smooth[:, 2:] - smooth[:, :-2]
    steep = extended[2:] - extended[:-2]
    down = steep[:, :-2] + 2 * steep[:, 1:-1] + steep[:, 2:]
    opposed = (across ^ down) >> 15  # all bits or none
    across, down = across.abs_(), down.abs_()
    gradient = across + down

    around = _surround(gradient)
    above, beside, below = around[:-2], around[1:-1], around[2:]
    lies = _compare(torch.gt, gradient, beside[:, :-2])
    lies &= _compare(torch.ge, gradient, beside[:, 2:])
    stands = _compare(torch.gt, gradient, above[:, 1:-1])
    stands &= _compare(torch.ge, gradient, below[:, 1:-1])
    rises = _compare(torch.gt, gradient, torch.maximum(above[:, 2:], below[:, :-2]))
    slants = _compare(torch.gt, gradient, torch.maximum(above[:, :-2], below[:, 2:]))

    scaled_down, scaled_across = down.int() * _ONE, across.int()
    flat = _compare(torch.lt, scaled_down, scaled_across * _TAN_22).short()
    upright = _compare(torch.gt, scaled_down, scaled_across * (_TAN_22 + 2 * _ONE)).short()
    oblique = (slants & ~opposed) | (rises & opposed)
    return (lies & flat) | (stands & upright) | (oblique & (1 - flat - upright)), gradient


def _compare(
    comparison: Callable[..., Tensor], one: Tensor, other: Tensor | int
) -> Int[Tensor, "height width batch"]:
    """1 where it holds, else 0, in the dtype of both: a CPU's vectors do not make bools."""
    return comparison(one, other, out=torch.empty_like(one))


def _dilate(planes: Tensor) -> Tensor:
    around = _surround(planes)
    rows = around[:-2] | around[1:-1] | around[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def _surround(planes: Tensor) -> Tensor:
    """With a border of nothing, one pixel wide."""
    return functional.pad(planes, (0, 0, 1, 1, 1, 1))
