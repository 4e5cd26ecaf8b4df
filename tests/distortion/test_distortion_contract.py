"""What every distortion type promises, over all that are registered."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
import torch
from torch import Tensor

from ablate.distortion import FAMILIES, OF_COLOUR, load
from ablate.distortion.kind import Distortion
from ablate.distortion.random import make_generator
from ablate.errors import ParameterError

TYPES = [kind for types in FAMILIES.values() for kind in types]
WITHOUT_RANDOMNESS = {
    "gaussian_blur",
    "defocus_blur",
    "zoom_blur",
    "contrast",
    "jpeg",
    "pixelate",
}
MIXED = [
    (torch.float32, 3, (32, 32)),
    (torch.float64, 1, (17, 23)),
    (torch.bfloat16, 3, (17, 23)),
    pytest.param(torch.float16, 1, (8, 8), marks=pytest.mark.slow),
]
"""Each dtype, number of channels and kind of size, each with others; not all crossed."""
EXTREME = [
    (torch.float32, 3, (1, 1)),
    pytest.param(torch.float32, 3, (224, 224), marks=pytest.mark.slow),
]


@pytest.fixture(params=TYPES)
def distortion(request: pytest.FixtureRequest) -> Distortion:
    return load(request.param)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
            ],
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_images(
    batch: int = 8,
    channels: int = 3,
    height: int = 16,
    width: int = 16,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Tensor:
    """Images in [0.05, 0.95] whose waves are the weaker the finer, by 1 / frequency.

    That is the spectrum of photographs (Field 1987).  Half of each is shared by the channels.
    """
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(batch, channels, 2 * height, 2 * width, generator=generator)
    noise = own + torch.randn(batch, 1, 2 * height, 2 * width, generator=generator)
    down, across = torch.fft.fftfreq(2 * height), torch.fft.fftfreq(2 * width)
    frequency = torch.hypot(*torch.meshgrid(down, across, indexing="ij"))
    frequency[0, 0] = torch.inf
    # Twice as large and cut, since a spectrum knows no border.
    waves = torch.fft.ifft2(torch.fft.fft2(noise) / frequency).real[:, :, :height, :width]
    waves = waves - waves.mean()
    return (0.5 + 0.2 * waves / waves.square().mean().sqrt()).clamp(0.05, 0.95).to(device)


def distort(
    distortion: Distortion, images: Tensor, strength: float | Tensor, seed: int = 1
) -> Tensor:
    if not isinstance(strength, Tensor):
        strength = torch.full((len(images),), strength, device=images.device)
    return distortion(images, strength, make_generator(seed, images.device))


def measure_distances(distortion: Distortion, images: Tensor) -> list[float]:
    """Mean absolute distance from the images, at six strengths from 0 to 1."""
    return [
        (distort(distortion, images, fifth / 5) - images).abs().mean().item() for fifth in range(6)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_lists_what_its_file_has(family: str) -> None:
    module = import_module(f"ablate.distortion.{family}")
    made = [kind for kind in vars(module).values() if isinstance(kind, Distortion)]
    assert sorted(kind.name for kind in made) == sorted(FAMILIES[family]), (
        f"list each type of {family}.py in FAMILIES of ablate/distortion/__init__.py"
    )
    assert all(load(kind.name) is kind for kind in made)


@pytest.mark.parametrize(("dtype", "channels", "size"), [*MIXED, *EXTREME])
def test_keeps_shape_dtype_device_and_range(
    distortion: Distortion, dtype: torch.dtype, channels: int, size: tuple[int, int], device: str
) -> None:
    images = make_images(2, channels, *size, device=device).to(dtype)
    # White and black as well, where rounding would leave the range.
    images[0, :, :1], images[1, :, :1] = 0, 1
    for strength in ([0.0, 0.5], [1.0, 1e-5]):
        distorted = distort(distortion, images, torch.tensor(strength, device=device))
        assert distorted.shape == images.shape
        assert distorted.dtype == dtype
        assert distorted.device == images.device
        assert bool(torch.isfinite(distorted).all())
        assert 0 <= distorted.min() <= distorted.max() <= 1


@pytest.mark.parametrize(("dtype", "channels", "size"), MIXED)
def test_strength_0_is_the_identity(
    distortion: Distortion, dtype: torch.dtype, channels: int, size: tuple[int, int], device: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, channels, *size, generator=generator).to(device, dtype)
    assert torch.equal(distort(distortion, images, 0.0), images)
    # And in a batch with others, which take another path than a batch of nothing to do.
    mixed = distort(distortion, images, torch.tensor([1.0, 0.0, 0.5], device=device))
    assert torch.equal(mixed[1], images[1])


def test_stronger_is_further(distortion: Distortion, device: str) -> None:
    distances = measure_distances(distortion, make_images(64, 3, 32, 32, device=device))
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)
    assert distances[1] > 0.002
    assert distances[-1] > 0.02


def test_those_of_colour_alone_change_nothing_on_grey_images(distortion: Distortion) -> None:
    distances = measure_distances(distortion, make_images(24, 1, 17, 23))
    assert distances[0] == 0
    assert (distances[-1] > 0.01) == (distortion.name not in OF_COLOUR), (
        f"{distortion.name}: is it in OF_COLOUR where, and only where, it leaves greys alone?"
    )


def test_every_image_has_its_own_strength(distortion: Distortion) -> None:
    images = make_images(4)
    strengths = torch.tensor([0.0, 1.0, 0.3, 0.7])
    mixed = distort(distortion, images, strengths)
    for row, strength in enumerate(strengths.tolist()):
        torch.testing.assert_close(mixed[row], distort(distortion, images, strength)[row])


def test_an_image_does_not_depend_on_the_others(distortion: Distortion, device: str) -> None:
    images, strengths = make_images(8, 3, 17, 23, device=device), torch.linspace(0.2, 1, 8)
    strengths = strengths.to(device)
    draws = distortion.draw(images.shape, make_generator(1, device))
    rows = torch.tensor([6, 1, 3])
    some = distortion.apply(images[rows], strengths[rows], draws[rows])
    torch.testing.assert_close(some, distort(distortion, images, strengths)[rows])


def test_the_seed_decides(distortion: Distortion, device: str) -> None:
    images = make_images(32, device=device)
    first = distort(distortion, images, 0.5, seed=1)
    again = distort(distortion, images, 0.5, seed=1)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    same = torch.equal(first, distort(distortion, images, 0.5, seed=2))
    if same:
        rule = "draws nothing: add it to WITHOUT_RANDOMNESS"
    else:
        rule = "draws: take it from WITHOUT_RANDOMNESS"
    assert same == (distortion.name in WITHOUT_RANDOMNESS), f"{distortion.name} {rule}"


def test_leaves_its_input_alone(distortion: Distortion) -> None:
    images = make_images()
    before = images.clone()
    distorted = distort(distortion, images, 0.5)
    assert torch.equal(images, before)
    assert distorted.data_ptr() != images.data_ptr()


def test_how_images_lie_in_memory_does_not_matter(distortion: Distortion) -> None:
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
    for size in ((8, 8), (7, 9)):
        empty = torch.empty(0, 3, *size)
        assert distort(distortion, empty, torch.empty(0)).shape == empty.shape


BAD = [
    (
        torch.rand(3, 8, 8),
        torch.rand(3),
        "images must be [batch, channel, height, width] with 1 or 3 channels, got [3, 8, 8]. "
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
def test_bad_arguments(images: Tensor, strength: Tensor, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(f'contrast: {message}')}$"):
        distort(load("contrast"), images, strength)


def test_an_unknown_type_suggests_the_nearest() -> None:
    with pytest.raises(ParameterError) as caught:
        load("gausian_noise")
    assert str(caught.value) == (
        "distortion: must be a registered type, got 'gausian_noise'. Did you mean gaussian_noise?"
    )
