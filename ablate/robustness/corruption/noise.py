"""Noise: Gaussian, shot, impulse and speckle.

Source: hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py.  Differs: the draws have
sixteen bits, so that a normal one ends at 4.3 sigma and an impulse's amount is kept to 1 part in
300 at the least; Poisson counts are those of `ablate.distortion.noise`, which are one off for under
0.7 % of the draws of a mean of 4 or more, and exact below it.
"""

from __future__ import annotations

import torch

from ablate.distortion.noise import FEW, expand_counts, sum_counts
from ablate.distortion.random import as_normal, draw_bits
from ablate.distortion.shapes import Images
from ablate.robustness.corruption.kind import Setting, corruption


@corruption(
    cifar=(0.04, 0.06, 0.08, 0.09, 0.10),
    imagenet=(0.08, 0.12, 0.18, 0.26, 0.38),
    channelwise=True,
)
def gaussian_noise(images: Images, setting: Setting, sigma: float) -> Images:
    """Every value plus noise of one sigma, in units of the pixel range."""
    normal = as_normal(draw_bits(images.shape, setting.generator))
    return normal.mul_(sigma).add_(images)


@corruption(
    cifar=(500.0, 250.0, 100.0, 75.0, 50.0),
    imagenet=(60.0, 25.0, 12.0, 5.0, 3.0),
    channelwise=True,
)
def shot_noise(images: Images, setting: Setting, photons: float) -> Images:
    """Every value as a count of photons, of which a white value has so many."""
    mean, bits = images * photons, draw_bits(images.shape, setting.generator)
    counts = expand_counts(mean, bits)
    # The slow way of small means for those values alone that are small.  They are looked for in
    # fours, read as one number, since nearly all of these have none of them.
    missing = torch.zeros(-(-mean.numel() // 4) * 4, dtype=torch.int16, device=mean.device)
    missing[: mean.numel()] = (FEW + 1 - mean).clamp_(min=0).flatten()
    fours = missing.view(torch.int64).nonzero()
    places = (4 * fours + torch.arange(4, device=mean.device)).flatten()
    small = places[missing[places] > 0]
    if len(small):
        means, draws = (values.view(1, 1, 1, -1)[..., small] for values in (mean, bits))
        counts.view(-1)[small] = sum_counts(means, draws).flatten()
    return counts.div_(photons)


@corruption(
    cifar=(0.01, 0.02, 0.03, 0.05, 0.07),
    imagenet=(0.03, 0.06, 0.09, 0.17, 0.27),
    channelwise=True,
)
def impulse_noise(images: Images, setting: Setting, amount: float) -> Images:
    """A share of the values, each channel's by itself, become white or, as many, black."""
    half = round(amount / 2 * 2**16)  # of the 2**16 patterns of a draw
    bits = draw_bits(images.shape, setting.generator)
    # What lies beyond the patterns that change nothing is at least 1 above or below them, and so
    # is the image then.  A CPU takes ten times as long where it has to fill by a mask.
    return bits.sub_(bits.clamp(half - 2**15, 2**15 - half - 1)).float().add_(images)


@corruption(
    cifar=(0.06, 0.1, 0.12, 0.16, 0.2),
    imagenet=(0.15, 0.2, 0.35, 0.45, 0.6),
    channelwise=True,
)
def speckle_noise(images: Images, setting: Setting, sigma: float) -> Images:
    """Every value plus noise of a sigma that is a share of the value."""
    normal = as_normal(draw_bits(images.shape, setting.generator))
    return normal.mul_(images).mul_(sigma).add_(images)
