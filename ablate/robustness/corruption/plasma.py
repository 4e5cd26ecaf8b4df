"""Plasma: the fractal clouds of the benchmark's fog, by diamond and square on a torus.

Source: Fournier, Fussell and Carpenter 1982, "Computer rendering of stochastic models"; the
amplitudes are those of hendrycks/robustness, where noise is `wibble * U(-wibble, wibble)`, so that
it falls by the decay's square from one level to the next.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ablate.distortion.random import as_uniform, draw_bits

_FIRST_WIBBLE = 100.0

Plasma = Float[Tensor, "side side batch"]


def draw_plasma(
    batch: int, side_pixels: int, decay: float, generator: torch.Generator
) -> Float[Tensor, "batch 1 side side"]:
    """A plasma for each image, from 0 at its lowest to 1 at its highest point.

    Args:
        batch: how many.
        side_pixels: a power of two; the benchmark's is 32 for 32 x 32 and 256 for 224 x 224.
        decay: what the amplitude's root is divided by at each level; the more, the smoother.
    """
    # The batch is the last axis: neighbours are slices of long runs then.
    bits = draw_bits(torch.Size((side_pixels, side_pixels, batch, 1)), generator)
    noise = as_uniform(bits)[..., 0].mul_(2).sub_(1)
    plasma = torch.zeros_like(noise)
    step, wibble = side_pixels, _FIRST_WIBBLE
    while step >= 2:
        _refine(plasma, noise, step, wibble**2)
        step //= 2
        wibble /= decay
    if not batch:
        return plasma.permute(2, 0, 1)[:, None]
    lowest, highest = plasma.amin((0, 1)), plasma.amax((0, 1))
    scaled = (plasma - lowest) / (highest - lowest)
    return scaled.permute(2, 0, 1)[:, None].contiguous()


def _refine(plasma: Plasma, noise: Plasma, step: int, amplitude: float) -> None:
    """Fill the points midway between those that are `step` apart."""
    half = step // 2
    corners = plasma[::step, ::step]
    middles = plasma[half::step, half::step]
    across = corners + corners.roll(-1, 1)
    down = corners + corners.roll(-1, 0)
    _set(middles, across + across.roll(-1, 0), noise[half::step, half::step], amplitude)
    rows = plasma[::step, half::step]
    _set(rows, across + middles + middles.roll(1, 0), noise[::step, half::step], amplitude)
    columns = plasma[half::step, ::step]
    _set(columns, down + middles + middles.roll(1, 1), noise[half::step, ::step], amplitude)


def _set(points: Tensor, sum_of_four: Tensor, noise: Tensor, amplitude: float) -> None:
    torch.add(sum_of_four / 4, noise, alpha=amplitude, out=points)
