"""What each distortion type does to the pixels, against scipy, Pillow and values worked out by
hand."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from torch import Tensor
from torch.nn import functional

from ablate.distortion import FAMILIES, load
from ablate.distortion.convolution import convolve_by_tap, convolve_by_wave
from ablate.distortion.noise import poisson_quantile
from ablate.distortion.random import as_normal, as_uniform, draw_bits, make_generator

APPLY = {kind: load(kind).apply for kinds in FAMILIES.values() for kind in kinds}
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
    blurred = APPLY["gaussian_blur"](images, torch.tensor([strength]).double(), NOTHING)
    for channel in range(3):
        expected = ndimage.gaussian_filter(
            images[0, channel].numpy(), sigma, mode="reflect", truncate=8
        )
        torch.testing.assert_close(
            blurred[0, channel], torch.from_numpy(expected), rtol=0, atol=1e-9
        )


def test_brightness_by_hand() -> None:
    images = torch.tensor([0.1, 0.4, 0.9]).view(1, 1, 1, 3).repeat(2, 1, 1, 1)
    changed = APPLY["brightness"](images, torch.tensor([0.4, 0.4]), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(changed[0].flatten(), torch.tensor([0.3, 0.6, 1.0]))
    torch.testing.assert_close(changed[1].flatten(), torch.tensor([0.0, 0.2, 0.7]))


def test_contrast_by_hand() -> None:
    images = torch.tensor([0.0, 0.4, 0.8]).view(1, 1, 1, 3)
    changed = APPLY["contrast"](images, torch.tensor([1.0]), NOTHING)
    torch.testing.assert_close(changed.flatten(), torch.tensor([0.36, 0.4, 0.44]))


def test_saturation_by_hand() -> None:
    images = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1).repeat(2, 1, 1, 1)
    grey = 0.299 * 0.5 + 0.587 * 0.4 + 0.114 * 0.3
    changed = APPLY["saturation"](images, torch.tensor([1.0, 0.5]), torch.tensor([-1.0, 1.0]))
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
    noisy = APPLY["shot_noise"](images, torch.full((3,), 0.5), EVERY_BITS.expand(3, 1, 256, 256))
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
    noisy = APPLY["speckle_noise"](images, torch.full((3,), 0.5), EVERY_BITS.expand(3, 1, 256, 256))
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
    blurred = APPLY["defocus_blur"](images, strengths(strength), NOTHING)
    radius = 3 / 32 * side * strength
    reach = math.ceil(radius) + 1
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 1 - np.hypot(down, across), 0, 1)
    expected = ndimage.convolve(images[0, 0].numpy(), disk / disk.sum(), mode="reflect")
    torch.testing.assert_close(blurred[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-9)


def test_motion_blur_by_hand() -> None:
    # A level line of 10 pixels: an even share for each of 9 pixels, half of it at both ends.
    level = APPLY["motion_blur"](point(32), strengths(1.0), strengths(0.0))[0, 0]
    expected = torch.zeros(32, dtype=torch.float64)
    expected[12:21] = 0.1
    expected[[11, 21]] = 0.05
    torch.testing.assert_close(level[16], expected, rtol=0, atol=1e-12)
    assert level.sum().item() == pytest.approx(1)
    upright = APPLY["motion_blur"](point(32), strengths(1.0), strengths(math.pi / 2))[0, 0]
    torch.testing.assert_close(upright, level.mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 80)])
@pytest.mark.parametrize(("strength", "angle"), [(1.0, 0.6), (0.4, 2.5), (0.7, math.pi / 4)])
def test_motion_blur_is_the_mean_of_scipys_shifts(
    height: int, width: int, strength: float, angle: float
) -> None:
    images = random_images(height, width, channels=1)
    blurred = APPLY["motion_blur"](images, strengths(strength), strengths(angle))
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
        blurred = APPLY["zoom_blur"](ramp, strengths(strength), NOTHING)
        slope = np.mean([(1 + 0.5 * strength) ** (-frame / 7) for frame in range(8)])
        torch.testing.assert_close(blurred, 0.5 + (ramp - 0.5) * slope, rtol=0, atol=1e-9)


def smooth_images(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def test_hue_by_hand() -> None:
    colour, turn = (0.5, 0.4, 0.3), math.radians(60)
    images = torch.tensor(colour).view(1, 3, 1, 1).repeat(2, 1, 1, 1)
    turned = APPLY["hue"](images, torch.tensor([0.5, 0.5]), torch.tensor([1.0, -1.0])).view(2, 3)
    luma = 0.299 * 0.5 + 0.587 * 0.4 + 0.114 * 0.3
    chroma = complex(
        0.596 * 0.5 - 0.274 * 0.4 - 0.322 * 0.3, 0.211 * 0.5 - 0.523 * 0.4 + 0.312 * 0.3
    )
    for row, angle in ((0, -turn), (1, turn)):
        moved = chroma * complex(math.cos(angle), math.sin(angle))
        expected = [
            luma + 0.956 * moved.real + 0.621 * moved.imag,
            luma - 0.272 * moved.real - 0.647 * moved.imag,
            luma - 1.106 * moved.real + 1.703 * moved.imag,
        ]
        assert turned[row].tolist() == pytest.approx(expected, abs=1e-3)


def test_gamma_by_hand() -> None:
    images = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 4).repeat(3, 1, 1, 1)
    changed = APPLY["gamma"](images, torch.tensor([1.0, 1.0, 0.5]), torch.tensor([1.0, -1.0, 1.0]))
    powers = (3, 1 / 3, math.sqrt(3))
    for row, power in zip(changed.flatten(1), powers, strict=True):
        expected = torch.tensor([0, 0.25**power, 0.5**power, 1])
        torch.testing.assert_close(row, expected)


def test_jpeg_of_a_flat_block_by_hand() -> None:
    # 150 is 22 above the middle, so its first coefficient is 8 x 22 = 176.  In steps of 16 it is
    # 11 and stays; in steps of 40 it is 4.4, becomes 4, and 160 / 8 = 20 above the middle is 148.
    flat = torch.full((2, 1, 8, 8), 150 / 255)
    changed = APPLY["jpeg"](flat, torch.tensor([0.4, 1.0]), torch.empty(2, 0))
    torch.testing.assert_close(changed[0], flat[0])
    torch.testing.assert_close(changed[1], torch.full((1, 8, 8), 148 / 255))


@pytest.mark.parametrize(
    ("strength", "quality", "size"), [(1.0, 20, (37, 50)), (0.2, 75, (32, 32))]
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_near_pillows(
    mode: str, strength: float, quality: int, size: tuple[int, int]
) -> None:
    pixels = (smooth_images(*size)[0, : len(mode)] * 255).round().to(torch.uint8)
    file = io.BytesIO()
    original = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())
    original.save(file, "JPEG", quality=quality, subsampling=0)
    theirs = torch.from_numpy(np.array(Image.open(file))).view(*size, -1).permute(2, 0, 1).float()
    ours = APPLY["jpeg"](pixels[None].float() / 255, torch.tensor([strength]), NOTHING)[0] * 255
    between, loss = (ours - theirs).abs().mean(), (theirs - pixels).abs().mean()
    # Pillow rounds to bytes: the result, and before that the colours, which tips some coefficients.
    assert between < (0.6 if mode == "L" else loss / 2)
    assert (ours - pixels).abs().mean().item() == pytest.approx(loss.item(), rel=0.05)


def test_pixelate_in_whole_cells_is_an_average_pool() -> None:
    images = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    cells = APPLY["pixelate"](images, torch.tensor([0.5, 0.5]), torch.empty(2, 0))
    expected = functional.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(cells, expected)


def test_pixelate_between_whole_cells_by_hand() -> None:
    # Cells of 1.5 pixels: the first has half of pixel 1, the second the other half and pixel 2,
    # and pixel 1 shows the second, in which its centre lies.
    images = torch.zeros(1, 1, 8, 8)
    images[..., 0], images[..., 2] = 0.3, 0.9
    cells = APPLY["pixelate"](images, torch.ones(1), NOTHING)[0, 0]
    assert cells[4, :3].tolist() == pytest.approx([0.3 / 1.5, 0.9 / 1.5, 0.9 / 1.5])
