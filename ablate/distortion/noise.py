"""Noise on every value or pixel: Gaussian, impulse, shot, speckle, and salt and pepper.

Source: the noise of CIFAR-10-C and ImageNet-C, and salt and pepper as the classic model of a
camera's stuck pixels [S].  Differs: sigma, share and scatter grow linearly with the strength.
"""

from __future__ import annotations

import torch

from ablate.distortion.kind import distortion, keep_at_zero
from ablate.distortion.random import as_normal, as_uniform, draw_bits
from ablate.distortion.shapes import Bits, Images, PixelBits, Strengths

SIGMA = 0.3
"""Of Gaussian noise at strength 1, in units of the pixel range."""

AMOUNT = 0.3
"""Expected share of values or pixels that are replaced at strength 1; half of them by white."""

PHOTONS = 6.0
"""Of a white value at strength 1: a standard deviation of 0.41 there, 0.29 at mid-grey."""

SPECKLE_SIGMA = 0.6
"""Of speckle noise at strength 1, as a share of the value: `SIGMA` at mid-grey."""

_WEAKEST = 1e-3  # below it the photons would outgrow fp32's integers; the noise there is 0.0004
FEW = 4.0
"""Mean up to which photons are counted by a sum, and above which by an expansion."""
_LAST = 15  # the count that no quantile of `as_uniform` at a mean of `FEW` is above


@distortion(draw_bits)
def gaussian_noise(images: Images, strength: Strengths, bits: Bits) -> Images:
    """The images plus noise of sigma `SIGMA * strength`, independent over pixels and channels."""
    sigma = SIGMA * strength[:, None, None, None]
    return torch.addcmul(images, sigma, as_normal(bits)).clamp_(0, 1).to(images.dtype)


@distortion(draw_bits)
def impulse_noise(images: Images, strength: Strengths, bits: Bits) -> Images:
    """The images with a share `AMOUNT * strength` of their values black or white.

    Args:
        bits: the lowest make black, the highest white, so that a value that is replaced is replaced
            by the same colour at all larger strengths.
    """
    return _replace(images, strength, bits)


def _replace(images: Images, strength: Strengths, bits: Bits | PixelBits) -> Images:
    half = AMOUNT / 2 * strength[:, None, None, None]
    uniform = as_uniform(bits)
    return images.masked_fill(uniform < half, 0.0).masked_fill_(uniform > 1 - half, 1.0)


def draw_pixel_bits(shape: torch.Size, generator: torch.Generator) -> PixelBits:
    """Sixteen random bits for each pixel, whatever the number of channels."""
    batch, _, height, width = shape
    return draw_bits(torch.Size((batch, 1, height, width)), generator)


@distortion(draw_pixel_bits)
def salt_and_pepper(images: Images, strength: Strengths, bits: PixelBits) -> Images:
    """The images with a share `AMOUNT * strength` of their pixels black or white.

    Not to be confused with impulse noise, which replaces each channel's values by themselves and so
    makes coloured points; on images of one channel the two are the same.
    """
    return _replace(images, strength, bits)


@distortion(draw_bits)
def shot_noise(images: Images, strength: Strengths, bits: Bits) -> Images:
    """The images as Poisson counts of `PHOTONS / strength**2` photons a unit.

    A count is the quantile of one uniform number, so that it can be drawn before the image is
    known.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    photons = (PHOTONS / strength.clamp_min(_WEAKEST).square()).to(wide)[:, None, None, None]
    noisy = poisson_quantile(images * photons, bits).div_(photons)
    return keep_at_zero(noisy.clamp_(0, 1), images, strength)


def poisson_quantile(mean: Images, bits: Bits) -> Images:
    """The Poisson count at the quantile `as_uniform(bits)`, as a float.

    Up to a mean of `FEW` it is exact to the rounding of fp32.  Above it is the Cornish-Fisher
    expansion to the order of `mean ** -0.5`: one count off for under 0.7 % of the quantiles at a
    mean of 4, under 0.06 % at 50, and never by more than one.
    """
    few = sum_counts(mean.clamp_max(FEW), bits)
    return torch.where(mean <= FEW, few, expand_counts(mean, bits))


def expand_counts(mean: Images, bits: Bits) -> Images:
    """`poisson_quantile` above a mean of `FEW`; below it, some number."""
    # All in place: what a CPU spends here is mostly spent on new memory.
    normal = as_normal(bits)
    square, root = normal.square(), mean.clamp_min(FEW).sqrt_()
    expanded = normal.mul_(root.addcdiv_(square + 2, root, value=-1 / 72))
    return expanded.add_(mean).add_(square.add_(2), alpha=1 / 6).floor_()


def sum_counts(few: Images, bits: Bits) -> Images:
    """`poisson_quantile` for means up to `FEW`."""
    # P(count <= k) < quantile, both sides times e**mean, so that only powers have to be summed.
    goal = few.exp().mul_(as_uniform(bits))
    total, power, factorial = torch.ones_like(few), torch.ones_like(few), 1
    below = torch.sub(total, goal).sign_()
    sign = torch.empty_like(few)
    for count in range(1, _LAST + 1):
        factorial *= count
        total.add_(power.mul_(few), alpha=1 / factorial)
        below.add_(torch.sub(total, goal, out=sign).sign_())
    # Signs and not comparisons, which are slower: of _LAST + 1 signs the negative ones count.
    return below.sub_(_LAST + 1).div_(-2).floor_()


@distortion(draw_bits)
def speckle_noise(images: Images, strength: Strengths, bits: Bits) -> Images:
    """The images times 1 plus noise of sigma `SPECKLE_SIGMA * strength`."""
    sigma = SPECKLE_SIGMA * strength[:, None, None, None] * images
    return torch.addcmul(images, sigma, as_normal(bits)).clamp_(0, 1).to(images.dtype)
