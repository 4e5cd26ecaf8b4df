"""The noise corruptions have the distributions that the benchmark's have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ablate.distortion.noise import poisson_quantile
from ablate.distortion.random import draw_bits, make_generator
from ablate.robustness.corruption import Scale, load

CELLS = [(scale, severity) for scale in ("cifar", "imagenet") for severity in range(1, 6)]


def corrupt(name: str, images: Tensor, severity: int, scale: Scale, seed: int = 0) -> Tensor:
    return load(name)(images, severity, make_generator(seed, "cpu"), scale=scale)


def grey(value: float, batch: int = 16) -> Tensor:
    return torch.full((batch, 3, 32, 32), value)


@pytest.mark.parametrize(("scale", "severity"), CELLS)
@pytest.mark.parametrize("value", [0.003, 0.1, 0.4])
def test_shot_noise_counts_as_poisson_does(scale: Scale, severity: int, value: float) -> None:
    (photons,) = load("shot_noise").tables[scale][severity - 1]
    noisy = corrupt("shot_noise", grey(value), severity, scale)
    counts = (noisy * photons).round()
    assert torch.allclose(counts, noisy * photons, atol=1e-3)
    kept = counts[counts < photons]  # a count above white is clamped
    n, poisson = counts.numel(), stats.poisson(value * photons)
    seen = np.arange(int(poisson.ppf(0.001)), int(min(poisson.ppf(0.999), photons - 1)) + 1)
    shares = np.bincount(kept.int().flatten(), minlength=int(photons))[seen] / n
    expected = poisson.pmf(seen)
    # Five standard errors, and what the expansion may be off by.
    bounds = 5 * np.sqrt(expected * (1 - expected) / n) + 0.004 * poisson.pmf(poisson.mean())
    assert (np.abs(shares - expected) <= bounds).all()


def test_shot_noise_is_the_distortions_quantile() -> None:
    images = torch.rand(3, 1, 9, 11, generator=make_generator(1, "cpu")) ** 2  # many are few
    bits = draw_bits(images.shape, make_generator(0, "cpu"))
    expected = poisson_quantile(images * 50, bits) / 50
    assert torch.allclose(corrupt("shot_noise", images, 5, "cifar"), expected.clamp(0, 1))
