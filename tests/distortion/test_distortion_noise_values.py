"""Shot, speckle and salt-and-pepper noise against values worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from ablate.distortion import load
from ablate.distortion.noise import poisson_quantile
from ablate.distortion.random import make_generator

shot_noise = load("shot_noise").apply
speckle_noise = load("speckle_noise").apply
EVERY_BITS = torch.arange(-32768, 32768).to(torch.int16).view(1, 1, 256, 256)
QUANTILES = (np.arange(65536) + 0.5) / 65536


@pytest.mark.parametrize(
    ("mean", "wrong"), [(0.0, 0), (0.3, 1e-4), (4.0, 1e-4), (4.1, 7e-3), (50.0, 6e-4)]
)
def test_counts_are_scipys_poisson(mean: float, wrong: float) -> None:
    counts = poisson_quantile(torch.full((1, 1, 256, 256), mean), EVERY_BITS).flatten()
    expected = torch.from_numpy(stats.poisson.ppf(QUANTILES, mean) if mean else 0 * QUANTILES)
    off = (counts - expected).abs()
    assert off.max() <= 1
    assert (off > 0).double().mean() <= wrong


def test_shot_noise_by_hand() -> None:
    # Half the strength has four times the photons: 24 at white, 12 at mid-grey, none at black.
    images = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 1, 256, 256)
    noisy = shot_noise(images, torch.full((3,), 0.5), EVERY_BITS.expand(3, 1, 256, 256))
    assert bool((noisy[0] == 0).all())
    counts = noisy[1] * 24
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-5)
    assert noisy[1].mean().item() == pytest.approx(0.5, abs=2e-3)
    assert noisy[1].var().item() == pytest.approx(0.5 / 24, rel=0.02)
    assert noisy[2].max() == 1
    # The median of 24 photons is 24; a clamped half of them stays white.
    assert (noisy[2] == 1).float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_speckle_noise_is_in_proportion() -> None:
    images = torch.tensor([0.0, 0.25, 0.5]).view(3, 1, 1, 1).expand(3, 1, 256, 256)
    noisy = speckle_noise(images, torch.full((3,), 0.5), EVERY_BITS.expand(3, 1, 256, 256))
    assert bool((noisy[0] == 0).all())
    assert noisy[1].std().item() == pytest.approx(0.6 * 0.5 * 0.25, rel=0.01)
    assert noisy[2].std().item() == pytest.approx(0.6 * 0.5 * 0.5, rel=0.01)
    assert noisy[2].mean().item() == pytest.approx(0.5, abs=1e-3)


def test_salt_and_pepper_hits_its_share_of_pixels() -> None:
    images = torch.full((4, 3, 64, 64), 0.5)
    noisy = load("salt_and_pepper")(images, torch.full((4,), 0.5), make_generator(0, "cpu"))
    assert (noisy == 0).float().mean().item() == pytest.approx(0.3 / 4, rel=0.08)
    assert (noisy == 1).float().mean().item() == pytest.approx(0.3 / 4, rel=0.08)
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}
    assert torch.equal(noisy[:, :1].expand(4, 3, 64, 64), noisy)
