"""The blur corruptions are what plain loops over scipy's functions give."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from reference.filters import zoom_centre
from torch import Tensor

from ablate.distortion.random import draw_bits, make_generator
from ablate.robustness.corruption import load
from ablate.robustness.corruption.blur import draw_sources
from ablate.robustness.corruption.filters import (
    LARGEST_OPERATOR,
    smear,
)


def make_planes(height: int, width: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=make_generator(0, "cpu"))


def corrupt(name: str, images: Tensor, severity: int, scale: str) -> np.ndarray:
    return load(name)(images, severity, make_generator(0, "cpu"), scale=scale).numpy()


def plane_by_plane(images: Tensor, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    planes = images.double().numpy()
    return np.stack([[work(plane) for plane in image] for image in planes])


@pytest.mark.parametrize(
    ("size", "reach", "iterations"),
    [((32, 32), 1, 1), ((16, 24), 1, 2), ((20, 28), 2, 3), ((40, 33), 3, 2), ((30, 25), 4, 2)],
)
def test_glass_visits_pixels_one_by_one(size: tuple[int, int], reach: int, iterations: int) -> None:
    shape = torch.Size((3, 1, *size))
    sources = draw_sources(shape, reach, iterations, make_generator(0, "cpu")).numpy()
    (height, width), generator = size, make_generator(0, "cpu")
    visited = torch.Size((3, 1, height - 2 * reach, width - 2 * reach))
    draws = [draw_bits(visited, generator)[:, 0].numpy() for _ in range(iterations)]
    for image in range(3):
        literal = np.arange(height * width).reshape(size)
        for bits in draws:
            for y in range(height - reach, reach, -1):
                for x in range(width - reach, reach, -1):
                    share = (int(bits[image, y - reach - 1, x - reach - 1]) + 2**15) / 2**16
                    down, across = divmod(int(share * (2 * reach) ** 2), 2 * reach)
                    literal[y, x] = literal[y + down - reach, x + across - reach]
        np.testing.assert_array_equal(sources[image].reshape(size), literal)


@pytest.mark.parametrize(
    ("size", "radius", "sigma"),
    [
        ((32, 32), 6.0, 1.0),
        ((20, 28), 9.0, 2.5),
        ((8, 9), 20.0, 15.0),
        ((32, 32), 20.0, 15.0),
        ((20, 28), 10.4, 3.0),
    ],
)
@pytest.mark.parametrize("least_angle", [-45.0, -135.0, 135.0])
def test_motion_blur_is_a_sum_of_moved_images(
    size: tuple[int, int], radius: float, sigma: float, least_angle: float
) -> None:
    images = make_planes(*size, batch=6)
    angles = least_angle + 90 * torch.rand(6, generator=make_generator(1, "cpu"))
    angles[0], angles[1] = least_angle, least_angle + 45
    height, width = size
    taps = 2 * math.ceil(radius) + 1
    weights = [math.exp(-(tap**2) / (2 * sigma**2)) for tap in range(taps)]
    expected = np.zeros(images.shape)
    for image, (plane, angle) in enumerate(
        zip(images.double().numpy(), angles.double().tolist(), strict=True)
    ):
        for tap, weight in enumerate(weights):
            across = math.ceil(tap * math.cos(math.radians(angle)) - 0.5)
            down = math.ceil(tap * math.sin(math.radians(angle)) - 0.5)
            rows = np.clip(np.arange(height) + down, 0, height - 1)
            columns = np.clip(np.arange(width) + across, 0, width - 1)
            expected[image] += weight / sum(weights) * plane[:, rows][:, :, columns]
    blurred = smear(images, radius, sigma, angles).numpy() * 255
    np.testing.assert_allclose(blurred, blurred.round(), 0, 1e-4)
    np.testing.assert_allclose(blurred, expected * 255, 0, 0.501)


def test_zooms_of_large_images_take_no_operator() -> None:
    images = make_planes(262, 300, batch=1)
    assert images.shape[2] * images.shape[3] > LARGEST_OPERATOR
    factors = np.arange(1, *load("zoom_blur").tables["imagenet"][4])

    def mean(plane: np.ndarray) -> np.ndarray:
        frames = [plane, *(zoom_centre(plane, factor) for factor in factors)]
        return np.mean(frames, axis=0)

    expected = plane_by_plane(images, mean)
    np.testing.assert_allclose(corrupt("zoom_blur", images, 5, "imagenet"), expected, 0, 2e-5)
