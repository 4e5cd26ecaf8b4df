"""Salt and pepper: some pixels become black or white, in all their channels.

Source: the classic noise model of a camera's dead and stuck pixels [S].
Not to be confused with impulse noise, which hits each channel's values apart and so makes coloured
points; on images of one channel the two are the same.
"""

from __future__ import annotations

import torch

from ablate.distortion.kind import Distortion
from ablate.distortion.random import as_uniform, draw_bits
from ablate.distortion.shapes import Images, PixelBits, Strengths

AMOUNT = 0.3
"""Expected share of the pixels that are replaced at strength 1; half of them by white."""


def draw_pixel_bits(shape: torch.Size, generator: torch.Generator) -> PixelBits:
    """Sixteen random bits for each pixel, whatever the number of channels."""
    batch, _, height, width = shape
    return draw_bits(torch.Size((batch, 1, height, width)), generator)


def salt_and_pepper(images: Images, strength: Strengths, bits: PixelBits) -> Images:
    """The images with a share `AMOUNT * strength` of their pixels black or white.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
        bits: from `draw_pixel_bits`; the lowest give black, the highest white, so that a replaced
            pixel is replaced at all larger strengths.
    """
    half = AMOUNT / 2 * strength[:, None, None, None]
    uniform = as_uniform(bits)
    return images.masked_fill(uniform < half, 0.0).masked_fill_(uniform > 1 - half, 1.0)


DISTORTION = Distortion("salt_and_pepper", draw_pixel_bits, salt_and_pepper)
