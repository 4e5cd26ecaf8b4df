"""Defocus, motion and zoom blur against scipy and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from ablate.distortion import load
from ablate.distortion.convolution import convolve_by_tap, convolve_by_wave

defocus_blur = load("defocus_blur").apply
motion_blur = load("motion_blur").apply
zoom_blur = load("zoom_blur").apply
NOTHING = torch.empty(1, 0)


def random_images(height: int, width: int, batch: int = 1, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)


def point(side: int) -> Tensor:
    image = torch.zeros(1, 1, side, side, dtype=torch.float64)
    image[0, 0, side // 2, side // 2] = 1
    return image


def strengths(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("taps", [(3, 3), (5, 1), (11, 7), (17, 17)])
def test_both_ways_to_convolve_are_scipys(taps: tuple[int, int]) -> None:
    images = random_images(17, 23, batch=2)
    generator = torch.Generator().manual_seed(1)
    kernels = torch.rand(2, *taps, generator=generator, dtype=torch.float64)
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    by_tap, by_wave = convolve_by_tap(images, kernels), convolve_by_wave(images, kernels)
    for row in range(2):
        symmetric = (kernels[row] + kernels[row].flip(0, 1)).numpy() / 2
        for channel in range(3):
            expected = torch.from_numpy(
                ndimage.convolve(images[row, channel].numpy(), symmetric, mode="reflect")
            )
            torch.testing.assert_close(by_tap[row, channel], expected, rtol=0, atol=1e-12)
            torch.testing.assert_close(by_wave[row, channel], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("side", "strength"), [(32, 1.0), (32, 0.5), (96, 1.0), (224, 0.3)])
def test_defocus_blur_is_a_disk(side: int, strength: float) -> None:
    images = random_images(side, side + 5, channels=1)
    blurred = defocus_blur(images, strengths(strength), NOTHING)
    radius = 3 / 32 * side * strength
    reach = math.ceil(radius) + 1
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 1 - np.hypot(down, across), 0, 1)
    expected = ndimage.convolve(images[0, 0].numpy(), disk / disk.sum(), mode="reflect")
    torch.testing.assert_close(blurred[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-9)


def test_motion_blur_by_hand() -> None:
    # A level line of 10 pixels: an even share for each of 9 pixels, half of it at both ends.
    level = motion_blur(point(32), strengths(1.0), strengths(0.0))[0, 0]
    expected = torch.zeros(32, dtype=torch.float64)
    expected[12:21] = 0.1
    expected[[11, 21]] = 0.05
    torch.testing.assert_close(level[16], expected, rtol=0, atol=1e-12)
    assert level.sum().item() == pytest.approx(1)
    upright = motion_blur(point(32), strengths(1.0), strengths(math.pi / 2))[0, 0]
    torch.testing.assert_close(upright, level.mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 80)])
@pytest.mark.parametrize(("strength", "angle"), [(1.0, 0.6), (0.4, 2.5), (0.7, math.pi / 4)])
def test_motion_blur_is_the_mean_of_scipys_shifts(
    height: int, width: int, strength: float, angle: float
) -> None:
    images = random_images(height, width, channels=1)
    blurred = motion_blur(images, strengths(strength), strengths(angle))
    longest = 5 / 16 * min(height, width)
    half = math.ceil(longest)
    places = (np.arange(-half, half) + 0.5) / half * longest / 2 * strength
    shifted = [
        ndimage.shift(
            images[0, 0].numpy(),
            (place * math.sin(angle), place * math.cos(angle)),
            order=1,
            mode="reflect",
        )
        for place in places
    ]
    torch.testing.assert_close(
        blurred[0, 0], torch.from_numpy(np.mean(shifted, axis=0)), rtol=0, atol=1e-9
    )


def test_zoom_blur_of_a_ramp_by_hand() -> None:
    # A zoom by z makes a ramp 1 / z as steep; at 32 pixels there are 8, by equal factors.
    ramp = torch.linspace(0, 1, 32, dtype=torch.float64).expand(1, 1, 32, 32)
    for strength in (0.4, 1.0):
        blurred = zoom_blur(ramp, strengths(strength), NOTHING)
        slope = np.mean([(1 + 0.5 * strength) ** (-frame / 7) for frame in range(8)])
        torch.testing.assert_close(blurred, 0.5 + (ramp - 0.5) * slope, rtol=0, atol=1e-9)
