"""The digital corruptions with our own draws are what the reference gives, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import digital
from scipy import ndimage
from torch import Tensor

from ablate.distortion.random import as_uniform, draw_bits, make_generator
from ablate.robustness.corruption import GREY_KEPT, load

CELLS = [(scale, severity) for scale in ("cifar", "imagenet") for severity in range(1, 6)]
SIZES = [(32, 32), (27, 40)]


def make_bytes(height: int, width: int, batch: int = 3) -> Tensor:
    """Smooth noise with patches of one colour, of grey, white and black."""
    generator = make_generator(0, "cpu")
    coarse = torch.rand(batch, 3, 9, 9, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    images += 0.05 * torch.randn(images.shape, generator=generator)
    images[:, :, :3, :6] = images[:, :, :1, :1]
    images[:, :, 3:5, :6] = images[:, :1, :1, :1]
    images[:, :, 5:7, :3], images[:, :, 5:7, 3:6] = 0, 1
    return (images.clamp(0, 1) * 255).to(torch.uint8)


def corrupt(name: str, images: Tensor, severity: int, scale: str) -> np.ndarray:
    corrupted = load(name)(images, severity, make_generator(0, "cpu"), scale=scale)
    return corrupted.permute(0, 2, 3, 1).numpy()


def by_pixel(images: Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).contiguous().numpy()


@pytest.mark.parametrize("name", ["pixelate", "jpeg_compression", "saturate"])
@pytest.mark.parametrize(("scale", "severity"), CELLS[::3])
def test_without_draws_it_is_the_references(name: str, scale: str, severity: int) -> None:
    images, row = make_bytes(*SIZES[1]), load(name).tables[scale][severity - 1]
    expected = np.stack([digital.FUNCTIONS[name](image, row, None) for image in by_pixel(images)])
    # Pillow may come with another build of libjpeg than torchvision; fp64 is cut elsewhere.
    off = np.abs(corrupt(name, images, severity, scale) - expected.clip(0, 255).astype(int))
    assert (off <= 1).mean() >= 0.99
    assert name != "pixelate" or not off.any()


@pytest.mark.parametrize(("scale", "severity"), CELLS)
def test_the_severities_that_keep_grey_are_listed(scale: str, severity: int) -> None:
    grey = make_bytes(*SIZES[0])[:, :1]
    is_kept = bool((corrupt("saturate", grey, severity, scale) == by_pixel(grey)).all())
    assert is_kept == (severity in GREY_KEPT["saturate"])


def literal_elastic(
    image: np.ndarray, moved: np.ndarray, field: np.ndarray, alpha: float, sigma: float
) -> np.ndarray:
    """One image `[H, W, 3]` with the draws given: `[3, 2]` in pixels, and `[2, H, W]`."""
    height, width = image.shape[:2]
    centre, square = np.array([height, width]) // 2, min(height, width) // 3
    before = np.array(
        [centre + square, [centre[0] + square, centre[1] - square], centre - square], float
    )
    after = before + moved
    # [x, y] before = [x, y, 1] after @ solution
    solution = np.linalg.solve(np.column_stack([after, np.ones(3)]), before)
    y, x = np.mgrid[:height, :width].astype(float)
    read_x, read_y = np.moveaxis(np.stack([x, y, np.ones_like(x)], -1) @ solution, -1, 0)
    warped = [
        ndimage.map_coordinates(plane, [read_y, read_x], order=1, mode="mirror")
        for plane in np.moveaxis(image, -1, 0)
    ]
    dx, dy = (
        ndimage.gaussian_filter(plane, sigma, mode="reflect", truncate=3) * alpha for plane in field
    )
    moved_planes = [
        ndimage.map_coordinates(plane, [y + dy, x + dx], order=1, mode="reflect")
        for plane in warped
    ]
    return np.stack(moved_planes, -1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("scale", "severity"), CELLS)
def test_elastic_is_a_map_and_a_field(size: tuple[int, int], scale: str, severity: int) -> None:
    images = make_bytes(*size).float() / 255
    shares = load("elastic_transform").tables[scale][severity - 1]
    unit = min(size) * (244 / 224 if scale == "imagenet" else 1)
    alpha, sigma, affine = (unit * share for share in shares)
    generator = make_generator(0, "cpu")  # the draws again, in their order
    moved = (torch.rand(3, 3, 2, generator=generator).double().numpy() * 2 - 1) * affine
    field = np.zeros((3, 2, *size))
    if alpha:
        bits = draw_bits(torch.Size((3, 2, *size)), generator)
        field = as_uniform(bits).double().numpy() * 2 - 1
    corrupted = corrupt("elastic_transform", images, severity, scale)
    for place, image in enumerate(by_pixel(images).astype(np.float64)):
        expected = literal_elastic(image, moved[place], field[place], alpha, sigma)
        np.testing.assert_allclose(corrupted[place], expected, 0, 2e-4)
