"""Canny's edges and the distance to them, of planes of bytes, many at once.

The batch is the last axis, so that a pixel's neighbours are slices of long runs.  Source: Canny
1986; thresholds, gradient and ties as in OpenCV's `Canny` with its defaults (3 x 3 Sobel, sum of
the absolute gradients, edges repeated at the border).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int, Int16, UInt8
from torch import Tensor
from torch.nn import functional

Planes = Int16[Tensor, "height width batch"]
"""Whole numbers, as bytes mostly, one plane per image."""

Edges = UInt8[Tensor, "height width batch"]
"""1 on an edge, else 0."""

_TAN_22 = 13573  # of 22.5 degrees, in units of 2**-15, as OpenCV rounds it
_ONE = 1 << 15


def canny(planes: Planes, low: int, high: int) -> Edges:
    """Where the edges are.

    Args:
        planes: from 0 to 255.
        low: gradient above which a ridge goes on with an edge.
        high: gradient above which it begins one.
    """
    ridges, gradient = _thin(planes)
    weak = (ridges & _compare(torch.gt, gradient, low)).to(torch.uint8)
    edges = weak & _compare(torch.gt, gradient, high).to(torch.uint8)
    while True:
        grown = _dilate(edges) & weak
        if not (grown ^ edges).any():
            return edges
        edges = grown


def squared_distance(edges: Edges, furthest: int) -> Planes:
    """Of each pixel to the nearest edge of its plane, exact.

    Args:
        edges: where they are.
        furthest: in pixels; what is farther, or has no edge at all, gets its square.
    """
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
    extended = _repeat_edges(planes)
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


def _repeat_edges(planes: Tensor) -> Tensor:
    taller = torch.cat([planes[:1], planes, planes[-1:]])
    return torch.cat([taller[:, :1], taller, taller[:, -1:]], dim=1)
