"""Shift and mirror training images: the usual augmentation that keeps the class.

Not to be confused with the distortions, which make the augmented copy: both copies of an image
are shifted and mirrored alike.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from ablate.distortion.shapes import ByteImages


def shift_images(images: ByteImages, padding: int, generator: torch.Generator) -> ByteImages:
    """Shift each image by up to `padding` pixels both ways; black comes in at the edges.

    Args:
        images: uint8, on the generator's device.
        padding: in pixels, at least 1.
        generator: draws one shift for each image.
    """
    batch, channels, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    device = images.device
    down, right = torch.randint(
        2 * padding + 1, (2, batch), generator=generator, device=device
    ).unbind()
    shifted = windows[torch.arange(batch, device=device), :, down, right]
    return shifted.view(batch, channels, height, width)


def flip_images(images: ByteImages, generator: torch.Generator) -> ByteImages:
    """Mirror each image left to right, or leave it, with equal chance.

    Args:
        images: uint8, on the generator's device.
        generator: draws one coin for each image.
    """
    coin = torch.rand((len(images), 1, 1, 1), generator=generator, device=images.device)
    return torch.where(coin < 0.5, images.flip(-1), images)
