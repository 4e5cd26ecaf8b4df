"""Convolution with a few taps, as a weighted sum of the images moved in memory.

Each tap then is one pass over numbers side by side, in which a CPU is at its quickest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch.nn import functional

from ablate.distortion.shapes import Images

Kernel = Float[np.ndarray, "_rows _columns"]
"""Of odd sides; its middle lies on the pixel."""


def correlate(
    images: Images, kernels: Sequence[Kernel], border: Literal["replicate", "reflect"]
) -> Images:
    """The images under one kernel after the other, each channel by itself.

    Args:
        images: any values, with sides longer than all the kernels' reaches together.
        kernels: taps of 0 cost nothing.
        border: "replicate": the edge repeated; "reflect": mirrored about the pixel at the edge.
    """
    height, width = images.shape[2:]
    above, left = (sum(kernel.shape[axis] // 2 for kernel in kernels) for axis in (0, 1))
    if not images.numel():
        return images.clone()
    padded = functional.pad(images, (left, left, above, above), mode=border)
    summed = padded.view(-1)
    for kernel in kernels:
        flat, summed = summed, summed * float(kernel[0, 0])
        for row, column in np.argwhere(kernel):
            moved = row * padded.shape[3] + column
            if moved:
                summed[:-moved].add_(flat[moved:], alpha=float(kernel[row, column]))
    # What was moved in from the next row, or is missing at the end, lies beyond the images.
    return summed.view(padded.shape)[:, :, :height, :width].contiguous()
