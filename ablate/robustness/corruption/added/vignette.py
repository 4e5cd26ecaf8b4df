"""Vignette: the image darkens towards its corners, as through a simple lens.

Source: [O], this project's own; it is in no published benchmark.
"""

from __future__ import annotations

import torch

from ablate.distortion.shapes import Images
from ablate.robustness.corruption.kind import Setting, corruption


@corruption(cifar=(0.2, 0.35, 0.5, 0.7, 0.9), channelwise=True)
def vignette(images: Images, _: Setting, loss: float) -> Images:
    """The images times 1 - loss * r**2, r the distance to the centre, 1 at the corners.

    Args:
        loss: the fraction of light that the corners lose; the mean loss is a third of it.
    """
    down, across = (
        torch.linspace(-1, 1, side, device=images.device).square() for side in images.shape[2:]
    )
    return images * (1 - loss * (down[:, None] + across) / 2)
