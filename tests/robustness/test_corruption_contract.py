"""What every corruption promises, over all that are registered."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ablate.robustness.corruption.added
from ablate.distortion.random import make_generator
from ablate.errors import ParameterError
from ablate.robustness.corruption import (
    ADDED,
    BAR,
    CORRUPTIONS,
    FAMILIES,
    SELECTABLE,
    bar,
    load,
    scale_for,
)
from ablate.robustness.corruption.kind import Corruption

WITHOUT_DRAWS = {
    "defocus_blur",
    "zoom_blur",
    "gaussian_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "saturate",
    "circular_motion_blur",
    "transverse_chromatic_abberation",
    "vignette",
}
NOT_IN_ORDER = {
    "saturate": "severities 1 and 2 take colour away, 3 to 5 add it",
    "elastic_transform": "its affine map shrinks with the severity while its field changes",
}
WITHOUT_DRAWS_RULE = "WITHOUT_DRAWS must name the corruptions that draw nothing, and only those"
SCALES = ("cifar", "imagenet")
SHAPES = [
    ((2, 3, 32, 32), "cifar", (1, 5)),
    ((2, 3, 8, 8), "imagenet", (1, 5)),
    ((2, 1, 17, 23), "cifar", (2, 4)),
    pytest.param((2, 3, 32, 32), "imagenet", (2, 4), marks=pytest.mark.slow),
]
"""And the table and the severities that they are corrupted by: not all crossed."""


@pytest.fixture(params=(*CORRUPTIONS, *BAR, *ADDED))
def corruption(request: pytest.FixtureRequest) -> Corruption:
    return load(request.param)


def make_images(
    batch: int = 6, channels: int = 3, height: int = 32, width: int = 32, *, seed: int = 0
) -> Tensor:
    """Floats whose waves are the weaker the finer, as those of photographs are (Field 1987)."""
    generator = make_generator(seed, "cpu")
    own = torch.randn(batch, channels, 2 * height, 2 * width, generator=generator)
    noise = own + torch.randn(batch, 1, 2 * height, 2 * width, generator=generator)
    down, across = torch.fft.fftfreq(2 * height), torch.fft.fftfreq(2 * width)
    frequency = torch.hypot(*torch.meshgrid(down, across, indexing="ij"))
    frequency[0, 0] = torch.inf
    waves = torch.fft.ifft2(torch.fft.fft2(noise) / frequency).real[:, :, :height, :width]
    waves = waves - waves.mean()
    return (0.45 + 0.2 * waves / waves.square().mean().sqrt()).clamp(0, 1)


def make_bytes(*shape: int, seed: int = 0) -> Tensor:
    return (make_images(*shape, seed=seed) * 255).to(torch.uint8)


def corrupt(
    corruption: Corruption, images: Tensor, severity: int = 3, *, seed: int = 0, **options: str
) -> Tensor:
    return corruption(images, severity, make_generator(seed, "cpu"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_lists_what_its_file_has(family: str) -> None:
    module = import_module(f"ablate.robustness.corruption.{family}")
    made = [kind for kind in vars(module).values() if isinstance(kind, Corruption)]
    assert sorted(kind.name for kind in made) == sorted(FAMILIES[family])
    assert all(load(kind.name) is kind for kind in made)


def test_the_bar_sets_are_their_file_and_have_their_rows() -> None:
    made = [kind for kind in vars(bar).values() if isinstance(kind, Corruption)]
    assert sorted(kind.name for kind in made) == sorted(BAR)
    page = Path(__file__).parents[2] / "docs/reference/distortions.md"
    _, _, section = page.read_text().partition("\n## The C-bar sets\n")
    rows = re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], flags=re.MULTILINE)
    assert rows == list(BAR)


def test_every_file_of_added_is_listed_and_has_its_row() -> None:
    folder = Path(ablate.robustness.corruption.added.__file__).parent
    files = {file.stem for file in folder.glob("[!_]*.py")}
    assert files == set(ADDED), (
        "list each file in ADDED of ablate/robustness/corruption/added/__init__.py: "
        f"{sorted(files ^ set(ADDED))}"
    )
    for name in ADDED:
        assert load(name).name == name, f"{name}.py: its corruption must have the file's name"
    taken = {*CORRUPTIONS, *BAR, *SELECTABLE}
    assert not taken & set(ADDED), f"choose another name, as a metric has it: {taken & set(ADDED)}"
    page = Path(__file__).parents[2] / "docs/reference/distortions.md"
    _, _, section = page.read_text().partition("\n## Added\n")
    rows = re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], flags=re.MULTILINE)
    assert rows == list(ADDED), (
        "docs/reference/distortions.md, Added: one row for each, in the order of ADDED"
    )


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r"known corruption, got 'jpeg'.*jpeg_compression"):
        load("jpeg")


def test_both_tables_have_five_rows_of_one_length(corruption: Corruption) -> None:
    assert set(corruption.tables) == set(SCALES)
    rows = [row for scale in SCALES for row in corruption.tables[scale]]
    assert [len(corruption.tables[scale]) for scale in SCALES] == [5, 5]
    assert len({len(row) for row in rows}) == 1
    assert all(isinstance(value, float) for row in rows for value in row)


@pytest.mark.parametrize(("shape", "scale", "severities"), SHAPES)
def test_keeps_shape_dtype_and_range(
    corruption: Corruption,
    shape: tuple[int, int, int, int],
    scale: str,
    severities: tuple[int, ...],
) -> None:
    images = make_bytes(*shape)
    images[0, :, :2], images[1, :, :2] = 0, 255
    for severity in severities:
        corrupted = corrupt(corruption, images, severity, scale=scale)
        assert (corrupted.dtype, corrupted.shape) == (torch.uint8, images.shape)
        floats = corrupt(corruption, images / 255, severity, scale=scale)
        assert (floats.dtype, floats.shape) == (torch.float32, images.shape)
        assert 0 <= floats.min() <= floats.max() <= 1  # no NaN either
        # The bytes are the floats cut: of the same draws.
        assert torch.equal((floats * 255 + 1e-3).to(torch.uint8), corrupted)


def test_other_floats_come_back_as_they_were(corruption: Corruption) -> None:
    images = (make_images(2, 3, 16, 16) * 128).round() / 128  # as bfloat16 has them too
    expected = corrupt(corruption, images)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        corrupted = corrupt(corruption, images.to(dtype))
        assert corrupted.dtype == dtype
        assert torch.allclose(corrupted.float(), expected, atol=0.01)


def test_stays_finite_on_flat_images(corruption: Corruption) -> None:
    images = (torch.tensor([0, 0, 90, 90, 255, 255]) / 255).view(6, 1, 1, 1).expand(6, 3, 16, 16)
    for scale in SCALES:
        corrupted = corrupt(corruption, images, 5, scale=scale)
        assert 0 <= corrupted.min() <= corrupted.max() <= 1


def test_the_generator_alone_decides(corruption: Corruption) -> None:
    images = make_bytes(4)
    first, again, other = (corrupt(corruption, images, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (corruption.name in WITHOUT_DRAWS), WITHOUT_DRAWS_RULE
    generator = make_generator(1, "cpu")
    corruption(images, 3, generator)
    drew = not torch.equal(generator.get_state(), make_generator(1, "cpu").get_state())
    assert drew == (corruption.name not in WITHOUT_DRAWS), WITHOUT_DRAWS_RULE


def test_leaves_its_input(corruption: Corruption) -> None:
    for images in (make_bytes(3), make_images(3)):
        kept = images.clone()
        corrupted = corrupt(corruption, images, 5)
        assert torch.equal(images, kept)
        assert corrupted.data_ptr() != images.data_ptr()
        assert not torch.equal(corrupted, images)


@pytest.mark.parametrize("scale", SCALES)
def test_the_strongest_is_further_than_the_weakest(corruption: Corruption, scale: str) -> None:
    if corruption.name in NOT_IN_ORDER:
        return
    images = make_bytes(6, seed=3)
    weakest, strongest = (
        (corrupt(corruption, images, severity, scale=scale).float() - images).abs().mean()
        for severity in (1, 5)
    )
    assert 0 < weakest < strongest, "its tables must grow, or NOT_IN_ORDER says why they do not"


@pytest.mark.parametrize("name", sorted(WITHOUT_DRAWS))
def test_without_draws_an_image_is_corrupted_for_itself(name: str) -> None:
    images = make_bytes(5)
    together = corrupt(load(name), images)
    alone = torch.cat([corrupt(load(name), image[None]) for image in images])
    # A product of another shape may be summed in another order.
    assert ((together.int() - alone.int()).abs() <= 1).all()
    assert (together != alone).float().mean() < 0.01


def test_how_images_lie_in_memory_does_not_matter(corruption: Corruption) -> None:
    images = make_bytes(4)
    expected = corrupt(corruption, images)
    channels_last = images.to(memory_format=torch.channels_last)
    strided = torch.zeros(4, 3, 32, 64, dtype=torch.uint8)[..., ::2]
    strided.copy_(images)
    reversed_copy = images.transpose(2, 3).contiguous().transpose(2, 3)
    for other in (channels_last, strided, reversed_copy):
        assert not other.is_contiguous()
        assert torch.equal(corrupt(corruption, other), expected)


def test_a_batch_is_its_parts_in_order(corruption: Corruption) -> None:
    images = make_bytes(11, 3, 8, 8)
    generator = make_generator(5, "cpu")
    parts = [corruption(images[start : start + 4], 2, generator) for start in (0, 4, 8)]
    by_four = replace(corruption, part_pixels=4 * 8 * 8 + 63)
    assert torch.equal(corrupt(by_four, images, 2, seed=5), torch.cat(parts))


def test_an_empty_batch_stays_empty(corruption: Corruption) -> None:
    for dtype in (torch.uint8, torch.float32):
        images = torch.zeros((0, 3, 16, 16), dtype=dtype)
        corrupted = corrupt(corruption, images)
        assert (corrupted.shape, corrupted.dtype) == (images.shape, dtype)


def test_the_table_is_that_of_the_size(corruption: Corruption) -> None:
    assert scale_for(96) == "cifar"
    assert scale_for(97) == "imagenet"
    images = make_bytes(1, 3, 104, 97)
    assert torch.equal(corrupt(corruption, images), corrupt(corruption, images, scale="imagenet"))


def test_refuses_another_severity() -> None:
    for severity in (0, 6, True):
        expected = f"fog: severity must be a whole number from 1 to 5, got {severity}"
        with pytest.raises(ParameterError, match=f"^{re.escape(expected)}\\."):
            corrupt(load("fog"), make_bytes(1), severity)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            torch.zeros(3, 32, 32),
            "contrast: images must be [batch, channel, height, width] with 1 or 3 channels, got "
            "[3, 32, 32]. Add or move the missing axis.",
        ),
        (
            torch.zeros(2, 3, 32, 7),
            "contrast: images must have sides of 8 pixels or more, got 32 x 7. Enlarge them first.",
        ),
        (
            torch.zeros(2, 3, 32, 32, dtype=torch.int64),
            "contrast: images must be uint8, or floating point in [0, 1], got torch.int64. "
            "Convert them.",
        ),
        (
            torch.linspace(0, 255, 3 * 64).view(1, 3, 8, 8),
            "contrast: floating point images must be in [0, 1], got 0 to 255. Divide bytes by "
            "255, and corrupt before normalising.",
        ),
    ],
    ids=["three axes", "small", "integers", "range"],
)
def test_refuses_what_is_no_batch_of_images(images: Tensor, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        corrupt(load("contrast"), images)


def test_vignette_keeps_the_centre_and_darkens_by_the_square_of_the_distance() -> None:
    (image,) = load("vignette")(torch.ones(1, 1, 97, 129), 5, make_generator(0, "cpu"))
    places = [image[0, 48, 64], image[0, 48, 32], image[0, 48, 0], image[0, 0, 0]]
    assert [float(place) for place in places] == pytest.approx([1, 1 - 0.9 / 8, 1 - 0.9 / 2, 0.1])
