"""Images in memory are brought to the size that the network sees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from ablate.distortion.shapes import ByteImages

_CHUNK = 1024
"""Images at a time: as floats they take four times their bytes."""


def resize_images(
    images: ByteImages, image_size: int, resize: int | None = None
) -> UInt8[Tensor, "batch 3 side side"]:
    """Images of one size at another, three channels, bilinear with antialiasing.

    Args:
        images: uint8 `[n, 1 or 3, height, width]`; a grey channel is repeated.
        image_size: side in pixels.
        resize: shorter side in pixels that they are brought to before the middle is cut; none:
            `image_size`.

    Returns:
        uint8 `[n, 3, image_size, image_size]`; the same bytes where nothing is to be done.
    """
    height, width = images.shape[-2:]
    scale = (resize or image_size) / min(height, width)
    size = (round(height * scale), round(width * scale))
    if size != (height, width):
        floats = functional.interpolate(
            images.float(), size=size, mode="bilinear", antialias=True, align_corners=False
        )
        images = floats.round().clamp(0, 255).to(torch.uint8)
    top, left = ((side - image_size) // 2 for side in size)
    images = images[..., top : top + image_size, left : left + image_size]
    return images.expand(-1, 3, -1, -1)


def resize_chunks(
    images: np.ndarray, image_size: int, resize: int | None = None
) -> Iterator[np.ndarray]:
    """`resize_images` of an array, piece by piece."""
    for start in range(0, len(images), _CHUNK):
        # A copy, since an array may be read-only, which torch warns of.
        piece = torch.from_numpy(np.array(images[start : start + _CHUNK], order="C"))
        yield resize_images(piece, image_size, resize).numpy()
