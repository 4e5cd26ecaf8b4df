"""What every method of combined augmentations promises, over all that are registered."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from ablate.distortion import FAMILIES
from ablate.errors import ParameterError
from ablate.finetune.augment.augmentation import (
    Augmentation,
    CombinedAugmentations,
    build_augmentation,
)
from ablate.study.settings import AugmentSettings

METHODS = get_args(AugmentSettings.model_fields["method"].annotation)
SOME_TYPES = ["gaussian_noise", "gaussian_blur", "brightness", "contrast"]

CASES: dict[str, dict[str, Any]] = {
    **{method: {"method": method} for method in METHODS},
    "per_sample-types": {"types": SOME_TYPES, "mix": {"contrast": 1.0, "gaussian_noise": 3.0}},
    "per_sample-copies": {"copies": 3, "clean_fraction": 0.3},
    "per_batch-copies": {"method": "per_batch", "copies": 2, "clean_fraction": 0.3},
    "all-mix": {"method": "all", "mix": {"noise": 1.0, "photometric": 3.0}, "clean_fraction": 0.3},
    "composed-one": {"method": "composed", "depth": 1, "types": SOME_TYPES},
    "composed-copies": {"method": "composed", "depth": 8, "copies": 2, "clean_fraction": 0.3},
    "augmix-all": {"method": "augmix", "copies": 2, "augmix": {"operators": "all"}},
    "augmix-strong": {
        "method": "augmix",
        "clean_fraction": 0.3,
        "augmix": {"chains": 2, "depth": 4, "severity": 10.0, "dirichlet": 0.01, "beta": 0.01},
    },
}


def settings_of(values: dict[str, Any]) -> AugmentSettings:
    return AugmentSettings.model_validate(values)


@pytest.fixture(
    params=[
        case if case in METHODS else pytest.param(case, marks=pytest.mark.slow) for case in CASES
    ]
)
def settings(request: pytest.FixtureRequest) -> AugmentSettings:
    return settings_of(CASES[request.param])


@pytest.fixture
def augmentation(settings: AugmentSettings) -> Augmentation:
    return build_augmentation(settings)


def make_images(batch: int = 16, channels: int = 3, height: int = 8, width: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 + 0.8 * torch.rand(batch, channels, height, width, generator=generator)


def test_it_is_an_augmentation(augmentation: Augmentation, settings: AugmentSettings) -> None:
    assert math.fsum(augmentation.copy_weights) == pytest.approx(1, abs=1e-12)
    assert all(weight > 0 for weight in augmentation.copy_weights)
    order = [kind for kinds in FAMILIES.values() for kind in kinds]
    assert list(augmentation.types) == [kind for kind in order if kind in augmentation.types]
    count = len(augmentation.types) if settings.method == "all" else settings.copies
    assert len(augmentation.copy_weights) == count
    assert len(augmentation.copies(make_images(2), seed=1)) == count


@pytest.mark.parametrize(
    ("channels", "dtype", "size"),
    [
        (3, torch.float32, (8, 8)),
        (1, torch.float32, (1, 1)),
        (1, torch.float64, (5, 9)),
        (3, torch.bfloat16, (5, 9)),
        pytest.param(3, torch.float64, (1, 1), marks=pytest.mark.slow),
        pytest.param(1, torch.bfloat16, (8, 8), marks=pytest.mark.slow),
    ],
)
def test_keeps_what_the_batch_is(
    augmentation: Augmentation, channels: int, dtype: torch.dtype, size: tuple[int, int]
) -> None:
    images = make_images(6, channels, *size).to(dtype)
    for copy in augmentation.copies(images, seed=1):
        assert (copy.shape, copy.dtype, copy.device) == (images.shape, dtype, images.device)
        assert 0 <= copy.min() <= copy.max() <= 1
        assert copy.data_ptr() != images.data_ptr()


def test_memory_format_is_kept_and_does_not_matter(augmentation: Augmentation) -> None:
    images = make_images(height=6)
    last = images.contiguous(memory_format=torch.channels_last)
    plain = augmentation.copies(images, seed=1)
    for copy, other in zip(plain, augmentation.copies(last, seed=1), strict=True):
        assert copy.is_contiguous()
        assert other.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(other, copy, rtol=0, atol=1e-5)


def test_the_seed_decides(augmentation: Augmentation) -> None:
    images = make_images()
    first, again = (augmentation.copies(images, seed=1) for _ in range(2))
    other = augmentation.copies(images, seed=2)
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, different)


def test_copies_differ_from_each_other_and_from_the_images(augmentation: Augmentation) -> None:
    images = make_images()
    copies = [images, *augmentation.copies(images, seed=1)]
    for number, copy in enumerate(copies):
        assert not any(torch.equal(copy, other) for other in copies[:number])


def test_the_first_copies_are_the_same_for_any_count(settings: AugmentSettings) -> None:
    if settings.method == "all":
        return  # its count is that of the types
    images = make_images()
    three, one = (
        build_augmentation(settings.model_copy(update={"copies": count})) for count in (3, 1)
    )
    first, second, third = three.copies(images, seed=1)
    assert torch.equal(first, *one.copies(images, seed=1))
    assert not torch.equal(second, third)


def test_leaves_its_input_and_the_global_random_state_alone(augmentation: Augmentation) -> None:
    images = make_images()
    before = images.clone(), torch.get_rng_state(), np.random.get_state()[1]
    augmentation.copies(images, seed=1)
    assert torch.equal(images, before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_no_image_and_one_image_are_no_problem(augmentation: Augmentation) -> None:
    for batch in (0, 1):
        for copy in augmentation.copies(make_images(batch), seed=1):
            assert copy.shape == (batch, 3, 8, 8)


def test_autocast_does_not_matter(augmentation: Augmentation) -> None:
    images = make_images()
    with torch.autocast("cpu", torch.bfloat16):
        inside = augmentation.copies(images, seed=1)
    for copy, outside in zip(inside, augmentation.copies(images, seed=1), strict=True):
        assert torch.equal(copy, outside)


def test_black_and_white_images_stay_finite(augmentation: Augmentation) -> None:
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)]).repeat(8, 1, 1, 1)
    for copy in augmentation.copies(images, seed=1):
        assert 0 <= copy.min() <= copy.max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_the_clean_fraction_is_left_as_it_is(method: str) -> None:
    values = {"method": method, "clean_fraction": 0.4, "strengths": {"gaussian_noise": [0.5, 1.0]}}
    # A chain that enhances only cannot leave an image of noise as it is.
    augmix = {"operators": "disjoint", "severity": 10.0, "beta": 5.0}
    augmentation = build_augmentation(
        settings_of({**values, "types": ["gaussian_noise"], "augmix": augmix})
    )
    images = make_images(128)
    clean = torch.stack(
        [
            (copy == images).flatten(1).all(1)
            for seed in range(8)
            for copy in augmentation.copies(images, seed=seed)
        ]
    )
    assert clean.float().mean().item() == pytest.approx(0.4, abs=4 * (0.24 / clean.numel()) ** 0.5)
    # Drawn for each image, not for the batch.
    assert 0.2 < clean.float().mean(1).min() < clean.float().mean(1).max() < 0.6


@pytest.mark.parametrize("method", ["per_sample", "per_batch", "all", "composed"])
@pytest.mark.parametrize(
    ("strengths", "limits"),
    [({}, (0.0, 0.8)), ({"brightness": 0.3}, (0.0, 0.3)), ({"brightness": [0.4, 0.6]}, (0.4, 0.6))],
)
def test_strengths_stay_in_their_range_and_fill_it(
    method: str, strengths: dict[str, Any], limits: tuple[float, float]
) -> None:
    values = {"method": method, "types": ["brightness"], "strength": 0.8, "strengths": strengths}
    images = torch.full((256, 3, 2, 2), 0.5)
    (copy,) = build_augmentation(settings_of(values)).copies(images, seed=1)
    found = (copy - 0.5).abs().amax((1, 2, 3)) / 0.5
    width = limits[1] - limits[0]
    assert limits[0] - 1e-6 <= found.min() < limits[0] + 0.05 * width
    assert limits[1] - 0.05 * width < found.max() <= limits[1] + 1e-6
    assert found.mean() == pytest.approx(sum(limits) / 2, abs=0.08 * width)


@pytest.mark.parametrize("method", METHODS)
def test_bad_images(method: str) -> None:
    with pytest.raises(ParameterError) as caught:
        build_augmentation(settings_of({"method": method})).copies(torch.zeros(2, 3, 8), seed=1)
    assert str(caught.value) == (
        "augment: images must be [batch, channel, height, width] with 1 or 3 channels, "
        "got [2, 3, 8]. Add or move the missing axis."
    )


def test_the_public_class_is_one_copy_by_per_sample() -> None:
    images, augment = make_images(), CombinedAugmentations()
    assert isinstance(augment, Augmentation)
    (built,) = build_augmentation(AugmentSettings()).copies(images, seed=4)
    (copy,) = augment.copies(images, seed=4)
    assert torch.equal(copy, built)
    assert torch.equal(copy, augment(images, seed=4))
    assert augment.types == build_augmentation(AugmentSettings()).types
