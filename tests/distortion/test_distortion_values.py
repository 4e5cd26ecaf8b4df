"""What each distortion type does to the pixels, against values worked out another way."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from ablate.distortion import load
from ablate.distortion.random import as_normal, as_uniform, draw_bits, make_generator

brightness = load("brightness").apply
contrast = load("contrast").apply
gaussian_blur = load("gaussian_blur").apply
saturation = load("saturation").apply
NOTHING = torch.empty(1, 0)


def test_gaussian_noise_has_its_sigma() -> None:
    images = torch.full((4, 3, 64, 64), 0.5)
    noisy = load("gaussian_noise")(images, torch.full((4,), 0.3), make_generator(0, "cpu"))
    noise = noisy - images
    assert noise.mean().item() == pytest.approx(0, abs=2e-3)
    assert noise.std().item() == pytest.approx(0.3 * 0.3, rel=0.02)


def test_impulse_noise_hits_its_share() -> None:
    images = torch.full((4, 3, 64, 64), 0.5)
    noisy = load("impulse_noise")(images, torch.full((4,), 0.5), make_generator(0, "cpu"))
    assert (noisy == 0).float().mean().item() == pytest.approx(0.3 / 4, rel=0.05)
    assert (noisy == 1).float().mean().item() == pytest.approx(0.3 / 4, rel=0.05)
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}


@pytest.mark.parametrize(("strength", "sigma"), [(0.25, 0.5), (0.5, 1.0), (1.0, 2.0)])
def test_gaussian_blur_is_scipys(strength: float, sigma: float) -> None:
    images = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0)).double()
    blurred = gaussian_blur(images, torch.tensor([strength]).double(), NOTHING)
    for channel in range(3):
        expected = ndimage.gaussian_filter(
            images[0, channel].numpy(), sigma, mode="reflect", truncate=8
        )
        torch.testing.assert_close(
            blurred[0, channel], torch.from_numpy(expected), rtol=0, atol=1e-9
        )


def test_brightness_by_hand() -> None:
    images = torch.tensor([0.1, 0.4, 0.9]).view(1, 1, 1, 3).repeat(2, 1, 1, 1)
    changed = brightness(images, torch.tensor([0.4, 0.4]), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(changed[0].flatten(), torch.tensor([0.3, 0.6, 1.0]))
    torch.testing.assert_close(changed[1].flatten(), torch.tensor([0.0, 0.2, 0.7]))


def test_contrast_by_hand() -> None:
    images = torch.tensor([0.0, 0.4, 0.8]).view(1, 1, 1, 3)
    changed = contrast(images, torch.tensor([1.0]), NOTHING)
    torch.testing.assert_close(changed.flatten(), torch.tensor([0.36, 0.4, 0.44]))


def test_saturation_by_hand() -> None:
    images = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1).repeat(2, 1, 1, 1)
    grey = 0.299 * 0.5 + 0.587 * 0.4 + 0.114 * 0.3
    changed = saturation(images, torch.tensor([1.0, 0.5]), torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(changed[0].flatten(), torch.full((3,), grey))
    expected = grey + 2 * (torch.tensor([0.5, 0.4, 0.3]) - grey)
    torch.testing.assert_close(changed[1].flatten(), expected)


def test_bits_are_uniform_and_their_quantiles_normal() -> None:
    bits = draw_bits(torch.Size((32, 3, 31, 33)), make_generator(0, "cpu"))
    uniform, normal = as_uniform(bits), as_normal(bits)
    assert 0 < uniform.min() < uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.005)
    assert uniform.var().item() == pytest.approx(1 / 12, rel=0.02)
    assert normal.mean().item() == pytest.approx(0, abs=0.02)
    assert normal.var().item() == pytest.approx(1, rel=0.02)
    assert normal.pow(4).mean().item() == pytest.approx(3, rel=0.05)
    # Neighbours come out of one 64-bit number and must not know of each other.
    pairs = torch.corrcoef(torch.stack([normal.flatten()[:-1], normal.flatten()[1:]]))
    assert pairs[0, 1].item() == pytest.approx(0, abs=0.02)
