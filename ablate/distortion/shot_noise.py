"""Shot noise: each value is a count of photons, and counts scatter.

Source: the shot noise of CIFAR-10-C and ImageNet-C, Poisson counts.  Differs: the scatter (one over
the root of the photons) grows linearly with the strength, and a count is the quantile of one
uniform number, so that it can be drawn before the image is known.
"""

from __future__ import annotations

import torch

from ablate.distortion.kind import Distortion, keep_at_zero
from ablate.distortion.random import as_normal, as_uniform, draw_bits
from ablate.distortion.shapes import Bits, Images, Strengths

PHOTONS = 6.0
"""Photons of a white value at strength 1: a standard deviation of 0.41 there, 0.29 at mid-grey."""

WEAKEST = 1e-3  # below it the photons would outgrow fp32's integers; the noise there is 0.0004
FEW = 4.0  # a mean up to which counts are summed up, and above which they are expanded
LAST = 15  # the count that no quantile of `as_uniform` at a mean of `FEW` is above


def shot_noise(images: Images, strength: Strengths, bits: Bits) -> Images:
    """The images as Poisson counts of `PHOTONS / strength**2` photons a unit, clamped to [0, 1].

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
        bits: from `draw_bits`, of the images' shape; higher bits give a higher count.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    photons = (PHOTONS / strength.clamp_min(WEAKEST).square()).to(wide)[:, None, None, None]
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
    for count in range(1, LAST + 1):
        factorial *= count
        total.add_(power.mul_(few), alpha=1 / factorial)
        below.add_(torch.sub(total, goal, out=sign).sign_())
    # Signs and not comparisons, which are slower: of LAST + 1 signs the negative ones count.
    return below.sub_(LAST + 1).div_(-2).floor_()


DISTORTION = Distortion("shot_noise", draw_bits, shot_noise)
