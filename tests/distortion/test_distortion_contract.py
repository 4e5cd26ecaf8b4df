"""What every distortion type promises, over all that are registered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ablate.distortion
from ablate.distortion import FAMILIES, load
from ablate.distortion.kind import Distortion
from ablate.distortion.random import make_generator
from ablate.errors import ParameterError

TYPES = [kind for types in FAMILIES.values() for kind in types]
WITHOUT_RANDOMNESS = {"gaussian_blur", "contrast"}
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
NOT_TYPES = {"__init__", "kind", "random", "shapes"}


@pytest.fixture(params=TYPES)
def distortion(request: pytest.FixtureRequest) -> Distortion:
    return load(request.param)


def make_images(
    batch: int = 8, channels: int = 3, height: int = 16, width: int = 16, seed: int = 0
) -> Tensor:
    """Smooth coloured images in [0.1, 0.9], so that blur and colour changes have a grip."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, channels, 4, 4, generator=generator)
    return 0.1 + 0.8 * torch.nn.functional.interpolate(coarse, (height, width), mode="nearest")


def distort(
    distortion: Distortion, images: Tensor, strength: float | Tensor, seed: int = 1
) -> Tensor:
    if not isinstance(strength, Tensor):
        strength = torch.full((len(images),), strength)
    return distortion(images, strength, make_generator(seed, "cpu"))


def test_every_file_in_the_folder_is_registered_once() -> None:
    folder = Path(ablate.distortion.__file__).parent
    files = {file.stem for file in folder.glob("*.py")} - NOT_TYPES
    assert sorted(TYPES) == sorted(files)
    assert len(TYPES) >= 6


def test_its_name_is_its_files(distortion: Distortion) -> None:
    assert load(distortion.name) is distortion


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(16, 16), (7, 13), (1, 1)])
def test_keeps_shape_dtype_and_range(
    distortion: Distortion, dtype: torch.dtype, channels: int, size: tuple[int, int]
) -> None:
    images = make_images(5, channels, *size).to(dtype)
    for strength in (0.0, 0.5, 1.0):
        distorted = distort(distortion, images, strength)
        assert distorted.shape == images.shape
        assert distorted.dtype == dtype
        assert distorted.device == images.device
        assert bool(torch.isfinite(distorted).all())
        assert 0 <= distorted.min() <= distorted.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_strength_0_is_the_identity(distortion: Distortion, dtype: torch.dtype) -> None:
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(distort(distortion, images, 0.0), images)


def test_stays_finite_on_black_and_white(distortion: Distortion) -> None:
    images = torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)])
    distorted = distort(distortion, images, 1.0)
    assert bool(torch.isfinite(distorted).all())
    assert 0 <= distorted.min() <= distorted.max() <= 1


def test_stronger_is_further(distortion: Distortion) -> None:
    images = make_images(64)
    distances = [
        (distort(distortion, images, strength) - images).abs().mean().item()
        for strength in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)
    assert distances[-1] > 0.02


def test_every_image_has_its_own_strength(distortion: Distortion) -> None:
    images = make_images(4)
    strengths = torch.tensor([0.0, 1.0, 0.3, 0.7])
    mixed = distort(distortion, images, strengths)
    for row, strength in enumerate(strengths.tolist()):
        torch.testing.assert_close(mixed[row], distort(distortion, images, strength)[row])


def test_rows_of_a_draw_stand_for_their_images(distortion: Distortion) -> None:
    images, strengths = make_images(8), torch.linspace(0.2, 1, 8)
    draws = distortion.draw(images.shape, make_generator(1, "cpu"))
    rows = torch.tensor([6, 1, 3])
    some = distortion.apply(images[rows], strengths[rows], draws[rows])
    torch.testing.assert_close(some, distort(distortion, images, strengths)[rows])


def test_the_seed_decides(distortion: Distortion) -> None:
    images = make_images(32)
    first = distort(distortion, images, 0.5, seed=1)
    assert torch.equal(first, distort(distortion, images, 0.5, seed=1))
    same = torch.equal(first, distort(distortion, images, 0.5, seed=2))
    assert same == (distortion.name in WITHOUT_RANDOMNESS)


def test_leaves_its_input_alone(distortion: Distortion) -> None:
    images = make_images()
    before = images.clone()
    distorted = distort(distortion, images, 0.5)
    assert torch.equal(images, before)
    assert distorted.data_ptr() != images.data_ptr()


def test_memory_format_does_not_matter(distortion: Distortion) -> None:
    images = make_images()
    other = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        distort(distortion, other, 0.6), distort(distortion, images, 0.6), rtol=0, atol=1e-6
    )


def test_autocast_does_not_matter(distortion: Distortion) -> None:
    images = make_images()
    with torch.autocast("cpu", torch.bfloat16):
        inside = distort(distortion, images, 0.6)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, distort(distortion, images, 0.6))


def test_no_image_is_no_problem(distortion: Distortion) -> None:
    empty = torch.empty(0, 3, 8, 8)
    assert distort(distortion, empty, torch.empty(0)).shape == empty.shape


@pytest.mark.parametrize("device", DEVICES)
def test_works_on_every_device_here(distortion: Distortion, device: str) -> None:
    images = make_images().to(device)
    strength = torch.full((8,), 0.5, device=device)
    distorted = distortion(images, strength, make_generator(1, device))
    assert distorted.device == images.device
    torch.testing.assert_close(distorted, distortion(images, strength, make_generator(1, device)))


BAD = [
    (
        torch.rand(3, 8, 8),
        torch.rand(3),
        "images must be [batch, channel, height, width] with 1 or 3 channels, got [3, 8, 8]. "
        "Add or move the missing axis.",
    ),
    (
        torch.rand(2, 8, 8, 3),
        torch.rand(2),
        "images must be [batch, channel, height, width] with 1 or 3 channels, got [2, 8, 8, 3]. "
        "Add or move the missing axis.",
    ),
    (
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.rand(2),
        "images must be floating point in [0, 1], got torch.uint8. Divide bytes by 255 first.",
    ),
    (
        torch.rand(2, 3, 8, 8),
        torch.rand(3),
        "strength must be one float per image, shape [2], got torch.float32 of shape [3]. "
        "For one strength use torch.full((batch,), strength).",
    ),
    (
        torch.rand(2, 3, 8, 8),
        torch.ones(2, dtype=torch.int64),
        "strength must be one float per image, shape [2], got torch.int64 of shape [2]. "
        "For one strength use torch.full((batch,), strength).",
    ),
    (
        torch.rand(2, 3, 8, 8),
        torch.tensor([0.5, 1.5]),
        "strength must be in [0, 1], got 0.5 to 1.5. Clamp it.",
    ),
    (
        torch.rand(2, 3, 8, 8),
        torch.tensor([0.5, torch.nan]),
        "strength must be in [0, 1], got nan to nan. Clamp it.",
    ),
]


@pytest.mark.parametrize(("images", "strength", "message"), BAD)
def test_bad_arguments(
    distortion: Distortion, images: Tensor, strength: Tensor, message: str
) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(distortion.name + ': ' + message)}$"):
        distort(distortion, images, strength)


def test_an_unknown_type_suggests_the_nearest() -> None:
    with pytest.raises(ParameterError) as caught:
        load("gausian_noise")
    assert str(caught.value) == (
        "distortion: must be a registered type, got 'gausian_noise'. Did you mean gaussian_noise?"
    )
