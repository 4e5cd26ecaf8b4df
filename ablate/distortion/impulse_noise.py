"""Impulse noise: some values become black or white (salt and pepper), channel by channel.

Source: the impulse noise of CIFAR-10-C and ImageNet-C.  Differs: the amount grows linearly with
the strength, and a value that is replaced is replaced by the same colour at all larger strengths.
"""

from __future__ import annotations

from ablate.distortion.kind import Distortion
from ablate.distortion.random import as_uniform, draw_bits
from ablate.distortion.shapes import Bits, Images, Strengths

AMOUNT = 0.3
"""Expected share of the values that are replaced at strength 1; half of them by white."""


def impulse_noise(images: Images, strength: Strengths, bits: Bits) -> Images:
    """The images with a share `AMOUNT * strength` of their values set to 0 or 1.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
        bits: from `draw_bits`, of the images' shape; the lowest make black, the highest white.
    """
    half = AMOUNT / 2 * strength[:, None, None, None]
    uniform = as_uniform(bits)
    return images.masked_fill(uniform < half, 0.0).masked_fill_(uniform > 1 - half, 1.0)


DISTORTION = Distortion("impulse_noise", draw_bits, impulse_noise)
